"""HTTP/1.1 bytes to requests and responses: `httptools` (llhttp, strict) and the bounds it leaves to us.

Sans-IO: bytes in, values out, no clock, no stream.  What a peer sends wrong never raises out of `feed`: it becomes
`refusal`, after everything that came whole before it.

Rules:
- header names are lower-case, values and targets are the raw bytes as latin-1: nothing is percent-decoded here;
- a head above HEAD_BYTES_MAX or HEADERS_MAX is refused (431), a body above its bound (413);
- conflicting lengths, folded headers and bare line feeds are refused by llhttp; a missing or doubled Host by us;
- an `Upgrade` offer is ignored and the request is read as plain HTTP/1.1; CONNECT is refused.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import attrs
import httptools

from understudy_runtime.ingress.port import Request

HEAD_BYTES_MAX: Final = 64 * 1024
HEADERS_MAX: Final = 256

Headers = tuple[tuple[str, str], ...]


@attrs.frozen
class Refusal:
    """A request that is answered by the loop itself, after which the connection closes.

    `announced` marks a body refused by its declared length, before any of it was read.
    """

    status: int
    message: str
    announced: bool = False


@attrs.frozen
class Head:
    """The head of one request; its body is still to come.  `keep_alive`: the client wants the connection to stay."""

    method: str
    target: str
    headers: Headers
    keep_alive: bool


@attrs.frozen
class ResponseHead:
    """The head of one response (never an interim one)."""

    status: int
    headers: Headers
    keep_alive: bool
    ends_at_close: bool

    def header(self, name: str) -> str | None:
        """The first value of header *name* (lower-case)."""
        return next((value for key, value in self.headers if key == name), None)


class _RequestParser:
    """What both request parsers share: the head, its bounds, and the body's bound."""

    def __init__(self, body_bytes_max: int) -> None:
        assert body_bytes_max >= 0, "a bound is never negative"
        self.refusal: Refusal | None = None
        self.in_head = False
        self.in_body = False
        self.wants_continue = False
        self._body_bytes_max = body_bytes_max
        self._body_bytes = 0
        self._events = 0
        self._silent_bytes = 0
        self._url = b""
        self._headers: list[tuple[str, str]] = []
        self._head_bytes = 0
        self._recording = True
        self._upgrading = False
        self._keep_alive = True
        self._parser = httptools.HttpRequestParser(self)

    @property
    def idle(self) -> bool:
        """Whether the last request is complete and no byte of another has come."""
        return not self.in_head and not self.in_body

    def feed(self, data: bytes) -> None:
        """Take *data*.  What it completes is kept for the owner; what is wrong with it is in `refusal`."""
        if self.refusal is not None:
            return
        events = self._events
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse(Refusal(400, f"the request is not valid HTTP/1.1: {error}"))
        if self._events != events:
            self._silent_bytes = 0
            # A head, or trailers, that do not come to an end.
            self._bound_head()
        else:
            self._silent_bytes += len(data)
            if self._silent_bytes > HEAD_BYTES_MAX:
                self._refuse(Refusal(431, f"a header is longer than {HEAD_BYTES_MAX} bytes"))

    def _refuse(self, refusal: Refusal) -> None:
        if self.refusal is None:
            self.refusal = refusal

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Read on as if the head had offered no upgrade: a new parser is given the same framing, headers unrecorded."""
        method = self._parser.get_method()
        if method == b"CONNECT":
            self._refuse(Refusal(405, "CONNECT is not supported: this server is not a proxy"))
            return
        framing = [
            f"{name}: {value}\r\n".encode("latin-1")
            for name, value in self._headers
            if name in ("content-length", "transfer-encoding")
        ]
        connection = b"" if self._keep_alive else b"connection: close\r\n"
        self._parser = httptools.HttpRequestParser(self)
        self._recording = False
        self._upgrading = False
        self._parser.feed_data(b"%s / HTTP/1.1\r\n%s%s\r\n" % (method, b"".join(framing), connection))
        if rest:
            self.feed(rest)

    # Callbacks of httptools.

    def on_message_begin(self) -> None:
        self._events += 1
        self.in_head = True
        if self._recording:
            self._url = b""
            self._headers = []
            self._head_bytes = 0
            self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._events += 1
        if self._recording:
            self._url += url
            self._head_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._events += 1
        self._head_bytes += len(name) + len(value)
        if self.in_head and self._recording:
            self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def _bound_head(self) -> None:
        if self._head_bytes > HEAD_BYTES_MAX or len(self._headers) > HEADERS_MAX:
            self._refuse(Refusal(431, f"the head is above {HEAD_BYTES_MAX} bytes or {HEADERS_MAX} headers: send less"))

    def on_headers_complete(self) -> None:
        self._events += 1
        self.in_head = False
        self.in_body = True
        if not self._recording:
            self._recording = True
            self._head_done()
            return
        self._keep_alive = self._parser.should_keep_alive()
        self._upgrading = self._parser.should_upgrade()
        self._bound_head()
        self._check_head()
        if not self._upgrading:
            self._head_done()

    def _check_head(self) -> None:
        hosts = 0
        self.wants_continue = False
        for name, value in self._headers:
            if name == "host":
                hosts += 1
            elif name == "content-length":
                if int(value) > self._body_bytes_max:
                    self._refuse(Refusal(413, f"the body is above {self._body_bytes_max} bytes", announced=True))
            elif name == "expect":
                self._check_expect(value)
        if hosts != 1 and (hosts > 1 or self._parser.get_http_version() == "1.1"):
            self._refuse(Refusal(400, f"expected one Host header, found {hosts}"))

    def _check_expect(self, value: str) -> None:
        if value.lower() != "100-continue":
            self._refuse(Refusal(417, f"the expectation {value!r} is not known: only 100-continue is"))
        elif self._parser.get_http_version() == "1.1":
            self.wants_continue = True

    def on_body(self, body: bytes) -> None:
        self._events += 1
        self.wants_continue = False
        self._body_bytes += len(body)
        if self._body_bytes > self._body_bytes_max:
            self._refuse(Refusal(413, f"the body is above {self._body_bytes_max} bytes"))
        elif self.refusal is None:
            self._body_part(body)

    def on_chunk_header(self) -> None:
        self._events += 1

    def on_message_complete(self) -> None:
        self._events += 1
        if self._upgrading:
            return
        self.in_body = False
        self.wants_continue = False
        if self.refusal is None:
            self._message_done()

    def _method(self) -> str:
        method: bytes = self._parser.get_method()
        return method.decode("ascii")

    def _target(self) -> str:
        """The target as path and query: an absolute one loses its scheme and authority (RFC 9112, 3.2.2)."""
        target = self._url.decode("latin-1")
        if target[:1] == "/" or target == "*":
            return target
        _, separator, rest = target.partition("://")
        if not separator:
            return target
        slash = rest.find("/")
        return rest[slash:] if slash >= 0 else "/"

    def _head_done(self) -> None:
        raise NotImplementedError

    def _body_part(self, body: bytes) -> None:
        raise NotImplementedError

    def _message_done(self) -> None:
        raise NotImplementedError


class WholeRequestParser(_RequestParser):
    """Requests with their whole body, in order, in `requests`: each with its keep-alive wish."""

    def __init__(self, body_bytes_max: int) -> None:
        super().__init__(body_bytes_max)
        self.requests: deque[tuple[Request, bool]] = deque()
        self._body: list[bytes] = []

    def _head_done(self) -> None:
        self._body = []

    def _body_part(self, body: bytes) -> None:
        self._body.append(body)

    def _message_done(self) -> None:
        body = self._body
        whole = body[0] if len(body) == 1 else b"".join(body)
        request = Request(self._method(), self._target(), tuple(self._headers), whole)
        self.requests.append((request, self._keep_alive))


END: Final = None


class StreamedRequestParser(_RequestParser):
    """Requests as a stream of `Head`, body parts (bytes) and END, in `events`."""

    def __init__(self, body_bytes_max: int) -> None:
        super().__init__(body_bytes_max)
        self.events: deque[Head | bytes | None] = deque()

    def _head_done(self) -> None:
        if self.refusal is None:
            self.events.append(Head(self._method(), self._target(), tuple(self._headers), self._keep_alive))

    def _body_part(self, body: bytes) -> None:
        self.events.append(body)

    def _message_done(self) -> None:
        self.events.append(END)


class ProtocolViolation(Exception):
    """The peer's response is not HTTP/1.1 as we can read it: what was found."""


