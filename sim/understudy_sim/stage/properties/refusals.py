"""P18, refusals: under the policy against deadlocks a circle is broken once, at the call that was accepted last.

A refusal names the members of its circle.  None of them was refused before, for then there was no circle any more; and
of those that wait for a lock the refused one is the youngest.  Not looked at: circles too long to be named whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Final

from understudy_runtime.model.commands import Refuse
from understudy_runtime.model.invocation import Status

from understudy_sim.stage.happenings import Step
from understudy_sim.stage.watch import Handler, Property

ID: Final = re.compile(r"\((inv_\w+)\)")
CUT_SHORT: Final = " more"


class Refusals(Property):
    number: ClassVar[str] = "P18"
    claim: ClassVar[str] = "a circle is broken once, at the youngest call"

    def handlers(self) -> Mapping[type, Handler]:
        self._accepted: dict[str, tuple[int, str]] = {}
        self._refused: dict[str, None] = {}
        return {Step: self._step}

    def _step(self, step: Step) -> None:
        for command in step.effects.accepted:
            self._accepted[command.invocation_id] = (step.record.time_ms, command.invocation_id)
        refusal = step.record.command
        if type(refusal) is not Refuse or refusal.invocation_id not in step.effects.completed:
            return
        id_ = refusal.invocation_id
        members = dict.fromkeys(ID.findall(refusal.failure.message))
        self.hit("refusals")
        others = [one for one in members if one != id_]
        for one in others:
            if one in self._refused:
                self.broken(f"{id_} was refused for a circle that ended when {one} was refused", id_)
        self._refused[id_] = None
        if CUT_SHORT in refusal.failure.message:
            return
        for one in others:
            if self._is_inboxed(one) and self._accepted.get(one, (0, "")) > self._accepted[id_]:
                self.broken(f"{id_} was refused, and {one} of its circle was accepted later", id_)

    def _is_inboxed(self, id_: str) -> bool:
        found = [model.invocations[id_] for model in self.truth.models if id_ in model.invocations]
        return bool(found) and found[0].status is Status.INBOXED
