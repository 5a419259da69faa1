"""The way to every registered endpoint: an `Endpoint` in, its `Transport` out.

The one place that chooses the HTTP version.  HTTP/1.1 is request-response; HTTP/2 connections live in `run`'s nursery.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from understudy_runtime.http.deployment import HttpTransport
from understudy_runtime.http.exchange import check_headers, parse_uri
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

    def __call__(self, endpoint: Endpoint) -> Transport:
        """The way to *endpoint*; nothing is opened yet.  Raises BadEndpoint (a ValueError)."""
        address = parse_uri(endpoint.uri)
        return HttpTransport(
            self._world,
            address.host,
            address.port,
            base_path=address.base_path,
            bidi=False,
            additional_headers=(*self._headers, *check_headers(endpoint.additional_headers)),
            message_bytes_max=self._limits.message_bytes_max,
            connect_timeout_ms=self._limits.connect_timeout_ms,
            sign=self._sign,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the connections' tasks until cancelled."""
        task_status.started()
        await trio.sleep_forever()


def connector(
    world: World, limits: Limits, *, sign: Sign | None = None, headers: Sequence[tuple[str, str]] = ()
) -> Connector:
    """What `Node(connect=…)` takes."""
    return Connector(world, limits, sign=sign, headers=headers)
