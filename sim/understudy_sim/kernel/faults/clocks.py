"""What a wall clock does beside jumping: it is off from the start, drifts, stands still, is slewed back.

Monotonic time is never hurt.  None of them moves a clock by more than `strength_ns` in all.
"""

from __future__ import annotations

from typing import ClassVar, Final

from understudy_sim.kernel.clock import PPM
from understudy_sim.kernel.faults.port import Arena, Shot

# As far as a quartz goes wrong, a bad one, one that is emulated, and one that nobody would keep.
DRIFTS_PPM: Final = (50, 500, 20_000, 200_000)


class ClockOffset:
    """Moves one process's wall clock by up to `strength_ns`, for good: meant for a run's first moment."""

    kind: ClassVar[str] = "clock_offset"
    budget: ClassVar[str] = "any process's wall clock, once"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites always: whoever asks for the time is told another."""
        process = arena.kernel.process(shot.target[0])
        by_ns = shot.strength_ns * (1 + (shot.detail >> 1) % 1000) // 1000
        process.wall.jump(-by_ns if shot.detail & 1 else by_ns)
        arena.bite(shot.label)
        return True


class ClockDrift:
    """Lets one process's wall clock go too fast or too slow for a while; what it gained or lost stays."""

    kind: ClassVar[str] = "clock_drift"
    budget: ClassVar[str] = "any process's wall clock, by a fifth at most"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when the process had something in flight."""
        process = arena.kernel.process(shot.target[0])
        if not process.alive or process.wall.rate_ppm:
            return False
        ppm = min(DRIFTS_PPM[(shot.detail >> 1) % len(DRIFTS_PPM)], shot.strength_ns * PPM // shot.lasts_ns)
        ppm = -ppm if shot.detail & 1 else ppm
        process.wall.drift(ppm)
        if arena.busy(process.name):
            arena.bite(shot.label)
        arena.until(shot.lasts_ns, lambda: process.wall.drift(-ppm))
        return True


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


class ClockSlew:
    """One process's wall clock steps, and is brought back as time services do it: by a wrong rate, without a step.

    At the healing it is right again, by a step if need be.
    """

    kind: ClassVar[str] = "clock_slew"
    budget: ClassVar[str] = "any process's wall clock; it goes at half its rate at least and at twice its rate at most"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when the process had something in flight."""
        process = arena.kernel.process(shot.target[0])
        if not process.alive or process.wall.rate_ppm:
            return False
        by_ns = min(shot.strength_ns, shot.lasts_ns // 2)
        by_ns = -by_ns if shot.detail & 1 else by_ns
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
