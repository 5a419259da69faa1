"""An ASGI 3 application on the thin HTTP loops, full duplex: its answer may start before the request has ended.

Only `http` scopes: no lifespan, no websockets.  HTTP/2 is told by a connection's first bytes and spoken in
`h2_asgi.py`; here is HTTP/1.1, where one task per connection runs the application; nothing is read but when
the application asks, so back-pressure reaches the peer.  A head is sent with the first part of the body, or as soon as
the application waits for more of the request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from understudy_runtime.http.asgi_messages import (
    DISCONNECT,
    ApplicationError,
    AsgiApp,
    ClientGone,
    Message,
    Sent,
    http_scope,
)
from understudy_runtime.http.connections import GONE, Connection, ConnectionServer, Phase
from understudy_runtime.http.h1_parse import END, Head, StreamedRequestParser
from understudy_runtime.http.h1_write import BODILESS, CONTINUE, LAST_CHUNK, encode_chunk, encode_streamed_head
from understudy_runtime.http.h2_asgi import AsgiConversation
from understudy_runtime.http.h2_server import speaks_h2
from understudy_runtime.limits import Limits

# A request's body has no bound here: it is a stream, read as the application asks, and the messages in it have theirs.
UNBOUNDED: Final = 1 << 62
DRAIN_BYTES_MAX: Final = 256 * 1024
DRAIN_SECONDS: Final = 5


class AsgiServer(ConnectionServer):
    """Serves *app*.  *report* is told of exceptions that leave the application; the client sees a 500 or a cut."""

    def __init__(self, app: AsgiApp, limits: Limits, *, report: Callable[[Exception], None]) -> None:
        super().__init__(limits)
        self._app = app
        self._report = report

    async def converse(self, connection: Connection) -> None:
        """Requests and answers, until either side has enough."""
        if await speaks_h2(connection):
            conversation = AsgiConversation(connection, self.limits, self._app, report=self._report)
            await conversation.run(draining=self.draining)
            return
        parser = StreamedRequestParser(UNBOUNDED)
        while True:
            head = await self._next_head(connection, parser)
            if head is None:
                return
            connection.enter(Phase.STREAMING)
            exchange = Exchange(connection, parser, head, close=self.draining or not head.keep_alive)
            try:
                await self._app(exchange.scope(), exchange.receive, exchange.send)
                await exchange.finish()
            except (ClientGone, *GONE):
                return
            except Exception as error:
                self._report(error)
                await exchange.fail()
                return
            if exchange.close or self.draining:
                return
            connection.enter(Phase.IDLE)

    async def _next_head(self, connection: Connection, parser: StreamedRequestParser) -> Head | None:
        """The next request's head; None when there will be none (its refusal is then answered)."""
        while not parser.events:
            if parser.refusal is not None:
                await self.refuse(connection, parser.refusal)
                return None
            data = await connection.receive()
            if not data:
                return None
            parser.feed(data)
            connection.enter(Phase.HEAD if parser.in_head else Phase.IDLE)
        head = parser.events.popleft()
        assert isinstance(head, Head), "a request starts with its head"
        return head


