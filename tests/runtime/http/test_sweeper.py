"""The sweeper of idle connections sleeps while nothing can be closed."""

from __future__ import annotations

import math

import trio
import trio.testing
from understudy_runtime.http.connections import Connection, ConnectionServer
from understudy_runtime.limits import Limits


async def test_what_was_closed_is_not_looked_at_again() -> None:
    """Until it has gone it would be due at once, every time: a busy loop, where somebody prefers the sweeper."""
    server = ConnectionServer(Limits())
    mine, _ = trio.testing.memory_stream_pair()
    connection = Connection(mine)
    server._connections[1] = connection
    connection.seen_mark = connection.mark
    now = Limits().idle_timeout_ms / 1000 + 1.0
    assert server._next_look(now) < now, "it has been idle for too long"
    server._check(connection, now)
    assert connection.scope.cancel_called
    assert server._next_look(now) == math.inf
