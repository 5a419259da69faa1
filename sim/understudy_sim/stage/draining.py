"""Stopping in order: a process is told to stop, as SIGTERM does, answers what it can in its time, and exits.

Who tells it, and who starts the process again, is its owner.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from understudy_sim.kernel.faults.port import Arena, Shot


class Drain:
    """Tells a process to stop.  *stop* is its owner's: False when it cannot be told now."""

    kind: ClassVar[str] = "drain"
    budget: ClassVar[str] = "any process; what it had no time for is cut, as by a kill that spares the disk's cache"

    def __init__(self, stop: Callable[[int], bool]) -> None:
        self._stop = stop

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when the process had something in flight."""
        (name,) = shot.target
        busy = arena.busy(name)
        if not self._stop(shot.lasts_ns):
            return False
        if busy:
            arena.bite(shot.label)
        return True