class Exchange:
    """One request and its answer, as the application sees them.  `close`: the connection ends with it."""

    def __init__(self, connection: Connection, parser: StreamedRequestParser, head: Head, *, close: bool) -> None:
        self.close = close
        self._connection = connection
        self._parser = parser
        self._head = head
        self._sent = Sent.NOTHING
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._chunked = False
        self._request_ended = False
        # Set while `receive` itself says something: a part of the answer that comes meanwhile waits for its end.
        self._saying: trio.Event | None = None

    def scope(self) -> Message:
        """The ASGI scope."""
        return http_scope("1.1", self._head.method, self._head.target, self._head.headers)

    async def receive(self) -> Message:
        """The next part of the request, or `http.disconnect` once it is over or the peer has gone."""
        if self._sent is Sent.ALL:
            return {"type": DISCONNECT}
        if not await self._say_what_is_due():
            self.close = True
            return {"type": DISCONNECT}
        if self._request_ended:
            await self._until_disconnect()
            return {"type": DISCONNECT}
        if not await self._read_event():
            return {"type": DISCONNECT}
        events = self._parser.events
        part = events.popleft()
        if part is not END:
            assert isinstance(part, bytes), "a body follows its head"
            if not events or events[0] is not END:
                return {"type": "http.request", "body": part, "more_body": True}
            events.popleft()
        self._request_ended = True
        return {"type": "http.request", "body": part or b"", "more_body": False}

    async def _say_what_is_due(self) -> bool:
        """Send what the peer must have before it goes on; False when it has gone."""
        wants_head = self._sent is Sent.STARTED
        if not wants_head and not (self._parser.wants_continue and self._sent is Sent.NOTHING):
            return True
        said = self._saying = trio.Event()
        try:
            if wants_head:
                await self._send_head(b"", more=True)
            else:
                self._parser.wants_continue = False
                await self._connection.stream.send_all(CONTINUE)
        except GONE:
            return False
        finally:
            self._saying = None
            said.set()
        return True

    async def _read_event(self) -> bool:
        """Wait until the parser has something; False when the peer has gone or spoke nonsense."""
        while not self._parser.events:
            if self._parser.refusal is not None or not await self._read():
                self.close = True
                return False
        return True

    async def _read(self) -> bool:
        try:
            data = await self._connection.receive()
        except GONE:
            return False
        self._parser.feed(data)
        return bool(data)

    async def _until_disconnect(self) -> None:
        """Wait for the peer to go.  What it pipelines meanwhile is kept, as long as that is little."""
        while not self._parser.events and await self._read():
            pass
        if self._parser.events:
            await trio.sleep_forever()
        self.close = True

    async def send(self, message: Message) -> None:
        """Take a part of the answer.  Raises ClientGone once the peer has gone, ApplicationError for nonsense."""
        kind = message["type"]
        try:
            if kind == "http.response.start" and self._sent is Sent.NOTHING:
                self._start(message)
            elif kind == "http.response.body" and self._sent in (Sent.STARTED, Sent.BODY):
                if self._saying is not None:
                    await self._saying.wait()
                await self._body(bytes(message.get("body", b"")), more=bool(message.get("more_body", False)))
            else:
                raise ApplicationError(f"the application sent {kind} when its answer was {self._sent.name.lower()}")
        except GONE as error:
            raise ClientGone(f"the client has gone: {error}") from None

    def _start(self, message: Message) -> None:
        self._status = int(message["status"])
        self._headers = [(bytes(name).lower(), bytes(value)) for name, value in message.get("headers", ())]
        self._sent = Sent.STARTED

    async def _body(self, body: bytes, *, more: bool) -> None:
        if self._sent is Sent.STARTED:
            await self._send_head(body, more=more)
            return
        data = body
        if self._head.method == "HEAD" or self._status in BODILESS:
            data = b""
        elif self._chunked:
            data = (encode_chunk(body) if body else b"") + (b"" if more else LAST_CHUNK)
        if data:
            await self._connection.stream.send_all(data)
        if not more:
            self._sent = Sent.ALL

    async def _send_head(self, body: bytes, *, more: bool) -> None:
        """The head and the first part of the body in one write."""
        self._sent = Sent.BODY
        headers = self._headers
        has_body = self._head.method != "HEAD" and self._status not in BODILESS
        framed = any(name in (b"content-length", b"transfer-encoding") for name, _ in headers)
        self._chunked = has_body and more and not framed
        if self._chunked:
            headers.append((b"transfer-encoding", b"chunked"))
        elif not framed and self._status not in BODILESS and (not more or has_body):
            headers.append((b"content-length", b"%d" % len(body)))
        data = encode_streamed_head(self._status, headers, close=self.close)
        if has_body and body:
            data += encode_chunk(body) if self._chunked else body
        await self._connection.stream.send_all(data)
        if not more:
            self._sent = Sent.ALL

    async def finish(self) -> None:
        """The application has returned.  Read the rest of a request it did not want, within bounds."""
        if self._sent is not Sent.ALL:
            raise ApplicationError("the application returned before its answer was complete")
        if self._request_ended or self.close:
            return
        self.close = True
        left = DRAIN_BYTES_MAX
        with trio.move_on_after(DRAIN_SECONDS):
            while left > 0 and await self._read_event():
                part = self._parser.events.popleft()
                if part is END:
                    self._request_ended = True
                    self.close = False
                    return
                assert isinstance(part, bytes), "a body follows its head"
                left -= len(part)

    async def fail(self) -> None:
        """The application raised: a 500 if nothing was sent, else the connection is simply cut."""
        self.close = True
        if self._sent in (Sent.NOTHING, Sent.STARTED):
            head = encode_streamed_head(500, [(b"content-length", b"0")], close=True)
            await self._connection.stream.send_all(head)
