"""P15, no wait in vain: nobody waits at the server for the result of what has ended.

An end and the answers to all who wait for it are one step of the server.  A client would give up and ask again, and so
hide a result that was missed: this looks at the waiters themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from understudy_sim.stage.happenings import ServerStopped, Step
from understudy_sim.stage.watch import Handler, Property


class WaitsInVain(Property):
    number: ClassVar[str] = "P15"
    grace_ns: ClassVar[int] = 1_000_000_000  # The actions of a batch are performed behind its last record.
    claim: ClassVar[str] = "nobody waits for what has ended"

    def handlers(self) -> Mapping[type, Handler]:
        self._ended_ns: dict[str, int] = {}
        return {Step: self._step, ServerStopped: lambda _: self._ended_ns.clear()}

    def _step(self, step: Step) -> None:
        now_ns = self.watch.now_ns
        for command in step.effects.accepted:
            self._ended_ns.pop(command.invocation_id, None)
        for id_ in step.effects.completed:
            self._ended_ns[id_] = now_ns
        for id_ in self.truth.unanswered():
            ended_ns = self._ended_ns.get(id_)
            if ended_ns is not None and now_ns - ended_ns > self.grace_ns:
                self.broken(f"somebody waits for {id_}, which ended {(now_ns - ended_ns) // 1_000_000} ms ago", id_)
            else:
                self.hit("waiters looked at")
