"""The endpoint over ASGI 3, under trio and asyncio: discovery, invocation and health of an App.

Bytes in and out only: what a stream of frames means is the VM's business.  One reader task per request keeps taking the
request body, so that a disconnect stops the handler even while it computes nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from functools import cache
from importlib import metadata
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import anyio

from understudy.api.manifest import MANIFEST_VERSIONS, ManifestError
from understudy.host import RealHost, wall_clock_ms
from understudy.hosting import Host, LinkLost
from understudy.identity import Unidentified
from understudy.protocol.framing import Frame, FrameDecoder, FramingError, encode_frames
from understudy.vm import VERSIONS

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from understudy.endpoint import App

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
HostFactory = Callable[["TaskGroup"], Host]

DRAIN_SECONDS: Final = 5.0
# Whoever sends this header with a discovery is told the fingerprint of the code in one of the same name.
FINGERPRINT: Final = "x-understudy-fingerprint"
"""How long the request may stay open after our last message before we end the response anyway."""

_INVOCATION: Final = "application/vnd.restate.invocation.v{}"
_MANIFEST: Final = "application/vnd.restate.endpointmanifest.v{}+json"
_MANIFEST_PATTERN: Final = re.compile(r"application/vnd\.restate\.endpointmanifest\.v(\d+)\+json")
_CONTENT_TYPES: Final = MappingProxyType({_INVOCATION.format(version): version for version in VERSIONS})
_DEFAULT_MANIFEST_VERSION: Final = 2


@cache
def server_name() -> str:
    """What we call ourselves to servers: package and version."""
    try:
        return f"understudy/{metadata.version('understudy')}"
    except metadata.PackageNotFoundError:
        return "understudy/unknown"


async def serve(
    application: App,
    scope: Scope,
    receive: Receive,
    send: Send,
    host_factory: HostFactory = RealHost,
    now_ms: Callable[[], int] = wall_clock_ms,
) -> None:
    """Answer one ASGI scope of *application*.  *now_ms* judges whether a signed request has expired."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    if scope["type"] != "http":
        raise ValueError(f"the endpoint answers http, the server asked for {scope['type']!r}")
    segments = [segment for segment in scope["path"].split("/") if segment]
    method = scope["method"]
    if segments[-1:] == ["health"] and method == "GET":
        await _answer(send, 200, b'{"status":"ok"}', "application/json")
    elif refusal := _refusal(application, scope, now_ms):
        await _answer(send, 401, refusal.encode(), "text/plain")
    elif segments[-1:] == ["discover"] and method == "GET":
        await _discover(application, scope, send)
    elif len(segments) >= 3 and segments[-3] == "invoke" and method == "POST":
        await _invoke(application, scope, receive, send, segments[-2], segments[-1], host_factory)
    else:
        await _answer(send, 404)


def _refusal(application: App, scope: Scope, now_ms: Callable[[], int]) -> str | None:
    """Why the request is not from a server we know; None when it is, or when any will do."""
    try:
        application.verifier.check(_request_headers(scope), scope["path"], now_ms())
    except Unidentified as error:
        return str(error)
    return None


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _answer(
    send: Send,
    status: int,
    body: bytes = b"",
    content_type: str | None = None,
    more: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [*_headers(content_type), *more]})
    await send({"type": "http.response.body", "body": body})


def _headers(content_type: str | None) -> list[tuple[bytes, bytes]]:
    headers = [(b"x-restate-server", server_name().encode())]
    if content_type is not None:
        headers.append((b"content-type", content_type.encode()))
    return headers


def _request_headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


# -- discovery --


def manifest_version(accept: str | None) -> int | None:
    """The newest manifest version an `accept` header names that we know; None when it names none.

    >>> manifest_version("application/vnd.restate.endpointmanifest.v3+json, text/plain"), manifest_version(None)
    (3, 2)
    """
    if not accept or accept.strip() == "*/*":
        return _DEFAULT_MANIFEST_VERSION
    named = [int(number) for number in _MANIFEST_PATTERN.findall(accept)]
    return max((number for number in named if number in MANIFEST_VERSIONS), default=None)


