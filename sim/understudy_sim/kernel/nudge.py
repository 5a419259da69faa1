"""What wakes one waiting task."""

from __future__ import annotations

from typing import Any

from trio.lowlevel import Abort, current_task, wait_task_rescheduled


class Nudge:
    """Wakes the one trio task that waits for it, from wherever: a task of the same process, another, or no task."""

    def __init__(self) -> None:
        self._task: Any = None
        self._given = False

    def wake(self) -> bool:
        """Wake who waits; False when nobody does, or its process is dead."""
        task, self._task = self._task, None
        if task is None or task._runner.dead:
            return False
        task._runner.reschedule(task)
        return True

    def give(self) -> None:
        """Wake who waits, or who will wait next."""
        if not self.wake():
            self._given = True

    async def taken(self) -> None:
        """Wait for a nudge."""
        if self._given:
            self._given = False
            return
        assert self._task is None, "one task waits"
        self._task = current_task()

        def abort(_: object) -> Abort:
            self._task = None
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)
