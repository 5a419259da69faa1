"""`HttpTransport`: the way to an endpoint behind HTTP/1.1, as the invoker's `Transport`.

Two modes, both chunked in both directions: *bidi* keeps the request's body open and writes while it reads (our own
endpoints do that over HTTP/1.1), *request/response* sends everything at once and reads what comes back.

The endpoint's head is judged before any frame is believed; every failure says whether the endpoint can have run
something.  A cancel from outside closes the connection under the exchange.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import trio
from understudy.protocol.framing import Frame, FrameDecoder, FramingError, encode_frames

from understudy_runtime.http.h1_client import ClientConnection, ClientPool, ConnectionLost
from understudy_runtime.http.h1_parse import ResponseHead
from understudy_runtime.http.h1_write import LAST_CHUNK, encode_chunk, encode_request_head
from understudy_runtime.ingress.times import parse_http_date_ms
from understudy_runtime.invoker.port import AttemptHead, AttemptPeer, Discovery, TransportError
from understudy_runtime.slot import Slot
from understudy_runtime.world import World

# The SDK has ended its side: how long the rest of ours may take to leave.
CLOSE_SECONDS: Final = 5
MANIFEST_BYTES_MAX: Final = 32 * 1024 * 1024
MANIFEST_TYPES: Final = tuple(f"application/vnd.restate.endpointmanifest.v{n}+json" for n in range(1, 5))
# Statuses after which nothing of the attempt can have run: who sent them refused the request as such.
NOT_REACHED: Final = (404, 413, 415, 429, 503)


class HttpTransport:
    """One deployment at *host*:*port*, mounted under *base_path* (empty, or `/…` without a last slash)."""

    def __init__(
        self,
        world: World,
        host: str,
        port: int,
        *,
        base_path: str = "",
        bidi: bool = True,
        additional_headers: Sequence[tuple[str, str]] = (),
        message_bytes_max: int = 32 * 1024 * 1024,
    ) -> None:
        assert base_path == "" or (base_path[0] == "/" and base_path[-1] != "/"), "a base path is /like/this"
        self._world = world
        self._authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._base_path = base_path
        self._bidi = bidi
        self._headers = (("host", self._authority), *additional_headers)
        self._message_bytes_max = message_bytes_max
        self._host = host
        self._port = port
        self._pool = ClientPool(self._dial)

    async def run(self, head: AttemptHead, frames: Sequence[Frame], peer: AttemptPeer) -> None:
        """Run one attempt; see `Transport.run`."""
        opening = self._request_head(head) + encode_chunk(encode_frames(frames))
        if not self._bidi:
            opening += LAST_CHUNK
        connection = await self._acquire()
        outgoing = Outgoing(closed=not self._bidi)
        peer.opened(outgoing)
        try:
            await self._attempt(connection, opening, outgoing, head, peer)
        except ConnectionLost as lost:
            if not (lost.unread and connection.reused) or outgoing.used:
                raise TransportError(f"{self._authority}: {lost}", reached=True) from None
        else:
            return
        # The peer had closed the kept connection in order: nobody has read this request.  After a reset nobody knows.
        await self._pool.drop_idle()
        connection = await self._acquire(fresh=True)
        try:
            await self._attempt(connection, opening, outgoing, head, peer)
        except ConnectionLost as lost:
            raise TransportError(f"{self._authority}: {lost}", reached=True) from None

    async def discover(self) -> Discovery:
        """The endpoint's manifest; see `Transport.discover`."""
        headers = (*self._headers, ("accept", ", ".join(MANIFEST_TYPES)))
        pool = ClientPool(self._dial, body_bytes_max=MANIFEST_BYTES_MAX, idle_max=0)
        try:
            response = await pool.request("GET", f"{self._base_path}/discover", headers)
        except OSError as error:
            raise TransportError(f"{self._authority} cannot be reached: {error}", reached=False) from None
        except ConnectionLost as lost:
            raise TransportError(f"{self._authority}: {lost}", reached=True) from None
        if response.status != 200:
            raise TransportError(
                f"{self._authority} answered discovery with status {response.status}: is an endpoint mounted at "
                f"{self._base_path or '/'}?",
                reached=True,
                status=response.status,
            )
        content_type = response.header("content-type")
        if content_type not in MANIFEST_TYPES:
            raise TransportError(
                f"{self._authority} answered discovery with content-type {content_type!r}, expected one of "
                f"{MANIFEST_TYPES[0]} to v{len(MANIFEST_TYPES)}",
                reached=True,
                status=200,
            )
        return Discovery(response.body, response.header("x-restate-server") or "", "HTTP/1.1")

    async def aclose(self) -> None:
        """Close the connections that are kept."""
        await self._pool.drop_idle()

    async def _dial(self) -> trio.abc.HalfCloseableStream:
        return await self._world.dial(self._host, self._port)

    async def _acquire(self, *, fresh: bool = False) -> ClientConnection:
        try:
            return await self._pool.acquire(fresh=fresh)
        except OSError as error:
            raise TransportError(f"{self._authority} cannot be reached: {error}", reached=False) from None

    def _request_head(self, head: AttemptHead) -> bytes:
        content_type = content_type_of(head)
        headers = [
            *self._headers,
            ("content-type", content_type),
            ("accept", content_type),
            ("x-restate-invocation-id", head.invocation_id),
            ("transfer-encoding", "chunked"),
        ]
        if head.target.key is not None:
            headers.append(("x-restate-service-key", quote(head.target.key, safe="")))
        target = f"{self._base_path}/invoke/{quote(head.target.service)}/{quote(head.target.handler)}"
        return encode_request_head("POST", target, headers)

    async def _attempt(
        self, connection: ClientConnection, opening: bytes, outgoing: Outgoing, head: AttemptHead, peer: AttemptPeer
    ) -> None:
        """One exchange on *connection*.  Raises ConnectionLost and TransportError; closes what cannot be kept."""
        keep = False
        try:
            connection.start()
            await connection.send(opening)
            keep = await self._converse(connection, outgoing, head, peer)
        finally:
            if not keep:
                await connection.close()
        await self._pool.release(connection)

    async def _converse(
        self, connection: ClientConnection, outgoing: Outgoing, head: AttemptHead, peer: AttemptPeer
    ) -> bool:
        """Read the answer while the other half is written; whether the connection can be kept."""
        if not self._bidi:
            return await self._read(connection, head, peer)
        failure: ConnectionLost | TransportError | None = None
        keep = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outgoing.write, connection)
            try:
                keep = await self._read(connection, head, peer)
            except (ConnectionLost, TransportError) as error:
                failure = error
                nursery.cancel_scope.cancel()
            else:
                outgoing.close_send()
                nursery.cancel_scope.deadline = trio.current_time() + CLOSE_SECONDS
        if failure is not None:
            raise failure
        return keep and outgoing.ended

    async def _read(self, connection: ClientConnection, head: AttemptHead, peer: AttemptPeer) -> bool:
        response = await connection.event()
        assert isinstance(response, ResponseHead), "an answer starts with its head"
        self._judge(response, head)
        decoder = FrameDecoder(self._message_bytes_max)
        while (data := await connection.event()) is not None:
            assert isinstance(data, bytes), "a body follows the head"
            try:
                frames = decoder.feed(data)
            except FramingError as error:
                raise TransportError(f"{self._authority}: {error}", reached=True, status=response.status) from None
            if frames:
                peer.received(frames)
                await peer.room()
        if decoder.pending_bytes:
            raise TransportError(
                f"{self._authority} ended its answer in the middle of a message "
                f"({decoder.pending_bytes} bytes of it had come)",
                reached=True,
                status=response.status,
            )
        return response.keep_alive

    def _judge(self, response: ResponseHead, head: AttemptHead) -> None:
        """Raises TransportError unless *response* opens a stream of frames in the version asked for."""
        status = response.status
        if not 200 <= status < 300:
            raise TransportError(
                f"{self._authority} answered with status {status} instead of running "
                f"{head.target.service}/{head.target.handler}",
                reached=status not in NOT_REACHED,
                status=status,
                retry_after_ms=self._retry_after_ms(response) if status in (429, 503) else None,
            )
        content_type = response.header("content-type")
        if content_type != content_type_of(head):
            raise TransportError(
                f"{self._authority} answered with content-type {content_type!r}, expected {content_type_of(head)}",
                reached=True,
                status=status,
            )

    def _retry_after_ms(self, response: ResponseHead) -> int | None:
        value = response.header("retry-after")
        if value is None:
            return None
        value = value.strip()
        if value.isascii() and value.isdigit():
            return min(int(value[:12]), 10**9) * 1000
        due_ms = parse_http_date_ms(value)
        return None if due_ms is None else max(0, due_ms - self._world.now_ms())


