"""Several processes lose power together."""

from __future__ import annotations

from typing import ClassVar

from understudy_sim.kernel.choices import Stream, stable_seed
from understudy_sim.kernel.faults.crash import restarting
from understudy_sim.kernel.faults.port import Arena, Shot


class GroupCrash:
    """Cuts all of a group off in one instant; one by one, in any order, they are started again.

    The target is the group.  Who is down already stays so.
    """

    kind: ClassVar[str] = "group_crash"
    budget: ClassVar[str] = "any processes together, at any step; what each had synced is there afterwards"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when one of them had something in flight."""
        alive = [name for name in shot.target if arena.kernel.process(name).alive]
        if not alive:
            return False
        busy = any(arena.busy(name) for name in alive)
        for name in alive:
            arena.kernel.process(name).crash()
        if busy:
            arena.bite(shot.label)
        stream = Stream(stable_seed("group", shot.detail))
        for name in alive:
            arena.until(stream.integer(1, shot.lasts_ns), restarting(arena, name))
        return True
