"""The SDK's `Host` on a real machine: the world's clock, worker threads, tasks in the server's nursery."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

import trio

from understudy_runtime.world import World

T = TypeVar("T")
ReportHazard = Callable[[str, str, str, int], None]


class RealHost:
    """Where attempts run in this process.  *report* hears of each hazard once per place.

    *nursery* runs the tasks the SDK starts: it must outlive the attempts.
    """

    def __init__(self, world: World, nursery: trio.Nursery, report: ReportHazard) -> None:
        self._world = world
        self._nursery = nursery
        self._report = report
        self._reported: dict[tuple[str, str, int], None] = {}
        self.now_ms = world.now_ms

    def monotonic_ms(self) -> int:
        """Trio's clock: it never goes back."""
        return int(trio.current_time() * 1000)

    async def run_sync(self, function: Callable[[], T]) -> T:
        """Run *function* in a worker thread."""
        return cast(T, await self._world.run_sync(function))

    def start_task(self, function: Callable[[], Awaitable[None]]) -> None:
        self._nursery.start_soon(function)

    def report_hazard(self, kind: str, detail: str, filename: str, line: int) -> None:
        """Report a hazard, once for each kind and place."""
        place = (kind, filename, line)
        if place not in self._reported:
            self._reported[place] = None
            self._report(kind, detail, filename, line)
