"""What the SDK needs of the place that hosts it: a link to the server, and a host for time, threads and tasks.

The SDK decides nothing about sockets, clocks or schedulers.  Whoever drives an attempt (the ASGI endpoint under trio or
asyncio, the server's in-process transport, the simulator) passes these two in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from understudy.protocol.framing import Frame

T = TypeVar("T")


class LinkLost(Exception):
    """The stream to the server broke or was reset: the attempt is over and nothing more can be journaled."""


class Link(Protocol):
    """One attempt's two-way stream of frames, as the SDK sees it."""

    async def send(self, frames: Sequence[Frame]) -> None:
        """Hand *frames* to the server, in order.  Raises LinkLost when the stream is gone."""

    async def receive(self) -> Sequence[Frame] | None:
        """Wait for frames from the server; None once the server has closed its side.  Raises LinkLost.

        A call that is cancelled loses no frames: the next one returns them.
        """


class Host(Protocol):
    """The process an attempt runs in.

    A host may also have, for those who watch: `step_started(name)` and `step_ended(name)`, called each time the
    function of a `ctx.run` begins to run and when it has ended; `awaits(tree)`, called when the attempt begins to wait
    for what the server may still send, with the keys it waits for (see `vm/awaits.py`), and with None when it goes on.
    """

    def now_ms(self) -> int:
        """Wall clock, epoch milliseconds (sleep and delayed sends are computed from it)."""

    def monotonic_ms(self) -> int:
        """A clock that never goes back, for durations (run retry policies)."""

    async def run_sync(self, function: Callable[[], T]) -> T:
        """Run a blocking *function*: in a worker thread on a real machine, inline in the simulator."""

    def start_task(self, function: Callable[[], Awaitable[None]]) -> None:
        """Start *function* as a task that outlives the current await but not the process.

        The SDK wraps what it starts so that it never raises and can be cancelled and awaited at the attempt's end.
        """

    def report_hazard(self, kind: str, detail: str, filename: str, line: int) -> None:
        """Tell that handler code did something replay cannot reproduce (*kind*), and where."""
