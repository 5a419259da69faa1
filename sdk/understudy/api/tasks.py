"""The two schedulers, where they differ: who is the current task, was it cancelled from outside, until when may it run.

Everything else the SDK needs of a scheduler goes through anyio or the Host.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any, Protocol


class Tasks(Protocol):
    """The scheduler the calling task runs under."""

    current_task: Callable[[], object]

    def is_cancellation(self, error: BaseException) -> bool:
        """Whether *error* is this scheduler's way of ending a task."""

    def deadline(self) -> float:
        """When the innermost timeout around the current task fires, on the scheduler's clock; infinite when unknown."""

    def scopes(self) -> object:
        """A token of the scopes the current task is in: the same while none is entered or left; None when unknown."""

    async def raise_if_cancelled(self) -> None:
        """Raise the scheduler's cancellation if the current task is cancelled from outside right now."""


class TrioTasks:
    """trio's view."""

    def __init__(self) -> None:
        import trio

        self._trio = trio
        self.current_task: Callable[[], object] = trio.lowlevel.current_task

    def is_cancellation(self, error: BaseException) -> bool:
        """Whether *error* is `trio.Cancelled`."""
        return isinstance(error, self._trio.Cancelled)

    def deadline(self) -> float:
        """The effective deadline of the current task."""
        return self._trio.current_effective_deadline()

    def scopes(self) -> object:
        """trio keeps it under a private name; should that go, nobody is told and `deadline` is asked each time."""
        return getattr(self.current_task(), "_cancel_status", None)

    async def raise_if_cancelled(self) -> None:
        """Cancellation is level-triggered in trio: a checkpoint tells."""
        await self._trio.lowlevel.checkpoint_if_cancelled()


class AsyncioTasks:
    """asyncio's view."""

    def __init__(self) -> None:
        import asyncio

        self._asyncio = asyncio
        self.current_task: Callable[[], object] = asyncio.current_task
        task = asyncio.current_task()
        assert task is not None, "an attempt runs in a task"
        self._cancelling_before = task.cancelling()

    def is_cancellation(self, error: BaseException) -> bool:
        """Whether *error* is `asyncio.CancelledError`."""
        return isinstance(error, self._asyncio.CancelledError)

    def deadline(self) -> float:
        """asyncio's timeouts cannot be seen from inside."""
        return math.inf

    def scopes(self) -> object:
        """Nothing to see: always the same."""
        return self

    async def raise_if_cancelled(self) -> None:
        """A cancel request that nobody has taken back came from outside: a local timeout takes its own back."""
        task = self._asyncio.current_task()
        assert task is not None, "an attempt runs in a task"
        if task.cancelling() > self._cancelling_before:
            raise self._asyncio.CancelledError


def current_tasks() -> Tasks:
    """The scheduler the calling task runs under."""
    trio: Any = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        return TrioTasks()
    return AsyncioTasks()
