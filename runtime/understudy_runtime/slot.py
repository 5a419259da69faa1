"""One parked task and a plain call that wakes it: the cheapest wait between two parts of one process.

A Slot is not an Event: it holds at most one task, wakes it exactly once per park, and keeps a wake that came while
nobody was parked.  The abort function only unlinks, so the order in which a cancel walks its tasks never shows.
"""

from __future__ import annotations

import math

import trio


class Slot:
    """A place for one task to wait in."""

    __slots__ = ("_due_s", "_task", "_woken")

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None
        self._woken = False
        self._due_s = math.inf

    @property
    def parked(self) -> bool:
        """Whether a task waits here."""
        return self._task is not None

    def wake(self) -> None:
        """Let the parked task go on; with nobody parked, the next park returns at once."""
        task = self._task
        if task is None:
            self._woken = True
            return
        self._task = None
        trio.lowlevel.reschedule(task)

    async def park(self) -> None:
        """Wait for `wake`.  Returns at once, without a checkpoint, when a wake is kept."""
        assert self._task is None, "a slot holds one task"
        if self._woken:
            self._woken = False
            return
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._unlink)

    async def park_until(self, deadline_s: float) -> None:
        """Wait for `wake` or for trio's clock to reach *deadline_s* (infinity: only for `wake`)."""
        if deadline_s == math.inf:
            await self.park()
            return
        self._due_s = deadline_s
        try:
            with trio.CancelScope(deadline=deadline_s):
                await self.park()
        finally:
            self._due_s = math.inf

    def wake_before(self, deadline_s: float) -> None:
        """Wake the parked task if it means to sleep beyond *deadline_s*."""
        if self._task is None or deadline_s < self._due_s:
            self.wake()

    def _unlink(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED
