"""A wall clock is wrong from the start."""

from __future__ import annotations

from typing import ClassVar

from understudy_sim.kernel.faults.clock_jump import jump_ns
from understudy_sim.kernel.faults.port import Arena, Shot


class ClockOffset:
    """Moves one process's wall clock by up to `strength_ns`, for good: meant for a run's first moment."""

    kind: ClassVar[str] = "clock_offset"
    budget: ClassVar[str] = "any process's wall clock, once"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites always: whoever asks for the time is told another."""
        arena.kernel.process(shot.target[0]).wall.jump(jump_ns(shot))
        arena.bite(shot.label)
        return True
