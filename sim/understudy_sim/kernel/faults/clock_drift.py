"""A wall clock goes too fast or too slow."""

from __future__ import annotations

from typing import ClassVar, Final

from understudy_sim.kernel.clock import PPM
from understudy_sim.kernel.faults.port import Arena, Shot

# As far as a quartz goes wrong, a bad one, one that is emulated, and one that nobody would keep.
DRIFTS_PPM: Final = (50, 500, 20_000, 200_000)


class ClockDrift:
    """Lets one process's wall clock go too fast or too slow for a while; what it gained or lost stays."""

    kind: ClassVar[str] = "clock_drift"
    budget: ClassVar[str] = "any process's wall clock, by a fifth at most"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when the process had something in flight."""
        process = arena.kernel.process(shot.target[0])
        if not process.alive or process.wall.rate_ppm:
            return False
        rate_ppm = DRIFTS_PPM[(shot.detail >> 1) % len(DRIFTS_PPM)]
        ppm = shot.sign * min(rate_ppm, shot.strength_ns * PPM // shot.lasts_ns)
        process.wall.drift(ppm)
        if arena.busy(process.name):
            arena.bite(shot.label)
        arena.until(shot.lasts_ns, lambda: process.wall.drift(-ppm))
        return True
