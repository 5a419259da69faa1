"""A power cut of a process, and its restart."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from understudy_sim.kernel.faults.port import Arena, Shot


class Crash:
    """Cuts the process off; after a while its owner starts it again."""

    kind: ClassVar[str] = "crash"
    budget: ClassVar[str] = "any process, at any step; what was synced is there afterwards"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when the process had something in flight."""
        (name,) = shot.target
        process = arena.kernel.process(name)
        if not process.alive:
            return False
        busy = arena.busy(name)
        process.crash()
        if busy:
            arena.bite(shot.label)
        arena.until(shot.lasts_ns, restarting(arena, name))
        return True


def restarting(arena: Arena, name: str) -> Callable[[], object]:
    """Starts *name* again, unless somebody did."""

    def restart() -> None:
        if not arena.kernel.process(name).alive:
            arena.restart(name)

    return restart
