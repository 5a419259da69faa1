"""One HTTP/2 connection on the server's side: reads, hands out, writes, looks after what stands still, drains.

Not a handler: `h2_requests.py` (whole requests) and `h2_asgi.py` (streams) say what is done with a stream.  What is
said is in `h2_wire.py`; who accepts, counts and ends connections is in `connections.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Final

import trio

from understudy_runtime.http import h2_events as codes
from understudy_runtime.http.connections import GONE, Connection, Phase
from understudy_runtime.http.h1_parse import Headers
from understudy_runtime.http.h2_events import Data, Ended, Head, Pong, Ready, Reset
from understudy_runtime.http.h2_scan import PREFACE, GoAway
from understudy_runtime.http.h2_wire import Wire, WireError
from understudy_runtime.limits import Limits
from understudy_runtime.slot import Slot

# How long the last frames of a connection may take to leave.
FAREWELL_SECONDS: Final = 1


class StreamPhase(IntEnum):
    """Where a stream is: what it may wait for."""

    RECEIVING = 0
    HANDLING = 1
    SENDING = 2


class Inbound:
    """One stream of a client.  Subclasses take what comes in; the conversation notes what stands still."""

    def __init__(self, stream: int) -> None:
        self.stream = stream
        self.phase = StreamPhase.RECEIVING
        self.parts = 0
        self.seen_mark = (-1, 0)
        self.seen_at = 0.0

    def got_data(self, part: Data) -> None:
        """A part of the request's body."""
        raise NotImplementedError

    def got_end(self) -> None:
        """The request is whole."""
        raise NotImplementedError

    def gone(self) -> None:
        """The client has reset the stream, or has gone: nobody waits for the answer."""
        raise NotImplementedError


