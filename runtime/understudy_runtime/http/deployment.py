"""`HttpTransport`: the way to an endpoint behind HTTP/1.1, as the invoker's `Transport`.

Two modes, both chunked in both directions: *bidi* keeps the request's body open and writes while it reads (our own
endpoints do that over HTTP/1.1), *request/response* sends everything at once and reads what comes back.

The endpoint's head is judged before any frame is believed; every failure says whether the endpoint can have run
something.  A cancel from outside closes the connection under the exchange.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio
from understudy.protocol.framing import Frame, encode_frames

from understudy_runtime.http.exchange import DISCOVERY_SECONDS, MANIFEST_BYTES_MAX, Address, Answer, Words
from understudy_runtime.http.h1_client import ClientConnection, ClientPool, ConnectionLost
from understudy_runtime.http.h1_parse import ResponseHead
from understudy_runtime.http.h1_write import LAST_CHUNK, encode_chunk, encode_request_head
from understudy_runtime.invoker.port import AttemptHead, AttemptPeer, Discovery, Sign, TransportError
from understudy_runtime.slot import Slot
from understudy_runtime.world import World

# A request is sent once, so a kept connection must not turn out to be closed: usual servers close idle ones after 5 s.
KEPT_SECONDS: Final = 3
# The SDK has ended its side: how long the rest of ours may take to leave.
CLOSE_SECONDS: Final = 5


class HttpTransport:
    """One deployment at *host*:*port*, mounted under *base_path* (empty, or `/…` without a last slash).

    *sign* gives the headers that prove who asks; they and *additional_headers* go with every request.
    """

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
        connect_timeout_ms: int = 10_000,
        sign: Sign | None = None,
    ) -> None:
        assert base_path == "" or (base_path[0] == "/" and base_path[-1] != "/"), "a base path is /like/this"
        self._words = Words(Address(host, port, base_path), tuple(additional_headers), sign, world.now_ms)
        self._world = world
        self._bidi = bidi
        self._message_bytes_max = message_bytes_max
        self._connect_timeout_ms = connect_timeout_ms
        self._pool = ClientPool(self._dial, idle_seconds_max=KEPT_SECONDS)

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
            # Nobody knows: an endpoint may act upon a request before it has all of it, and a process that stops closes
            # in order what it was working on.  So it is never sent a second time here.
            raise self._words.lost(lost) from None

    async def discover(self) -> Discovery:
        """The endpoint's manifest; see `Transport.discover`."""
        words = self._words
        headers = (("host", words.authority), *words.discover_headers())
        pool = ClientPool(self._dial, body_bytes_max=MANIFEST_BYTES_MAX, idle_max=0)
        try:
            with trio.fail_after(DISCOVERY_SECONDS):
                response = await pool.request("GET", words.discover_path(), headers)
        except OSError as error:
            raise words.unreachable(error) from None
        except ConnectionLost as lost:
            raise words.lost(lost) from None
        except trio.TooSlowError:
            raise words.lost(f"no answer to discovery within {DISCOVERY_SECONDS} s") from None
        return words.judge_discovery(response.status, response.headers, response.body, "HTTP/1.1")

    async def aclose(self) -> None:
        """Close the connections that are kept."""
        await self._pool.drop_idle()

    async def _dial(self) -> trio.abc.HalfCloseableStream:
        return await dial(self._world, self._words.address, self._connect_timeout_ms)

    async def _acquire(self) -> ClientConnection:
        try:
            return await self._pool.acquire()
        except OSError as error:
            raise self._words.unreachable(error) from None

    def _request_head(self, head: AttemptHead) -> bytes:
        path = self._words.invoke_path(head)
        headers = self._words.invoke_headers(head, path)
        framing = (("host", self._words.authority), ("transfer-encoding", "chunked"))
        return encode_request_head("POST", path, (*framing, *headers))

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
        self._words.judge(response.status, response.headers, head)
        answer = Answer(self._words, response.status, peer, self._message_bytes_max)
        while (data := await connection.event()) is not None:
            assert isinstance(data, bytes), "a body follows the head"
            await answer.take(data)
        answer.end()
        return response.keep_alive


async def dial(world: World, address: Address, connect_timeout_ms: int) -> trio.abc.HalfCloseableStream:
    """A new stream to *address*.  Raises OSError, also when nothing happens for *connect_timeout_ms*."""
    with trio.move_on_after(connect_timeout_ms / 1000):
        return await world.dial(address.host, address.port)
    raise TimeoutError(f"no connection within {connect_timeout_ms} ms")


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
