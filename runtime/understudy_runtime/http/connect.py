"""The way to every registered endpoint: an `Endpoint` in, its `Transport` out.

The one place that chooses the HTTP version.  HTTP/1.1 is request-response; HTTP/2 connections live in `run`'s nursery.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio

from understudy_runtime.http.deployment import HttpTransport, dial
from understudy_runtime.http.exchange import Address, Words, check_headers, parse_uri
from understudy_runtime.http.h2_client import ExchangeLost, H2Pool
from understudy_runtime.http.h2_transport import H2Transport
from understudy_runtime.invoker.port import Sign, Transport
from understudy_runtime.limits import Limits
from understudy_runtime.model.endpoint import Endpoint
from understudy_runtime.world import World


class Connector:
    """Makes transports.  *headers* go to every endpoint (as the cluster's name does), *sign* proves who asks.

    Call `run` in a task before anything is sent over HTTP/2: it holds the connections.
    """

    def __init__(
        self, world: World, limits: Limits, *, sign: Sign | None = None, headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        self._world = world
        self._limits = limits
        self._sign = sign
        self._headers = check_headers(headers)
        self._nursery: trio.Nursery | None = None
        self._has_ended = False

    def __call__(self, endpoint: Endpoint) -> Transport:
        """The way to *endpoint*; nothing is opened yet.  Raises BadEndpoint (a ValueError)."""
        address = parse_uri(endpoint.uri)
        ours = [name for name, _ in self._headers]
        theirs = [(name, value) for name, value in check_headers(endpoint.additional_headers) if name not in ours]
        headers = (*self._headers, *theirs)
        limits = self._limits
        if endpoint.use_http_11:
            return HttpTransport(
                self._world,
                address.host,
                address.port,
                base_path=address.base_path,
                bidi=False,
                additional_headers=headers,
                message_bytes_max=limits.message_bytes_max,
                connect_timeout_ms=limits.connect_timeout_ms,
                sign=self._sign,
            )
        return H2Transport(
            H2Pool(self._dialer(address), limits, self._spawn),
            Words(address, headers, self._sign, self._world.now_ms),
            bidi=endpoint.bidirectional,
            message_bytes_max=limits.message_bytes_max,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the connections' tasks until cancelled."""
        assert self._nursery is None, "a connector runs once"
        assert not self._has_ended, "a connector runs once"
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self._has_ended = True

    def _dialer(self, address: Address) -> Callable[[], Awaitable[trio.abc.HalfCloseableStream]]:
        async def open_stream() -> trio.abc.HalfCloseableStream:
            return await dial(self._world, address, self._limits.connect_timeout_ms)

        return open_stream

    def _spawn(self, function: Callable[[], Awaitable[None]]) -> None:
        if self._has_ended:
            raise ExchangeLost("the server is stopping", reached=False)
        assert self._nursery is not None, "Connector.run comes first"
        self._nursery.start_soon(function)


def connector(
    world: World, limits: Limits, *, sign: Sign | None = None, headers: Sequence[tuple[str, str]] = ()
) -> Connector:
    """What `Node(connect=…)` takes."""
    return Connector(world, limits, sign=sign, headers=headers)
