"""What is said to an endpoint, whatever the HTTP version: its address, the requests' headers, the judgement of answers.

Not a transport: values in, values out.  `deployment.py` (HTTP/1.1) and `h2_transport.py` carry it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import quote, urlsplit

import attrs
from understudy.protocol.framing import Frame, FrameDecoder, FramingError

from understudy_runtime.ingress.times import parse_http_date_ms
from understudy_runtime.invoker.port import AttemptHead, AttemptPeer, Discovery, Sign, TransportError

MANIFEST_BYTES_MAX: Final = 32 * 1024 * 1024
MANIFEST_TYPES: Final = tuple(f"application/vnd.restate.endpointmanifest.v{n}+json" for n in range(1, 5))
# Statuses after which nothing of the attempt can have run: who sent them refused the request as such.
NOT_REACHED: Final = (404, 413, 415, 429, 503)
# An answer to discovery must be whole within this time.
DISCOVERY_SECONDS: Final = 30
DEFAULT_PORT: Final = 80
# What a deployment's additional headers cannot override: the framing, and what we say ourselves.
RESERVED_HEADERS: Final = (
    "accept",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-restate-invocation-id",
    "x-restate-jwt-v1",
    "x-restate-service-key",
    "x-restate-signature-scheme",
)
TOKEN_MARKS: Final = "!#$%&'*+-.^_`|~"

Pairs = tuple[tuple[str, str], ...]


class BadEndpoint(ValueError):
    """An endpoint's address or headers cannot be used: what was found, what is expected."""


