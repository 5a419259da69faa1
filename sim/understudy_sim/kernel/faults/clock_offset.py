"""A wall clock is wrong from the start."""

from __future__ import annotations

from typing import ClassVar

from understudy_sim.kernel.faults.port import Arena, Shot


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
