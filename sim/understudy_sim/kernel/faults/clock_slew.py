"""A wall clock is put wrong, and brought back without a step."""

from __future__ import annotations

from typing import ClassVar

from understudy_sim.kernel.clock import PPM
from understudy_sim.kernel.faults.port import Arena, Shot


class ClockSlew:
    """One process's wall clock steps, and is brought back as time services do it: by a wrong rate, without a step.

    At the healing it is right again, by a step if need be.
    """

    kind: ClassVar[str] = "clock_slew"
    budget: ClassVar[str] = "any process's wall clock; its rate is wrong by half at most"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when the process had something in flight."""
        process = arena.kernel.process(shot.target[0])
        if not process.alive or process.wall.rate_ppm:
            return False
        by_ns = shot.sign * min(shot.strength_ns, shot.lasts_ns // 2)
        ppm = -by_ns * PPM // shot.lasts_ns
        began_ns = arena.kernel.now_ns
        process.wall.jump(by_ns)
        process.wall.drift(ppm)
        if arena.busy(process.name):
            arena.bite(shot.label)

        def undo() -> None:
            process.wall.drift(-ppm)
            process.wall.jump(-by_ns - (arena.kernel.now_ns - began_ns) * ppm // PPM)

        arena.until(shot.lasts_ns, undo)
        return True
