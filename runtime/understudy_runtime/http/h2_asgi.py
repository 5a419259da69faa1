"""An ASGI 3 application over HTTP/2, full duplex: one task per stream runs it, as `asgi.py` has it for HTTP/1.1.

What the application has not asked for is not read from the peer, and what the peer does not take stops the application:
`send` waits while more than QUEUED_BYTES_MAX of its stream are queued.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from understudy_runtime.http import h2_events as codes
from understudy_runtime.http.asgi_messages import (
    DISCONNECT,
    ApplicationError,
    AsgiApp,
    ClientGone,
    Message,
    Sent,
    http_scope,
)
from understudy_runtime.http.connections import Connection
from understudy_runtime.http.h1_parse import Headers
from understudy_runtime.http.h1_write import BODILESS
from understudy_runtime.http.h2_events import BytePairs, Data, Head
from understudy_runtime.http.h2_server import H2Conversation, Inbound, StreamPhase, parts_of_head
from understudy_runtime.limits import Limits
from understudy_runtime.slot import Slot

QUEUED_BYTES_MAX: Final = 64 * 1024
# What belongs to HTTP/1.1's framing has no place in an answer here.
HOP_BY_HOP: Final = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})


class AsgiConversation(H2Conversation):
    """One connection whose streams run *app*; *report* is told of exceptions that leave it."""

    def __init__(
        self, connection: Connection, limits: Limits, app: AsgiApp, *, report: Callable[[Exception], None]
    ) -> None:
        super().__init__(connection, limits)
        self._app = app
        self._report = report
        self._waiting: dict[int, H2Exchange] = {}

    def begin(self, head: Head) -> Inbound:
        """Run the application on the stream."""
        method, target, headers = parts_of_head(head.headers)
        exchange = H2Exchange(self, head.stream, method, target, headers)
        self.start(self._run_app, exchange)
        return exchange

    def wait_for_room(self, exchange: H2Exchange) -> None:
        """Have `exchange` woken when some of its bytes have left."""
        self._waiting[exchange.stream] = exchange

    def has_sent(self) -> None:
        for exchange in tuple(self._waiting.values()):
            if self.wire.queued(exchange.stream) <= QUEUED_BYTES_MAX:
                del self._waiting[exchange.stream]
                exchange.room.wake()

    async def _run_app(self, exchange: H2Exchange) -> None:
        try:
            await self._app(exchange.scope(), exchange.receive, exchange.send)
            exchange.finish()
        except ClientGone:
            pass
        except Exception as error:
            self._report(error)
            exchange.fail()
        finally:
            self._waiting.pop(exchange.stream, None)
            exchange.close()


class H2Exchange(Inbound):
    """One request and its answer, as the application sees them."""

    def __init__(self, owner: AsgiConversation, stream: int, method: str, target: str, headers: Headers) -> None:
        super().__init__(stream)
        self.phase = StreamPhase.HANDLING
        self.room = Slot()
        self._owner = owner
        self._method = method
        self._target = target
        self._request_headers = headers
        self._inbox: deque[Data] = deque()
        self._owed = 0
        self._request_ended = False
        self._told_end = False
        self._gone = False
        self._news = Slot()
        self._sent = Sent.NOTHING
        self._status = 0
        self._headers: BytePairs = []

    def scope(self) -> Message:
        """The ASGI scope."""
        return http_scope("2", self._method, self._target, self._request_headers)

    # From the connection.

    def got_data(self, part: Data) -> None:
        if self.phase is StreamPhase.SENDING:
            # The application has returned: nobody reads it any more.
            self._owner.wire.credit(self.stream, part.size)
            return
        self._inbox.append(part)
        self._news.wake()

    def got_end(self) -> None:
        self._request_ended = True
        self._news.wake()

    def gone(self) -> None:
        self._gone = True
        self._news.wake()
        self.room.wake()

    # From the application.

    async def receive(self) -> Message:
        """The next part of the request, or `http.disconnect` once it is over or the peer has gone."""
        self._pay()
        if self._sent is Sent.ALL:
            return {"type": DISCONNECT}
        if self._sent is Sent.STARTED:
            self._send_head(b"", more=True)
        while not self._inbox and not self._gone and (self._told_end or not self._request_ended):
            await self._news.park()
        if self._gone:
            return {"type": DISCONNECT}
        parts = [part.data for part in self._inbox]
        self._owed = sum(part.size for part in self._inbox)
        self._inbox.clear()
        self._told_end = self._request_ended
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        return {"type": "http.request", "body": body, "more_body": not self._request_ended}

    def _pay(self) -> None:
        """The application is done with what it was given last: the peer may send as much again."""
        if self._owed:
            self._owner.wire.credit(self.stream, self._owed)
            self._owed = 0
            self._owner.flush()

    async def send(self, message: Message) -> None:
        """Take a part of the answer.  Raises ClientGone once the peer has gone, ApplicationError for nonsense."""
        kind = message["type"]
        if self._gone:
            raise ClientGone("the client has reset the stream, or gone")
        if kind == "http.response.start" and self._sent is Sent.NOTHING:
            self._status = int(message["status"])
            self._headers = [(bytes(name).lower(), bytes(value)) for name, value in message.get("headers", ())]
            self._sent = Sent.STARTED
        elif kind == "http.response.body" and self._sent in (Sent.STARTED, Sent.BODY):
            await self._body(bytes(message.get("body", b"")), more=bool(message.get("more_body", False)))
        else:
            raise ApplicationError(f"the application sent {kind} when its answer was {self._sent.name.lower()}")

    async def _body(self, body: bytes, *, more: bool) -> None:
        wire = self._owner.wire
        if self._sent is Sent.STARTED:
            self._send_head(body, more=more)
        else:
            wire.send(self.stream, b"" if self._is_bodiless else body, end=not more)
        if not more:
            self._sent = Sent.ALL
        self._owner.flush()
        while more and not self._gone and wire.queued(self.stream) > QUEUED_BYTES_MAX:
            self._owner.wait_for_room(self)
            await self.room.park()

    @property
    def _is_bodiless(self) -> bool:
        return self._method == "HEAD" or self._status in BODILESS

    def _send_head(self, body: bytes, *, more: bool) -> None:
        """The head, and the first part of the body with it."""
        headers = [(b":status", b"%d" % self._status), *(pair for pair in self._headers if pair[0] not in HOP_BY_HOP)]
        if not more and self._status not in BODILESS and not any(name == b"content-length" for name, _ in headers):
            headers.append((b"content-length", b"%d" % len(body)))
        wire = self._owner.wire
        if self._is_bodiless:
            body = b""
        ends = not more and not body
        wire.respond(self.stream, headers, end=ends)
        self._sent = Sent.BODY
        if body:
            wire.send(self.stream, body, end=not more)
        self._owner.flush()

    # The end.

    def finish(self) -> None:
        """The application has returned.  Raises ApplicationError when its answer is not whole."""
        if self._sent is not Sent.ALL and not self._gone:
            raise ApplicationError("the application returned before its answer was complete")

    def fail(self) -> None:
        """The application raised: a 500 if nothing was sent, else the stream is cut."""
        wire = self._owner.wire
        if self._sent in (Sent.NOTHING, Sent.STARTED):
            wire.respond(self.stream, [(b":status", b"500"), (b"content-length", b"0")], end=True)
        elif self._sent is Sent.BODY:
            wire.reset(self.stream, codes.INTERNAL_ERROR)
        self._sent = Sent.ALL

    def close(self) -> None:
        """The application is done: give back what it did not read; the answer still leaves."""
        self._owed += sum(part.size for part in self._inbox)
        self._inbox.clear()
        self._pay()
        if self._gone:
            self._owner.leave(self)
        else:
            self._owner.sending(self)