class H2Conversation:
    """One connection.  Subclasses make an Inbound of each request's head, and `leave` it in the end."""

    def __init__(self, connection: Connection, limits: Limits) -> None:
        self.wire = Wire(client=False, streams_max=limits.h2_requests_max)
        self._connection = connection
        self._header_seconds = limits.header_timeout_ms / 1000
        self._idle_seconds = limits.idle_timeout_ms / 1000
        self._look_seconds = min(self._header_seconds, self._idle_seconds) / 4
        self._streams: dict[int, Inbound] = {}
        self._sending: dict[int, Inbound] = {}
        self._head_from: float | None = None
        self._idle_from = trio.current_time()
        self._draining = False
        self._finishing = False
        self._writer = Slot()
        self._tender = Slot()
        self._scope = trio.CancelScope()
        self._nursery: trio.Nursery | None = None

    @property
    def streams(self) -> int:
        """Requests that are not answered whole."""
        return len(self._streams)

    def begin(self, head: Head) -> Inbound | None:
        """Make a stream of *head*; None when it is already dealt with."""
        raise NotImplementedError

    async def run(self, *, draining: bool) -> None:
        """Speak until either side has enough; returns when the last stream's task has ended, too.

        *draining*: the server stops already, and has nothing but a goodbye to say.
        """
        self._connection.enter(Phase.STREAMING)
        self._connection.drain = self.drain
        if draining:
            self.drain()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            with self._scope:
                async with trio.open_nursery() as pumps:
                    pumps.start_soon(self._write)
                    pumps.start_soon(self._tend)
                    await self._read()
            self._lose_all()

    def start(self, function: Callable[[Any], Any], argument: object) -> None:
        """Start a task of one stream."""
        assert self._nursery is not None, "streams come while the conversation runs"
        self._nursery.start_soon(function, argument)

    def drain(self) -> None:
        """Take no more, finish what is there, end."""
        if not self._draining:
            self._draining = True
            self.wire.goaway()
            self._writer.wake()
            if not self._streams:
                self._finish()

    def flush(self) -> None:
        """Something was said to the wire."""
        self._writer.wake()

    def sending(self, inbound: Inbound) -> None:
        """Its answer is whole and waits to leave."""
        inbound.phase = StreamPhase.SENDING
        self._sending[inbound.stream] = inbound
        self._writer.wake()

    def leave(self, inbound: Inbound) -> None:
        """Nothing more is to be done for it."""
        self._sending.pop(inbound.stream, None)
        if self._streams.pop(inbound.stream, None) is None:
            return
        if not self._streams:
            self._idle_from = trio.current_time()
            if self._draining:
                self._finish()

    # Tasks.

    async def _read(self) -> None:
        wire = self.wire
        try:
            while not self._finishing and (data := await self._connection.receive()):
                now = trio.current_time()
                for event in wire.feed(data, now):
                    HANDLERS[type(event)](self, event)
                self._note_head(now)
                if wire.has_output:
                    self._writer.wake()
        except (*GONE, WireError):
            # The same as an end: there is nobody left to tell, or the wire's last frame tells it.
            pass
        self._lose_all()
        self._finish()

    async def _write(self) -> None:
        wire = self.wire
        try:
            while True:
                data = wire.output()
                if data:
                    await self._connection.stream.send_all(data)
                    self._sent()
                elif self._finishing:
                    break
                else:
                    await self._writer.park()
        except GONE:
            # The reader finds the same, or is cut here: both mean that the client has gone.
            pass
        self._scope.cancel()

    def _sent(self) -> None:
        """Some bytes have left: see who has said all."""
        wire = self.wire
        for inbound in tuple(self._sending.values()):
            if wire.has_said_all(inbound.stream):
                # The rest of a request that is answered already is of no use.
                wire.reset(inbound.stream, codes.NO_ERROR)
                self.leave(inbound)
        self.has_sent()

    def has_sent(self) -> None:
        """Some bytes have left: for those who wait to say more."""

    async def _tend(self) -> None:
        """Look after what stands still."""
        while not self._finishing:
            now = trio.current_time()
            busy = self._streams or self._head_from is not None
            due = now + self._look_seconds if busy else self._idle_from + self._idle_seconds
            if not busy and now >= due:
                self.drain()
                break
            await self._tender.park_until(due)
            self._look(trio.current_time())
        await trio.sleep(FAREWELL_SECONDS)
        self._scope.cancel()

    def _look(self, now: float) -> None:
        if self._head_from is not None and now - self._head_from >= self._header_seconds:
            self.wire.goaway(codes.ENHANCE_YOUR_CALM, b"a head took too long to arrive")
            self._lose_all()
            self._finish()
            return
        for inbound in tuple(self._streams.values()):
            mark = (inbound.parts, self.wire.queued(inbound.stream))
            if inbound.phase is StreamPhase.HANDLING or mark != inbound.seen_mark:
                inbound.seen_mark = mark
                inbound.seen_at = now
            elif now - inbound.seen_at >= self._idle_seconds:
                self.wire.reset(inbound.stream, codes.CANCEL)
                self._lose(inbound)
                self._writer.wake()

    def _note_head(self, now: float) -> None:
        if not self.wire.in_head:
            self._head_from = None
        elif self._head_from is None:
            self._head_from = now
        if self._streams or self._head_from is not None:
            self._tender.wake_before(now + self._look_seconds)

    # Ends.

    def _finish(self) -> None:
        """Write what is left, then end."""
        self._finishing = True
        self._tender.wake()
        self._writer.wake()

    def _lose(self, inbound: Inbound) -> None:
        inbound.gone()
        self.leave(inbound)

    def _lose_all(self) -> None:
        for inbound in tuple(self._streams.values()):
            self._lose(inbound)

    # Events.

    def _on_head(self, event: Head) -> None:
        inbound = self.begin(event)
        if inbound is not None:
            self._streams[event.stream] = inbound
            if event.ended:
                inbound.got_end()

    def _on_data(self, event: Data) -> None:
        inbound = self._streams.get(event.stream)
        if inbound is None:
            self.wire.credit(event.stream, event.size)
            return
        inbound.parts += 1
        inbound.got_data(event)
        if event.ended:
            inbound.got_end()

    def _on_ended(self, event: Ended) -> None:
        inbound = self._streams.get(event.stream)
        if inbound is not None:
            inbound.got_end()

    def _on_reset(self, event: Reset) -> None:
        inbound = self._streams.get(event.stream)
        if inbound is not None:
            self._lose(inbound)

    def _on_goaway(self, event: GoAway) -> None:
        """The client opens no more: end with its last answer."""
        self.drain()

    def _on_other(self, event: Pong | Ready) -> None:
        """Settings take effect in the wire; we send no pings."""


HANDLERS: Final = MappingProxyType[type, Callable[[H2Conversation, Any], None]](
    {
        Head: H2Conversation._on_head,
        Data: H2Conversation._on_data,
        Ended: H2Conversation._on_ended,
        Reset: H2Conversation._on_reset,
        GoAway: H2Conversation._on_goaway,
        Pong: H2Conversation._on_other,
        Ready: H2Conversation._on_other,
    }
)


async def speaks_h2(connection: Connection) -> bool:
    """Whether the client begins HTTP/2 with prior knowledge.  What was read is read again."""
    data = b""
    while True:
        more = await connection.receive()
        data += more
        if not more or data[: len(PREFACE)] != PREFACE[: len(data)]:
            connection.ahead = data
            return False
        if len(data) >= len(PREFACE):
            connection.ahead = data
            return True
        connection.enter(Phase.HEAD)


def parts_of_head(headers: Headers) -> tuple[str, str, Headers]:
    """Method, path and the other headers, with the authority as `host` when that is not there itself."""
    method = path = authority = ""
    others = []
    has_host = False
    for name, value in headers:
        if name[:1] != ":":
            others.append((name, value))
            has_host = has_host or name == "host"
        elif name == ":method":
            method = value
        elif name == ":path":
            path = value
        elif name == ":authority":
            authority = value
    if authority and not has_host:
        others.insert(0, ("host", authority))
    return method, path, tuple(others)
