"""P5, accepted means terminal: an invocation whose record is durable ends once the faults have stopped.

Terminal is completed; where the scenario said so also paused, by a policy or an operator, or stuck in a deadlock that
the server names, or behind one.  What is left at the end of the quiet phase is reported with the chain of who waits for
whom.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from understudy_runtime.machine.waits import only_blockers_of, stuck
from understudy_runtime.model.invocation import Status

from understudy_sim.stage.model_words import Invocation
from understudy_sim.stage.watch import Handler, Property

CHAIN_MAX = 12


class AcceptedEnds(Property):
    number: ClassVar[str] = "P5"
    claim: ClassVar[str] = "every accepted invocation ends"

    paused_is_terminal = False
    deadlocked_is_terminal = False

    def handlers(self) -> Mapping[type, Handler]:
        return {}

    def pending(self) -> list[Invocation]:
        """Invocations that are not terminal, oldest first."""
        terminal = (Status.COMPLETED, Status.PAUSED) if self.paused_is_terminal else (Status.COMPLETED,)
        every = [inv for model in self.truth.models for inv in model.invocations.values()]
        left = [inv for inv in every if inv.status not in terminal]
        if left and self.deadlocked_is_terminal:
            named = self._deadlocked()
            left = [inv for inv in left if inv.command.invocation_id not in named]
        return left

    def _deadlocked(self) -> Mapping[str, Sequence[str]]:
        """Whom the server says nothing can move, by its own reading of its tables."""
        found = [(tables, one) for tables in self.truth.tables if tables is not None for one in tables.live()]
        named = stuck({one.id: only_blockers_of(tables, one) for tables, one in found})
        if named:
            self.hit("deadlocks named")
        return named

    def finish(self) -> None:
        """Nothing may be left."""
        for _ in self.truth.commands:
            self.hit("invocations followed")
        for inv in self.pending():
            id_ = inv.command.invocation_id
            self.broken(f"{id_} never ended\n" + "\n".join(self.chain(id_)), id_)

    def chain(self, invocation_id: str) -> list[str]:
        """Who waits for whom, from *invocation_id* down to what waits for nobody, or back to itself (a deadlock)."""
        lines: list[str] = []
        seen: dict[str, None] = {}
        at: str | None = invocation_id
        while at is not None and len(lines) < CHAIN_MAX:
            if at in seen:
                lines.append(f"  which is the one above: a deadlock through {at}")
                break
            seen[at] = None
            line, at = self._describe(at)
            lines.append(line)
        return lines

    def _describe(self, invocation_id: str) -> tuple[str, str | None]:
        inv = next((m.invocations[invocation_id] for m in self.truth.models if invocation_id in m.invocations), None)
        if inv is None:
            known = invocation_id in self.truth.commands
            return f"  {invocation_id}: {'over' if known else 'on its way between partitions'}", None
        target = inv.command.target
        name = f"{target.service}/{target.handler}" if target.key is None else f"{target}"
        head = f"  {name} {invocation_id} is {inv.status.name}"
        if inv.status is Status.INBOXED:
            assert target.key is not None, "P1: only keyed invocations wait in an inbox"
            holder = next(
                (
                    m.locks[target.service, target.key]
                    for m in self.truth.models
                    if (target.service, target.key) in m.locks
                ),
                None,
            )
            return f"{head}, behind the holder of {target.service}/{target.key}", holder
        waiting = [callee for callee in inv.callees if self._runs(callee)]
        if inv.status is Status.SUSPENDED and waiting:
            return f"{head}, waits for what it called", waiting[0]
        return f"{head}, awaiting {inv.awaiting}", None

    def _runs(self, invocation_id: str) -> bool:
        for model in self.truth.models:
            if invocation_id in model.invocations:
                return model.invocations[invocation_id].status is not Status.COMPLETED
        return invocation_id not in self.truth.commands
