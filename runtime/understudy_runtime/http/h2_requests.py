"""Whole requests over HTTP/2: every stream's request is collected, handled in a task of its own, and answered.

What HTTP/1.1 refuses is refused here, stream by stream: the connection goes on.  A client that resets its stream
cancels the handler (and so its waiter), never the invocation.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from understudy_runtime.http.connections import Connection
from understudy_runtime.http.h1_parse import HEAD_BYTES_MAX, HEADERS_MAX, Headers, Refusal
from understudy_runtime.http.h1_write import BODILESS
from understudy_runtime.http.h2_events import Data, Head
from understudy_runtime.http.h2_server import H2Conversation, Inbound, StreamPhase, parts_of_head
from understudy_runtime.ingress.port import Request, Response
from understudy_runtime.limits import Limits

Handler = Callable[[Request], Awaitable[Response]]
# Bodies that are being collected on one connection may hold so many times the largest one.
BODIES_MAX: Final = 2
# What belongs to HTTP/1.1's framing has no place in an answer here.
HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"})


class RequestConversation(H2Conversation):
    """One connection whose requests go to *handler*; *refusal_response* words our own refusals, *date* is a header."""

    def __init__(
        self,
        connection: Connection,
        limits: Limits,
        handler: Handler,
        *,
        refusal_response: Callable[[Refusal], Response],
        date: Callable[[], bytes],
    ) -> None:
        super().__init__(connection, limits)
        self.handler = handler
        self.body_bytes_max = limits.request_bytes_max
        self.collected_bytes = 0
        self._refusal_response = refusal_response
        self._date = date

    def begin(self, head: Head) -> Inbound:
        """Judge the head; a bad one is answered at once."""
        method, target, headers = parts_of_head(head.headers)
        inbound = Collecting(self, head.stream, method, target, headers)
        refusal = judge_head(method, target, headers, self.body_bytes_max)
        if refusal is not None:
            self.refuse(inbound, refusal)
        elif not head.ended and any(name == "expect" for name, _ in headers):
            self.wire.respond(head.stream, [(b":status", b"100")])
        return inbound

    def refuse(self, inbound: Collecting, refusal: Refusal) -> None:
        """Answer in the handler's stead."""
        self.answer(inbound, self._refusal_response(refusal))

    def answer(self, inbound: Collecting, response: Response) -> None:
        """Send *response* on the stream of *inbound*."""
        inbound.drop_body()
        body = response.body
        headers = [(b":status", b"%d" % response.status)]
        for name, value in response.headers:
            lowered = name.lower()
            if lowered not in HOP_BY_HOP:
                headers.append((lowered.encode("latin-1"), value.encode("latin-1")))
        date = self._date()
        if date:
            headers.append((b"date", date))
        if response.status not in BODILESS:
            headers.append((b"content-length", b"%d" % len(body)))
        if inbound.method == "HEAD":
            body = b""
        self.wire.respond(inbound.stream, headers, end=not body)
        if body:
            self.wire.send(inbound.stream, body, end=True)
        self.sending(inbound)

    def handle(self, inbound: Collecting) -> None:
        """The request is whole."""
        self.start(self._handle, inbound)

    async def _handle(self, inbound: Collecting) -> None:
        with inbound.scope:
            response = await self.handler(inbound.request())
            self.answer(inbound, response)


class Collecting(Inbound):
    """One request, until it is answered."""

    def __init__(self, owner: RequestConversation, stream: int, method: str, target: str, headers: Headers) -> None:
        super().__init__(stream)
        self.method = method
        self.scope = trio.CancelScope()
        self._owner = owner
        self._target = target
        self._headers = headers
        self._body: list[bytes] = []
        self._body_bytes = 0

    def request(self) -> Request:
        """The request, whole."""
        body = self._body
        whole = body[0] if len(body) == 1 else b"".join(body)
        self.drop_body()
        return Request(self.method, self._target, self._headers, whole)

    def drop_body(self) -> None:
        """Its bytes are somebody else's now, or nobody's."""
        self._owner.collected_bytes -= self._body_bytes
        self._body_bytes = 0
        self._body = []

    def got_data(self, part: Data) -> None:
        owner = self._owner
        owner.wire.credit(self.stream, part.size)
        if self.phase is not StreamPhase.RECEIVING:
            return
        if part.data:
            self._body.append(part.data)
        self._body_bytes += len(part.data)
        owner.collected_bytes += len(part.data)
        if self._body_bytes > owner.body_bytes_max:
            owner.refuse(self, Refusal(413, f"the body is above {owner.body_bytes_max} bytes"))
        elif owner.collected_bytes > BODIES_MAX * owner.body_bytes_max:
            owner.refuse(self, Refusal(503, "too much is being sent on this connection at once: send it in turn"))

    def got_end(self) -> None:
        if self.phase is StreamPhase.RECEIVING:
            self.phase = StreamPhase.HANDLING
            self._owner.handle(self)

    def gone(self) -> None:
        self.drop_body()
        self.scope.cancel()


def judge_head(method: str, target: str, headers: Headers, body_bytes_max: int) -> Refusal | None:
    """What is wrong with a request's head, as HTTP/1.1 has it."""
    if len(headers) > HEADERS_MAX or sum(len(name) + len(value) for name, value in headers) > HEAD_BYTES_MAX:
        return Refusal(431, f"the head is above {HEAD_BYTES_MAX} bytes or {HEADERS_MAX} headers: send less")
    if method == "CONNECT":
        return Refusal(405, "CONNECT is not supported: this server is not a proxy")
    if not target.startswith("/") and target != "*":
        return Refusal(400, f"the path {target[:100]!r} is not one: it starts with a slash")
    hosts = [value for name, value in headers if name == "host"]
    if len(hosts) != 1:
        return Refusal(400, f"expected one Host header, found {len(hosts)}")
    for name, value in headers:
        if name == "content-length" and int(value) > body_bytes_max:
            return Refusal(413, f"the body is above {body_bytes_max} bytes", announced=True)
        if name == "expect" and value.lower() != "100-continue":
            return Refusal(417, f"the expectation {value!r} is not known: only 100-continue is")
    return None