class Outgoing:
    """Our half of a bidi exchange: the invoker's plain calls in front, a writing task behind."""

    def __init__(self, *, closed: bool) -> None:
        self.used = False
        self.ended = closed
        self._closed = closed
        self._parts: list[bytes] = []
        self._slot = Slot()

    def send(self, frames: Sequence[Frame]) -> None:
        """Queue *frames*; after our side has ended they are dropped: the endpoint can no longer use them."""
        if self._closed or not frames:
            return
        self.used = True
        self._parts.append(encode_frames(frames))
        self._slot.wake()

    def close_send(self) -> None:
        """End our side after what is queued."""
        if not self._closed:
            self.used = True
            self._closed = True
            self._slot.wake()

    async def write(self, connection: ClientConnection) -> None:
        """Write what is queued until our side ends.  A broken connection is the reader's to report."""
        try:
            while not self.ended:
                while not (self._parts or self._closed):
                    await self._slot.park()
                data = b"".join(self._parts)
                self._parts.clear()
                ending = self._closed
                await connection.send((encode_chunk(data) if data else b"") + (LAST_CHUNK if ending else b""))
                self.ended = ending
        except ConnectionLost:
            return


def content_type_of(head: AttemptHead) -> str:
    return f"application/vnd.restate.invocation.v{head.protocol_version}"