@attrs.frozen
class Address:
    """Where an endpoint is.  `base_path` is empty, or `/like/this`."""

    host: str
    port: int
    base_path: str = ""

    @property
    def authority(self) -> str:
        """`host:port`, as the `Host` header has it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_uri(uri: str) -> Address:
    """The address in *uri* (`http://host[:port][/prefix]`).  Raises BadEndpoint.

    >>> parse_uri("http://localhost:9080/a/")
    Address(host='localhost', port=9080, base_path='/a')
    """
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:
        raise BadEndpoint(f"{uri!r} is not a URI: {error}") from None
    if parts.scheme == "https":
        raise BadEndpoint(f"{uri!r}: TLS to endpoints is not supported; give an http:// address")
    if parts.scheme != "http" or not parts.hostname:
        raise BadEndpoint(f"{uri!r} is not an absolute http:// URI: expected http://host[:port][/prefix]")
    if parts.username is not None or parts.query or parts.fragment:
        raise BadEndpoint(f"{uri!r}: an endpoint's address has no user, query or fragment")
    if not uri.isascii() or any(mark <= " " or mark == "\x7f" for mark in uri):
        raise BadEndpoint(f"{uri!r} holds spaces or characters outside ASCII: percent-encode them")
    if port == 0:
        raise BadEndpoint(f"{uri!r}: 0 is not a port")
    return Address(parts.hostname, port or DEFAULT_PORT, parts.path.rstrip("/"))


def check_headers(headers: Sequence[tuple[str, str]]) -> Pairs:
    """*headers* as they are sent: lower-case, without those that are ours to say.  Raises BadEndpoint."""
    checked = []
    for given, value in headers:
        name = given.lower()
        if not name or not all(mark.isascii() and (mark.isalnum() or mark in TOKEN_MARKS) for mark in name):
            raise BadEndpoint(f"{given!r} is not a header's name")
        if not all(mark == "\t" or " " <= mark <= "~" for mark in value) or value != value.strip():
            raise BadEndpoint(f"the value of header {given!r} holds more than visible ASCII and inner spaces")
        if name not in RESERVED_HEADERS:
            checked.append((name, value))
    return tuple(checked)


class Words:
    """What is said to one endpoint.  *headers* go with every request; *sign* adds those that prove who asks.

    Header pairs are given without `host` and framing: those are the HTTP version's.
    """

    def __init__(self, address: Address, headers: Pairs, sign: Sign | None, now_ms: Callable[[], int]) -> None:
        self.address = address
        self.authority = address.authority
        self._headers = headers
        self._sign = sign
        self._now_ms = now_ms

    def content_type(self, head: AttemptHead) -> str:
        """The media type of frames in the attempt's protocol version."""
        return f"application/vnd.restate.invocation.v{head.protocol_version}"

    def discover_path(self) -> str:
        return f"{self.address.base_path}/discover"

    def discover_headers(self) -> Pairs:
        signature = self._sign(self.discover_path(), None) if self._sign is not None else ()
        return (*self._headers, ("accept", ", ".join(MANIFEST_TYPES)), *signature)

    def invoke_path(self, head: AttemptHead) -> str:
        target = head.target
        return f"{self.address.base_path}/invoke/{quote(target.service)}/{quote(target.handler)}"

    def invoke_headers(self, head: AttemptHead, path: str) -> list[tuple[str, str]]:
        content_type = self.content_type(head)
        headers = [
            *self._headers,
            ("content-type", content_type),
            ("accept", content_type),
            ("x-restate-invocation-id", head.invocation_id),
        ]
        key = head.target.key
        if key is not None:
            headers.append(("x-restate-service-key", quote(key, safe="")))
        if self._sign is not None:
            headers += self._sign(path, key)
        return headers

    def judge(self, status: int, headers: Pairs, head: AttemptHead) -> None:
        """Raises TransportError unless the answer opens a stream of frames in the version asked for."""
        if not 200 <= status < 300:
            raise TransportError(
                f"{self.authority} answered with status {status} instead of running "
                f"{head.target.service}/{head.target.handler}",
                reached=status not in NOT_REACHED,
                status=status,
                retry_after_ms=self._retry_after_ms(header(headers, "retry-after")) if status in (429, 503) else None,
            )
        content_type = header(headers, "content-type")
        if content_type != self.content_type(head):
            raise TransportError(
                f"{self.authority} answered with content-type {content_type!r}, expected {self.content_type(head)}",
                reached=True,
                status=status,
            )

    def judge_discovery(self, status: int, headers: Pairs, body: bytes, http_version: str) -> Discovery:
        """The answer to discovery.  Raises TransportError unless it is a manifest."""
        if status != 200:
            raise TransportError(
                f"{self.authority} answered discovery with status {status}: is an endpoint mounted at "
                f"{self.address.base_path or '/'}?",
                reached=True,
                status=status,
            )
        content_type = header(headers, "content-type")
        if content_type not in MANIFEST_TYPES:
            raise TransportError(
                f"{self.authority} answered discovery with content-type {content_type!r}, expected one of "
                f"{MANIFEST_TYPES[0]} to v{len(MANIFEST_TYPES)}",
                reached=True,
                status=200,
            )
        sdk_version, fingerprint = header(headers, "x-restate-server"), header(headers, "x-understudy-fingerprint")
        return Discovery(body, sdk_version or "", http_version, fingerprint or "")

    def unreachable(self, reason: object) -> TransportError:
        """No connection could be opened."""
        return TransportError(f"{self.authority} cannot be reached: {reason}", reached=False)

    def lost(self, reason: object, *, reached: bool = True) -> TransportError:
        """The exchange broke."""
        return TransportError(f"{self.authority}: {reason}", reached=reached)

    def _retry_after_ms(self, value: str | None) -> int | None:
        if value is None:
            return None
        value = value.strip()
        if value.isascii() and value.isdigit():
            return min(int(value[:12]), 10**9) * 1000
        due_ms = parse_http_date_ms(value)
        return None if due_ms is None else max(0, due_ms - self._now_ms())


class Answer:
    """The frames of one answer's body, handed to the invoker as they become whole."""

    def __init__(self, words: Words, status: int, peer: AttemptPeer, message_bytes_max: int) -> None:
        self._words = words
        self._status = status
        self._peer = peer
        self._decoder = FrameDecoder(message_bytes_max)

    async def take(self, data: bytes) -> None:
        """Hand on what *data* completes and wait until the invoker has room.  Raises TransportError."""
        try:
            frames: Sequence[Frame] = self._decoder.feed(data)
        except FramingError as error:
            raise TransportError(f"{self._words.authority}: {error}", reached=True, status=self._status) from None
        if frames:
            self._peer.received(frames)
            await self._peer.room()

    def end(self) -> None:
        """The body is over.  Raises TransportError when that cuts a message."""
        if self._decoder.pending_bytes:
            raise TransportError(
                f"{self._words.authority} ended its answer in the middle of a message "
                f"({self._decoder.pending_bytes} bytes of it had come)",
                reached=True,
                status=self._status,
            )


def header(headers: Pairs, name: str) -> str | None:
    """The first value of header *name* (lower-case)."""
    return next((value for key, value in headers if key == name), None)
