"""The Host on a real machine, under trio and asyncio: the one file of the SDK that touches clocks and threads."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import anyio.to_thread
from anyio.abc import TaskGroup

T = TypeVar("T")

_LOG: Final = logging.getLogger("understudy")


def wall_clock_ms() -> int:
    """Wall clock, epoch milliseconds."""
    return time.time_ns() // 1_000_000


class RealHost:
    """One request's host: its clocks are the machine's, its tasks live in *tasks*."""

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks

    def now_ms(self) -> int:
        """Wall clock, epoch milliseconds."""
        return wall_clock_ms()

    def monotonic_ms(self) -> int:
        """A clock that never goes back."""
        return time.monotonic_ns() // 1_000_000

    async def run_sync(self, function: Callable[[], T]) -> T:
        """Run *function* in a worker thread.  It may return a coroutine, which trio would take for a mistake."""
        (value,) = await anyio.to_thread.run_sync(lambda: (function(),))
        return value

    def start_task(self, function: Callable[[], Awaitable[None]]) -> None:
        """Start *function* in the request's task group."""

        async def run() -> None:
            await function()

        self._tasks.start_soon(run)

    def report_hazard(self, kind: str, detail: str, filename: str, line: int) -> None:
        """Log a warning; the handler goes on."""
        _LOG.warning("determinism hazard %s at %s:%d: %s", kind, filename, line, detail)
