"""A client's way to the server over HTTP/2: one pool, shared by all clients of one process, so that many requests are
streams of one connection.

Not a test of HTTP: it only puts the product's own client to use as a customer's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio
from understudy_runtime.http.h2_client import Exchange, ExchangeLost, H2Pool
from understudy_runtime.ingress.port import Request, Response
from understudy_runtime.limits import Limits

from understudy_sim.kernel.network import Network
from understudy_sim.kernel.process import Process
from understudy_sim.stage.client import Lost
from understudy_sim.stage.watch import Watch

# What a client keeps to itself: as a library has it, whatever the server's bounds are.
CLIENT_LIMITS: Final = Limits(h2_ping_interval_ms=10_000, h2_ping_timeout_ms=5_000, connect_timeout_ms=5_000)


class H2Way:
    """The connections of one process.  Its tasks live in the nursery of `hold`."""

    def __init__(self, network: Network, process: Process, host: str, port: int, watch: Watch) -> None:
        self._network = network
        self._process = process
        self._host = host
        self._port = port
        self._watch = watch
        self._nursery: trio.Nursery | None = None
        self._pool = H2Pool(self._dial, CLIENT_LIMITS, self._spawn)

    async def hold(self, customers: Callable[[], Awaitable[None]]) -> None:
        """Run *customers*, who ask this way, to their end."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await customers()
            nursery.cancel_scope.cancel()

    def connection(self) -> H2Connection:
        """One customer's share."""
        return H2Connection(self)

    async def ask(self, request: Request) -> Response:
        """One request.  Raises Lost."""
        head = [
            (b":method", request.method.encode()),
            (b":path", request.target.encode()),
            (b":scheme", b"http"),
            (b":authority", self._host.encode()),
            *((name.encode(), value.encode()) for name, value in request.headers if name != "host"),
        ]
        try:
            exchange = await self._pool.open(head, request.body, end=True)
        except ExchangeLost as error:
            raise Lost(str(error)) from error
        if self._pool.streams > self._pool.connections:
            self._watch.hit("hops: requests that share an HTTP/2 connection")
        try:
            return await self._answer(exchange)
        except ExchangeLost as error:
            raise Lost(str(error)) from error
        finally:
            exchange.close()

    async def _answer(self, exchange: Exchange) -> Response:
        status, headers = await exchange.response()
        body = bytearray()
        while (part := await exchange.part()) is not None:
            body += part.data
            exchange.credit(part.size)
        return Response(status, headers, bytes(body))

    async def _dial(self) -> trio.abc.HalfCloseableStream:
        return await self._network.dial(self._process, self._host, self._port)

    def _spawn(self, function: Callable[[], Awaitable[None]]) -> None:
        assert self._nursery is not None, "`hold` comes first"
        self._nursery.start_soon(function)


class H2Connection:
    """One customer's share of an `H2Way` (a `Connection`)."""

    is_shared = True

    def __init__(self, way: H2Way) -> None:
        self._way = way

    async def ask(self, request: Request) -> Response:
        return await self._way.ask(request)

    def drop(self) -> None:
        """A request that was given up has reset its stream; the connection is others' too."""
