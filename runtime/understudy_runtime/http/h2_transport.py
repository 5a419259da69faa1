"""`H2Transport`: the way to an endpoint behind HTTP/2 with prior knowledge, as the invoker's `Transport`.

Full duplex when the endpoint is bidirectional: the request's body stays open while the answer is read, and ends when
the invoker closes its side.  One task per attempt, the attempt's own.  A cancel from outside resets the stream and
leaves the connection to the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio
from understudy.protocol.framing import Frame, encode_frames

from understudy_runtime.http.exchange import DISCOVERY_SECONDS, MANIFEST_BYTES_MAX, Answer, Pairs, Words
from understudy_runtime.http.h2_client import Exchange, ExchangeLost, H2Pool
from understudy_runtime.http.h2_events import BytePairs
from understudy_runtime.invoker.port import AttemptHead, AttemptPeer, Discovery, TransportError, WrongHttpVersion

HTTP_2 = "HTTP/2.0"


class H2Transport:
    """One deployment, reached through *pool*; *bidi*: both sides speak at once."""

    def __init__(self, pool: H2Pool, words: Words, *, bidi: bool, message_bytes_max: int) -> None:
        self._pool = pool
        self._words = words
        self._bidi = bidi
        self._message_bytes_max = message_bytes_max
        self._fixed = [(b":scheme", b"http"), (b":authority", words.authority.encode("ascii"))]

    async def run(self, head: AttemptHead, frames: Sequence[Frame], peer: AttemptPeer) -> None:
        """Run one attempt; see `Transport.run`."""
        words = self._words
        path = words.invoke_path(head)
        headers = self._headers(b"POST", path, words.invoke_headers(head, path))
        exchange = await self._open(headers, encode_frames(frames), end=not self._bidi)
        try:
            peer.opened(Outgoing(exchange, closed=not self._bidi))
            await self._read(exchange, head, peer)
        except ExchangeLost as lost:
            raise self._error(lost) from None
        finally:
            exchange.close()

    async def _read(self, exchange: Exchange, head: AttemptHead, peer: AttemptPeer) -> None:
        status, headers = await exchange.response()
        self._words.judge(status, headers, head)
        answer = Answer(self._words, status, peer, self._message_bytes_max)
        while (part := await exchange.part()) is not None:
            try:
                if part.data:
                    await answer.take(part.data)
            finally:
                exchange.credit(part.size)
        answer.end()

    async def discover(self) -> Discovery:
        """The endpoint's manifest; see `Transport.discover`."""
        try:
            with trio.fail_after(DISCOVERY_SECONDS):
                return await self._discover()
        except ExchangeLost as lost:
            raise self._error(lost) from None
        except trio.TooSlowError:
            raise self._words.lost(f"no answer to discovery within {DISCOVERY_SECONDS} s") from None

    async def _discover(self) -> Discovery:
        words = self._words
        exchange = await self._open(
            self._headers(b"GET", words.discover_path(), words.discover_headers()), b"", end=True
        )
        try:
            status, headers = await exchange.response()
            body = bytearray()
            while (part := await exchange.part()) is not None:
                body += part.data
                exchange.credit(part.size)
                if len(body) > MANIFEST_BYTES_MAX:
                    raise words.lost(f"the answer to discovery is above {MANIFEST_BYTES_MAX} bytes")
        finally:
            exchange.close()
        return words.judge_discovery(status, headers, bytes(body), HTTP_2)

    async def aclose(self) -> None:
        """Let the connections end; attempts under way go on."""
        self._pool.retire()

    async def _open(self, headers: BytePairs, data: bytes, *, end: bool) -> Exchange:
        try:
            return await self._pool.open(headers, data, end=end)
        except ExchangeLost as lost:
            raise self._error(lost) from None

    def _headers(self, method: bytes, path: str, headers: Sequence[tuple[str, str]] | Pairs) -> BytePairs:
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return [(b":method", method), (b":path", path.encode("ascii")), *self._fixed, *pairs]

    def _error(self, lost: ExchangeLost) -> TransportError:
        if lost.wrong_version:
            return WrongHttpVersion(f"{self._words.authority}: {lost}", reached=False)
        return self._words.lost(lost, reached=lost.reached)


class Outgoing:
    """Our half of an exchange, for the invoker's plain calls."""

    __slots__ = ("_closed", "_exchange")

    def __init__(self, exchange: Exchange, *, closed: bool) -> None:
        self._exchange = exchange
        self._closed = closed

    def send(self, frames: Sequence[Frame]) -> None:
        """Queue *frames*; after our side has ended they are dropped: the endpoint can no longer use them."""
        if frames and not self._closed:
            self._exchange.send(encode_frames(frames))

    def close_send(self) -> None:
        """End our side after what is queued."""
        if not self._closed:
            self._closed = True
            self._exchange.send(b"", end=True)
