"""The policy against deadlocks: a call that closes a circle of invocations that wait for each other is refused.

The leader looks when somebody begins to wait for an invocation that waits itself.  Each edge it reads is true at that
instant and stays so until an invocation of the circle ends, which none can: so it needs no lock and no second look.
Whoever sees the circle, and however often, chooses the same member: the call that was accepted last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from understudy_runtime.machine.invocation import Invocation
from understudy_runtime.machine.tables import Tables
from understudy_runtime.machine.waits import blockers_of, find_cycle
from understudy_runtime.model.commands import Command, Refuse
from understudy_runtime.model.invocation import Failure, Status

REFUSED_CODE: Final = 409
# Members of a circle that a refusal names; a longer one is told by its length.
NAMED_MAX: Final = 8


class Deadlocks:
    """The calls of one node that are refused.  *tables_of* finds the partition of an id, *propose* its leader."""

    def __init__(self, tables_of: Callable[[str], Tables], propose: Callable[[str, Command], None]) -> None:
        self._tables_of = tables_of
        self._propose = propose

    def check(self, invocation_id: str) -> None:
        """Refuse a call if *invocation_id* waits for itself, or for a circle."""
        cycle = find_cycle(self._blockers, invocation_id)
        members = [self._tables_of(one).peek(one) for one in cycle]
        waiting = [one for one in members if one is not None and one.status is Status.INBOXED]
        if not waiting:
            return  # No circle, or one of calls and attaches alone: nothing of it is still to begin.
        last = max(waiting, key=lambda one: (one.created_ms, one.id))
        if not last.callers:
            return  # Who waits for it is still on its way from another partition: the join looks again.
        failure = Failure(REFUSED_CODE, told([one for one in members if one is not None], last))
        self._propose(last.id, Refuse(last.id, failure, last.birth))

    def _blockers(self, invocation_id: str) -> Sequence[str]:
        tables = self._tables_of(invocation_id)
        found = tables.peek(invocation_id)
        return () if found is None else blockers_of(tables, found)


def told(cycle: Sequence[Invocation], refused: Invocation) -> str:
    """The circle in words, from the call that is refused on."""
    at = cycle.index(refused)
    names = [named(one) for one in (*cycle[at:], *cycle[:at])]
    more = [f"{len(names) - NAMED_MAX} more"] if len(names) > NAMED_MAX else []
    chain = ", which waits for ".join((*names[:NAMED_MAX], *more))
    return f"refused, it would wait for itself: {chain}, which waits for this call"


def named(invocation: Invocation) -> str:
    target = invocation.target
    parts = (target.service, target.key, target.handler)
    return f"{'/'.join(part for part in parts if part)} ({invocation.id})"
