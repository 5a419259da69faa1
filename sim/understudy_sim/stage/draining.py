"""Stopping in order: a process is told to stop, as SIGTERM does, answers what it can in its time, and exits.

A `Bell` is how it is told from outside; `Drain` is the fault.  Who starts the process again is its owner.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from trio.lowlevel import Abort, current_task, wait_task_rescheduled

from understudy_sim.kernel.faults.port import Arena, Shot


class Bell:
    """Rung by the stage, heard by one task of a process."""

    def __init__(self) -> None:
        self._listener: Any = None

    async def heard(self) -> None:
        """Wait until it is rung."""
        assert self._listener is None, "one task listens"
        self._listener = current_task()

        def abort(_: object) -> Abort:
            self._listener = None
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)

    def ring(self) -> bool:
        """Wake who listens; False when nobody does."""
        task, self._listener = self._listener, None
        if task is None or task._runner.dead:
            return False
        task._runner.reschedule(task)
        return True


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
