"""A wall clock stands still."""

from __future__ import annotations

from typing import ClassVar

from understudy_sim.kernel.clock import PPM
from understudy_sim.kernel.faults.port import Arena, Shot


class ClockFreeze:
    """One process's wall clock stands still for a while; then it is behind, or catches up in one step."""

    kind: ClassVar[str] = "clock_freeze"
    budget: ClassVar[str] = "any process's wall clock, for a while"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when the process had something in flight."""
        process = arena.kernel.process(shot.target[0])
        if not process.alive or process.wall.rate_ppm:
            return False
        began_ns = arena.kernel.now_ns
        process.wall.drift(-PPM)
        if arena.busy(process.name):
            arena.bite(shot.label)

        def undo() -> None:
            process.wall.drift(PPM)
            if shot.detail & 1:
                process.wall.jump(arena.kernel.now_ns - began_ns)

        arena.until(min(shot.lasts_ns, shot.strength_ns), undo)
        return True
