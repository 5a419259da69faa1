"""The client's side of HTTP/1.1 on any stream: one connection, and a pool that keeps idle ones.

Not a browser: no redirects, no cookies, no compression.  A kept connection may have been closed by its peer meanwhile;
whoever reuses one must be ready to try again on a fresh one when the peer turns out to have closed it in order
(`ClientPool.request` does, `deployment.py` does).  A reset proves nothing: the request may have been acted upon.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import attrs
import trio

from understudy_runtime.http.h1_parse import Headers, ProtocolViolation, ResponseHead, ResponseParser
from understudy_runtime.http.h1_write import encode_request_head

READ_BYTES: Final = 64 * 1024
IDLE_MAX: Final = 256

Dial = Callable[[], Awaitable[trio.abc.HalfCloseableStream]]


class ConnectionLost(Exception):
    """The connection broke, or the peer spoke something else.  `answered`: some of its answer had arrived.

    `unread`: it is certain that the peer has not acted upon the request.  It was not sent whole, or the peer had closed
    in order before it answered a byte, as it does with a connection that was idle for long.
    """

    def __init__(self, message: str, *, answered: bool, unread: bool = False) -> None:
        assert not (answered and unread), "who answered has read"
        super().__init__(message)
        self.answered = answered
        self.unread = unread


@attrs.frozen
class ClientResponse:
    """A whole answer."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> str | None:
        """The first value of header *name* (lower-case)."""
        return next((value for key, value in self.headers if key == name), None)


class ClientConnection:
    """One connection: write a request, then read the events of its answer.  `reused`: it has answered before."""

    def __init__(self, stream: trio.abc.HalfCloseableStream, body_bytes_max: int | None) -> None:
        self.stream = stream
        self.reused = False
        self.idle_from = 0.0
        self._parser = ResponseParser(body_bytes_max)

    def start(self, *, head_only: bool = False) -> None:
        """Expect the answer to a new request."""
        self._parser.start(head_only=head_only)

    async def send(self, data: bytes) -> None:
        """Write *data*.  Raises ConnectionLost."""
        try:
            await self.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            # What could not be sent whole cannot have been acted upon.
            seen = self._parser.bytes_seen
            raise ConnectionLost(f"the peer closed the connection: {error}", answered=seen, unread=not seen) from None

    async def event(self) -> ResponseHead | bytes | None:
        """The next piece of the answer: its head, a part of its body, None at its end.  Raises ConnectionLost."""
        events = self._parser.events
        while not events:
            await self._read()
        return events.popleft()

    async def _read(self) -> None:
        parser = self._parser
        data = None
        try:
            data = await self.stream.receive_some(READ_BYTES)
            if data:
                parser.feed(bytes(data))
            else:
                parser.feed_end()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionLost(f"the connection broke: {error}", answered=parser.bytes_seen) from None
        except ProtocolViolation as violation:
            unread = data == b"" and not parser.bytes_seen
            raise ConnectionLost(str(violation), answered=parser.bytes_seen, unread=unread) from None

    async def close(self) -> None:
        """Close at once, whatever is under way."""
        await trio.aclose_forcefully(self.stream)


class ClientPool:
    """Connections to one peer.  *dial* opens one and raises OSError when it cannot.

    At most *idle_max* are kept, each for *idle_seconds_max*: who cannot send a request twice asks for less than its
    peer's own bound.
    """

    def __init__(
        self,
        dial: Dial,
        *,
        body_bytes_max: int | None = None,
        idle_max: int = IDLE_MAX,
        idle_seconds_max: float = math.inf,
    ) -> None:
        assert idle_max >= 0, "a pool keeps no negative number of connections"
        assert idle_seconds_max >= 0, "a pool keeps no connection for a negative time"
        self._idle_seconds_max = idle_seconds_max
        self._dial = dial
        self._body_bytes_max = body_bytes_max
        self._idle_max = idle_max
        self._idle: list[ClientConnection] = []

    @property
    def idle(self) -> int:
        """How many connections are kept."""
        return len(self._idle)

    async def acquire(self, *, fresh: bool = False) -> ClientConnection:
        """A connection for one exchange, the youngest kept one unless *fresh*.  Raises OSError."""
        if self._idle and not fresh:
            if trio.current_time() - self._idle[-1].idle_from < self._idle_seconds_max:
                return self._idle.pop()
            await self.drop_idle()
        return ClientConnection(await self._dial(), self._body_bytes_max)

    async def release(self, connection: ClientConnection) -> None:
        """Keep *connection*, whose exchange has ended in order, for the next one."""
        connection.reused = True
        connection.idle_from = trio.current_time()
        if len(self._idle) < self._idle_max:
            self._idle.append(connection)
        else:
            await connection.close()

    async def drop_idle(self) -> None:
        """Close what is kept: one of them was found closed or too old, the others are as old or older."""
        while self._idle:
            await self._idle.pop().close()

    async def request(
        self, method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes = b""
    ) -> ClientResponse:
        """One whole exchange.  *headers* must hold `host`.  Raises OSError and ConnectionLost.

        It is tried again, on a fresh connection, only when the peer of a kept one cannot have read it.
        """
        length = [("content-length", str(len(body)))] if body or method not in ("GET", "HEAD") else []
        data = encode_request_head(method, target, [*headers, *length]) + body
        connection = await self.acquire()
        try:
            return await self._exchange(connection, data, method == "HEAD")
        except ConnectionLost as lost:
            if not (lost.unread and connection.reused):
                raise
        await self.drop_idle()
        return await self._exchange(await self.acquire(fresh=True), data, method == "HEAD")

    async def _exchange(self, connection: ClientConnection, data: bytes, head_only: bool) -> ClientResponse:
        keep = False
        try:
            connection.start(head_only=head_only)
            await connection.send(data)
            head = await connection.event()
            assert isinstance(head, ResponseHead), "an answer starts with its head"
            parts = []
            while isinstance(part := await connection.event(), bytes):
                parts.append(part)
            keep = head.keep_alive
        finally:
            if not keep:
                await connection.close()
        await self.release(connection)
        return ClientResponse(head.status, head.headers, b"".join(parts))
