"""The life of a server process: start, serve, drain on the first signal, end at once on the second."""

from __future__ import annotations

import gc
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import trio

from understudy_runtime.cli.output import Logger

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
# Objects made and not yet gone before the youngest are looked at, and how many such looks before the older ones are.
# With Python's 700 and 10 the collector took 7 % of an echo's CPU; with these a quarter of that.
COLLECT_AFTER: Final = (10_000, 20, 20)

Drain = Callable[[], Awaitable[None]]
Start = Callable[[trio.Nursery], Awaitable[Drain]]


class Life:
    """One life.  `started` once `start` is done: requests are served.

    A signal before that ends it, with nothing to drain.
    """

    def __init__(self, logger: Logger) -> None:
        self.started = False
        self._logger = logger
        self._serving = trio.CancelScope()
        self._draining = trio.CancelScope()
        self._code = 0

    async def live(self, start: Start) -> int:
        """All of it; the exit code: 0 after a drain, 128 and the signal's number when a second one came."""
        drain: Drain | None = None
        with trio.open_signal_receiver(*STOP_SIGNALS) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._obey, signals)
                with self._serving:
                    drain = await start(nursery)
                    self.started = True
                    with rare_collections():
                        await trio.sleep_forever()
                if drain is not None:
                    with self._draining:
                        await drain()
                nursery.cancel_scope.cancel()
        self._logger.log("info", "server", "stopped")
        return self._code

    async def _obey(self, signals: AsyncIterator[int]) -> None:
        """Turn signals into the end of what goes on."""
        first = await anext(signals)
        self._logger.log("info", "server", "draining", signal=signal.Signals(first).name)
        self._serving.cancel()
        self._code = 128 + int(await anext(signals))
        self._draining.cancel()


@contextmanager
def rare_collections() -> Iterator[None]:
    """Let the collector run seldom, and never again over what is there now: modules, services, schema."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
