"""The transport to an app in this process: the attempt's task runs the handler, frames pass by plain calls.

The two ends of the exchange share one small object.  What the SDK sends is received before its `send` returns; what the
server sends lies in the inbox until the SDK asks, and wakes the one task that may be parked for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from understudy.endpoint import NotFound
from understudy.hosting import Host, Link
from understudy.protocol.framing import Frame

from understudy_runtime.invoker.port import AttemptHead, AttemptPeer, Discovery, TransportError
from understudy_runtime.slot import Slot


class App(Protocol):
    """An SDK app, as the transport drives it."""

    async def attempt(self, *, service: str, handler: str, version: int, link: Link, host: Host) -> None: ...

    def manifest(self, version: int = 4) -> Mapping[str, Any]: ...


class Exchange:
    """One attempt's two-way stream in memory.  It is the SDK's end itself, a Link."""

    __slots__ = ("_closed", "_inbox", "_peer", "_slot")

    def __init__(self, frames: Sequence[Frame], peer: AttemptPeer) -> None:
        self._inbox: list[Frame] = list(frames)
        self._closed = False
        self._peer = peer
        self._slot = Slot()

    def put(self, frames: Sequence[Frame]) -> None:
        """From the server: frames for the SDK."""
        self._inbox += frames
        self._wake()

    def close(self) -> None:
        """From the server: no more frames will come."""
        self._closed = True
        self._wake()

    async def send(self, frames: Sequence[Frame]) -> None:
        """From the SDK: frames for the server; waits while the server is behind."""
        self._peer.received(frames)
        await self._peer.room()

    async def receive(self) -> Sequence[Frame] | None:
        """For the SDK: wait for frames; None once the server has closed its side and all is read."""
        while not self._inbox:
            if self._closed:
                return None
            await self._slot.park()
        frames, self._inbox = self._inbox, []
        return frames

    def _wake(self) -> None:
        if self._slot.parked:
            self._slot.wake()


class ServerEnd:
    """The server's sending half: an AttemptStream."""

    __slots__ = ("close_send", "send")

    def __init__(self, exchange: Exchange) -> None:
        self.send = exchange.put
        self.close_send = exchange.close


class InProcessTransport:
    """The way to *app*, whose attempts get time, threads and tasks from *host*."""

    def __init__(self, app: App, host: Host) -> None:
        self._app = app
        self._host = host

    async def run(self, head: AttemptHead, frames: Sequence[Frame], peer: AttemptPeer) -> None:
        """Run one attempt in the calling task, to its end.  Raises TransportError when the handler is not there."""
        exchange = Exchange(frames, peer)
        peer.opened(ServerEnd(exchange))
        try:
            await self._app.attempt(
                service=head.target.service,
                handler=head.target.handler,
                version=head.protocol_version,
                link=exchange,
                host=self._host,
            )
        except NotFound as error:
            raise TransportError(str(error), reached=False) from None

    async def discover(self) -> Discovery:
        """The application's manifest."""
        return Discovery(json.dumps(self._app.manifest()).encode())

    async def aclose(self) -> None:
        """Nothing is kept open."""
