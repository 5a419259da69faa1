"""The two hops without bytes: exchanges of the simulated network that carry requests, answers and frames as values.

Order, latency, end, reset and loss mean what they mean for streams; only encoding is left out.  Byte mode runs the same
hops over the product's own HTTP instead.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import trio
from understudy.hosting import LinkLost
from understudy.protocol.framing import Frame
from understudy_runtime.invoker.port import AttemptHead, AttemptPeer, Discovery, TransportError

from understudy_sim.kernel.network import Network
from understudy_sim.kernel.pipes import SimExchange
from understudy_sim.kernel.process import Process


@attrs.frozen
class Opening:
    """The first item of an attempt's exchange: what HTTP says in head and first bytes."""

    head: AttemptHead
    frames: tuple[Frame, ...]


@attrs.frozen
class Refused:
    """The endpoint runs nothing now: what HTTP says with a status alone."""

    status: int


class ExchangeStream:
    """The server's sending half (`AttemptStream`)."""

    def __init__(self, exchange: SimExchange) -> None:
        self._exchange = exchange

    def send(self, frames: Sequence[Frame]) -> None:
        try:
            self._exchange.send(tuple(frames))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # The receiving half learns of it and fails the attempt.

    def close_send(self) -> None:
        self._exchange.close_send()


class ExchangeTransport:
    """The way to an endpoint process (`Transport`).  Without *bidi* the request ends with its first frames."""

    def __init__(
        self, network: Network, process: Process, host: str, port: int, *, bidi: bool, manifest: bytes
    ) -> None:
        self._network = network
        self._process = process
        self._host = host
        self._port = port
        self._bidi = bidi
        self._manifest = manifest

    async def run(self, head: AttemptHead, frames: Sequence[Frame], peer: AttemptPeer) -> None:
        try:
            exchange = await self._network.dial_exchange(self._process, self._host, self._port)
        except OSError as error:
            raise TransportError(f"{self._host} cannot be reached: {error}", reached=False) from error
        try:
            await self._converse(exchange, Opening(head, tuple(frames)), peer)
        except trio.EndOfChannel:
            exchange.close()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise TransportError(f"the exchange with {self._host} broke: {error}", reached=True) from error
        except BaseException:
            exchange.reset()
            raise

    async def _converse(self, exchange: SimExchange, opening: Opening, peer: AttemptPeer) -> None:
        exchange.send(opening)
        stream = ExchangeStream(exchange)
        if not self._bidi:
            stream.close_send()
        peer.opened(stream)
        while True:
            received = await exchange.receive()
            if type(received) is Refused:
                raise TransportError(f"{self._host} answered {received.status}", reached=False, status=received.status)
            peer.received(received)
            await peer.room()

    async def discover(self) -> Discovery:
        return Discovery(self._manifest)

    async def aclose(self) -> None:
        """Nothing is kept open."""


class ExchangeLink:
    """The endpoint's end of an attempt's exchange (`understudy.hosting.Link`)."""

    def __init__(self, exchange: SimExchange, first: Sequence[Frame]) -> None:
        self._exchange = exchange
        self._first: Sequence[Frame] | None = first

    async def send(self, frames: Sequence[Frame]) -> None:
        try:
            self._exchange.send(tuple(frames))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise LinkLost(str(error)) from error

    async def receive(self) -> Sequence[Frame] | None:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        try:
            frames: Sequence[Frame] = await self._exchange.receive()
        except trio.EndOfChannel:
            return None
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise LinkLost(str(error)) from error
        return frames
