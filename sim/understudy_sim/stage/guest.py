"""A guest: an asyncio ASGI application that serves an endpoint, unmodified; above all one of the official SDK.

Its process runs an asyncio loop on the virtual clock and serves the application over simulated byte streams, as a real
ASGI server would.  A crash is a power cut; SIGTERM is delivered to the handlers it has asked its loop for.  What of the
official SDK is answered in its place is in `guest_sdk.py`.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import trio

from understudy_sim.kernel.choices import SeededChoices
from understudy_sim.kernel.clock import NS_PER_MS
from understudy_sim.kernel.kernel import Kernel
from understudy_sim.stage.endpoint import EndpointProcess
from understudy_sim.stage.points import BEFORE

if TYPE_CHECKING:
    from understudy_sim.kernel.aio_asgi import AsgiApp
    from understudy_sim.kernel.aio_loop import SimAsyncioLoop

_MANIFESTS: Final = ", ".join(f"application/vnd.restate.endpointmanifest.v{number}+json" for number in (4, 3, 2))
# How long a guest may take to end after its time for what it had in flight.
PATIENCE_NS: Final = 15_000 * NS_PER_MS
# Which claims need what only our own SDK tells.
NOT_JUDGED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "P6 replay closure": "a cold replay of a journal is made by this project's SDK",
        "P13 foreign awaits": "nobody tells what a handler waits for; its clocks and its entropy are judged",
        "P17 within an attempt": "nobody tells when it begins to wait; all that the server does is judged",
    }
)


class NotDiscovered(Exception):
    """The application answered no discovery: what was asked, what came."""


class GuestProcess(EndpointProcess):
    """Starts, and starts again, the process that serves an asyncio ASGI application."""

    _loop: SimAsyncioLoop

    async def _main(self) -> None:
        from understudy_sim.kernel import aio_asgi, aio_loop

        async with aio_loop.open_loop(self._kernel) as loop:
            self._loop = loop
            self.loading = True
            app: Any = self._load(self.process.name)
            self.loading = False

            async def answered(scope: Any, receive: Any, send: Any, invocation_id: str) -> None:
                await self._arrives(invocation_id)
                await aio_asgi.call(loop, app, scope, receive, send)

            async with trio.open_nursery() as nursery:
                await self._serve_asgi(answered, nursery)

    async def _arrives(self, invocation_id: str) -> None:
        """An attempt is here.  The other points of attempts are our own SDK's."""
        points = self.points
        if points is not None and invocation_id and points.wants("handler.start"):
            nth = points.number("handler.start", self.process.name)
            await points.through("handler.start", self.process, BEFORE, nth, points.invocation(invocation_id))

    def _told_to_stop(self) -> None:
        self._loop.deliver_signal(signal.SIGTERM)
        patience_ns = self._plan.limits.drain_timeout_ms * NS_PER_MS + PATIENCE_NS
        self._kernel.call_later(patience_ns, self._kill, self.process.incarnation)

    def _kill(self, incarnation: int) -> None:
        """What a supervisor does with a process that was told to stop and did not."""
        if self.process.alive and self.process.incarnation == incarnation:
            self.process.crash(power=False)
            self._kernel.call_later(self._back_after_ns, self._start_again)


def discover(app: AsgiApp) -> dict[str, Any]:
    """What *app* answers to a discovery, asked in a small world of its own.  Raises NotDiscovered."""
    with Kernel(SeededChoices(0)) as kernel:
        return dict(kernel.run(partial(_discover, kernel, app)).value())


async def _discover(kernel: Kernel, app: AsgiApp) -> dict[str, Any]:
    from understudy_sim.kernel import aio_asgi, aio_loop

    said: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        said.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "2",
        "method": "GET",
        "scheme": "http",
        "path": "/discover",
        "raw_path": b"/discover",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"accept", _MANIFESTS.encode())],
        "client": None,
        "server": None,
    }
    async with aio_loop.open_loop(kernel) as loop:
        await aio_asgi.call(loop, app, scope, receive, send)
    status = next((one["status"] for one in said if one["type"] == "http.response.start"), None)
    body = b"".join(one.get("body", b"") for one in said if one["type"] == "http.response.body")
    if status != 200:
        raise NotDiscovered(f"it answered GET /discover with {status} {body[:200]!r}, not with the services it has")
    found: dict[str, Any] = json.loads(body)
    return found
