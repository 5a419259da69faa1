"""A wall clock jumps."""

from __future__ import annotations

from typing import ClassVar

from understudy_sim.kernel.faults.port import Arena, Shot


class ClockJump:
    """Moves one process's wall clock by up to `strength_ns`, forwards or back.

    It stays there: nobody heals a clock.
    """

    kind: ClassVar[str] = "clock_jump"
    budget: ClassVar[str] = "any process's wall clock; monotonic time is never hurt"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when the process had something in flight (a timer waiting for that clock counts)."""
        process = arena.kernel.process(shot.target[0])
        if not process.alive:
            return False
        process.wall.jump(jump_ns(shot))
        if arena.busy(process.name):
            arena.bite(shot.label)
        return True


def jump_ns(shot: Shot) -> int:
    """How far, and which way: in thousandths of `strength_ns`."""
    return shot.sign * (shot.strength_ns * (1 + (shot.detail >> 1) % 1000) // 1000)