async def _discover(application: App, scope: Scope, send: Send) -> None:
    accept = _request_headers(scope).get("accept")
    version = manifest_version(accept)
    if version is None:
        text = f"no manifest version in {accept!r} is known here, expected one of {MANIFEST_VERSIONS}"
        await _answer(send, 415, text.encode(), "text/plain")
        return
    try:
        manifest = application.manifest(version, over_http1=scope.get("http_version", "1.1") < "2")
    except ManifestError as error:
        await _answer(send, 500, str(error).encode(), "text/plain")
        return
    told = []
    if FINGERPRINT in _request_headers(scope):
        told.append((FINGERPRINT.encode(), application.fingerprint().hex().encode()))
    await _answer(send, 200, json.dumps(manifest).encode(), _MANIFEST.format(version), told)


# -- invocation --


class _AsgiLink:
    """Frames over the request and response bodies of one ASGI request."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._decoder = FrameDecoder()
        self._frames: list[Frame] = []
        self._arrived: anyio.Event | None = None  # There is one while somebody waits for it.
        self.closed = anyio.Event()
        self.broken: str | None = None
        self.disconnected = False

    async def pump(self, cut_off: Callable[[], None]) -> None:
        """Take the request body, then watch the client.  Calls *cut_off* when it has gone or sends nonsense."""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.disconnected = True
                self.broken = self.broken or "the client disconnected"
                self._close()
                cut_off()
                return
            try:
                self._frames += self._decoder.feed(message.get("body", b""))
            except FramingError as error:
                self.broken = str(error)
                self._close()
                cut_off()
                return
            if message.get("more_body", False):
                self._wake()
            else:
                self._close()  # What comes now can only be a disconnect.

    def _close(self) -> None:
        self.closed.set()
        self._wake()

    def _wake(self) -> None:
        if self._arrived is not None:
            self._arrived.set()
            self._arrived = None

    async def receive(self) -> Sequence[Frame] | None:
        """Frames that have arrived; None at the end of the body.  A cancelled call loses nothing."""
        while not self._frames:
            if self.broken is not None:
                raise LinkLost(self.broken)
            if self.closed.is_set():
                return None
            self._arrived = anyio.Event()
            await self._arrived.wait()
        frames, self._frames = self._frames, []
        return frames

    async def send(self, frames: Sequence[Frame]) -> None:
        """Send *frames* as one chunk of the response body."""
        if self.broken is not None:
            raise LinkLost(self.broken)
        try:
            await self._send({"type": "http.response.body", "body": encode_frames(frames), "more_body": True})
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise LinkLost(f"the response cannot be written: {error}") from error


async def _invoke(
    application: App,
    scope: Scope,
    receive: Receive,
    send: Send,
    service: str,
    handler: str,
    host_factory: HostFactory,
) -> None:
    headers = _request_headers(scope)
    content_type = headers.get("content-type", "")
    version = _CONTENT_TYPES.get(content_type)
    if version is None:
        text = f"content type {content_type!r} is not spoken here, expected one of {sorted(_CONTENT_TYPES)}"
        await _answer(send, 415, text.encode(), "text/plain")
        return
    if not application.has_handler(service, handler):
        await _answer(send, 404)
        return
    await send({"type": "http.response.start", "status": 200, "headers": _headers(content_type)})
    link = _AsgiLink(receive, send)
    async with anyio.create_task_group() as tasks:
        attempt = anyio.CancelScope()
        tasks.start_soon(link.pump, attempt.cancel)
        with attempt:
            await application.attempt(
                service=service,
                handler=handler,
                version=version,
                link=link,
                host=host_factory(tasks),
                headers=headers,
            )
        # The server closes its side when it has seen our last message; ending first could reset the stream.
        with anyio.move_on_after(DRAIN_SECONDS):
            await link.closed.wait()
        tasks.cancel_scope.cancel()
    if not link.disconnected:
        await send({"type": "http.response.body", "body": b"", "more_body": False})