class ResponseParser:
    """The responses of one connection, one at a time: `ResponseHead`, body parts, END, in `events`."""

    def __init__(self, body_bytes_max: int | None = None) -> None:
        self.events: deque[ResponseHead | bytes | None] = deque()
        self.bytes_seen = False
        self._body_bytes_max = body_bytes_max
        self.start()

    def start(self, *, head_only: bool = False) -> None:
        """Expect the response to a new request; *head_only* for HEAD, whose response has no body."""
        self._parser = httptools.HttpResponseParser(self)
        self.bytes_seen = False
        self._head_only = head_only
        self._headers: list[tuple[str, str]] = []
        self._interim = False
        self._in_body = False
        self._ends_at_close = False
        self._done = False
        self._head_bytes = 0
        self._body_bytes = 0
        self._too_large = ""

    def feed(self, data: bytes) -> None:
        """Take *data*.  Raises ProtocolViolation."""
        self.bytes_seen = True
        if self._done:
            raise ProtocolViolation("the peer sent bytes after the end of its response")
        if not self._in_body:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise ProtocolViolation("the peer switched protocols without being asked") from None
        except httptools.HttpParserError as error:
            raise ProtocolViolation(f"the peer's response is not valid HTTP/1.1: {error}") from error
        if not self._in_body and not self._done and self._head_bytes > 2 * HEAD_BYTES_MAX:
            raise ProtocolViolation(f"the head of the peer's response is above {HEAD_BYTES_MAX} bytes")
        if self._too_large:
            raise ProtocolViolation(self._too_large)

    def feed_end(self) -> None:
        """The peer closed its side.  Raises ProtocolViolation when that cuts a response off."""
        if self._done:
            return
        if not (self._in_body and self._ends_at_close):
            where = "in the middle of its response" if self.bytes_seen else "before its response"
            raise ProtocolViolation(f"the peer closed the connection {where}")
        self._finish()

    def _finish(self) -> None:
        self._done = True
        self._in_body = False
        self.events.append(END)

    # Callbacks of httptools.

    def on_message_begin(self) -> None:
        self._headers = []
        self._interim = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_body and len(self._headers) < HEADERS_MAX:
            self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        self._interim = 100 <= status < 200
        if self._interim:
            return
        names = {name for name, _ in self._headers}
        bodiless = self._head_only or status in (204, 304)
        self._ends_at_close = not bodiless and not names & {"content-length", "transfer-encoding"}
        keep_alive = self._parser.should_keep_alive() and not self._ends_at_close
        self.events.append(ResponseHead(status, tuple(self._headers), keep_alive, self._ends_at_close))
        self._in_body = True
        if self._head_only:
            self._finish()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes_max is not None and self._body_bytes > self._body_bytes_max:
            self._too_large = f"the peer's response is above {self._body_bytes_max} bytes"
        elif not self._done:
            self.events.append(body)

    def on_message_complete(self) -> None:
        if not self._interim and not self._done:
            self._finish()
