"""The client's side of HTTP/2: connections shared by many exchanges, and a pool of them.

One task reads a connection, one writes it, one looks after its silence; the exchange's own task takes what came for it
when it wants to, and only then may the peer send as much again.  What is said is in `h2_wire.py`.

`reached` of a loss is False only when the peer has said, or cannot but mean, that it did not process the request.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from types import MappingProxyType
from typing import Any, Final

import attrs
import trio

from understudy_runtime.http import h2_events as codes
from understudy_runtime.http.h1_parse import Headers
from understudy_runtime.http.h2_events import BytePairs, Data, Ended, Head, Pong, Ready, Reset
from understudy_runtime.http.h2_scan import SETTINGS, GoAway
from understudy_runtime.http.h2_wire import Wire, WireError
from understudy_runtime.limits import Limits
from understudy_runtime.slot import Slot

READ_BYTES: Final = 64 * 1024
# So much of a peer's parting words is told.
WORDS_MAX: Final = 100
# How long the last frames of a connection may take to leave.
FAREWELL_SECONDS: Final = 1
GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError)

Dial = Callable[[], Awaitable[trio.abc.HalfCloseableStream]]


class ExchangeLost(Exception):
    """The exchange cannot go on.  `reached`: the peer may have acted upon the request.

    `wrong_version`: the peer speaks, but not HTTP/2.
    """

    def __init__(self, message: str, *, reached: bool, wrong_version: bool = False) -> None:
        super().__init__(message)
        self.reached = reached
        self.wrong_version = wrong_version


class Exchange:
    """One request and its answer.  One task reads it; `send` may be called from anywhere.  `close` it in the end."""

    __slots__ = ("_connection", "_ended", "_failure", "_head", "_inbox", "_slot", "stream")

    def __init__(self, connection: ClientConnection, stream: int) -> None:
        self.stream = stream
        self._connection = connection
        self._head: Headers | None = None
        self._inbox: deque[Data] = deque()
        self._ended = False
        self._failure: ExchangeLost | None = None
        self._slot = Slot()

    async def response(self) -> tuple[int, Headers]:
        """Status and headers of the answer.  Raises ExchangeLost."""
        while self._head is None:
            await self._wait()
        (_, status), *headers = self._head
        return int(status), tuple(headers)

    async def part(self) -> Data | None:
        """The next part of the answer's body, None at its end; `credit` its size later.  Raises ExchangeLost."""
        while not self._inbox:
            if self._ended:
                return None
            await self._wait()
        return self._inbox.popleft()

    async def _wait(self) -> None:
        if self._failure is not None:
            raise self._failure
        await self._slot.park()

    def credit(self, size: int) -> None:
        """Let the peer send *size* bytes more."""
        self._connection.credit(self.stream, size)

    def send(self, data: bytes, *, end: bool = False) -> None:
        """Queue *data* of the request's body; nothing happens once the exchange is over."""
        self._connection.send(self.stream, data, end=end)

    def close(self) -> None:
        """The owner wants no more: what is not over is reset."""
        for part in self._inbox:
            self.credit(part.size)
        self._inbox.clear()
        self._connection.release(self)

    # From the connection.

    def got_head(self, headers: Headers, ended: bool) -> None:
        self._head = headers
        self._ended = ended
        self._slot.wake()

    def got_part(self, part: Data) -> None:
        self._inbox.append(part)
        self._ended = part.ended
        self._slot.wake()

    def got_end(self) -> None:
        self._ended = True
        self._slot.wake()

    def fail(self, failure: ExchangeLost) -> None:
        """It is over before its end.  An answer that was whole stays so, and who has begun one was reached."""
        if not self._ended and self._failure is None:
            self._failure = failure if self._head is None else ExchangeLost(str(failure), reached=True)
            self._slot.wake()

    @property
    def has_ended(self) -> bool:
        """Whether the answer is whole."""
        return self._ended


class ClientConnection:
    """One connection.  `run` speaks until it is over; *ready* is called once the peer has shown that it speaks HTTP/2.

    `failure` says why it ended, once it has.
    """

    def __init__(self, stream: trio.abc.HalfCloseableStream, limits: Limits, ready: Callable[[], None]) -> None:
        self.failure: ExchangeLost | None = None
        self._stream = stream
        self._limits = limits
        self._tell_ready = ready
        self._wire = Wire(client=True, streams_max=limits.h2_streams_max)
        self._exchanges: dict[int, Exchange] = {}
        self._greeting: bytes | None = b""
        self._is_ready = False
        self._retiring = False
        self._finishing = False
        self._writer = Slot()
        self._tender = Slot()
        self._born_at = self._heard_at = self._idle_from = trio.current_time()
        self._pinged_at: float | None = None
        self._scope = trio.CancelScope()

    @property
    def has_room(self) -> bool:
        """Whether another exchange may be opened."""
        return self._is_ready and not self._retiring and not self._finishing and self._wire.room > 0

    @property
    def streams(self) -> int:
        """Exchanges under way."""
        return len(self._exchanges)

    def open(self, headers: BytePairs, data: bytes, *, end: bool) -> Exchange:
        """Begin an exchange; ask `has_room` before."""
        assert self.has_room, "a connection without room is not used"
        exchange = Exchange(self, self._wire.open(headers, data, end=end))
        self._exchanges[exchange.stream] = exchange
        self._writer.wake()
        return exchange

    def retire(self) -> None:
        """Open no more; end with the last exchange."""
        self._retiring = True
        if not self._exchanges:
            self._finish(ExchangeLost("the connection was closed", reached=False))

    # From its exchanges.

    def credit(self, stream: int, size: int) -> None:
        self._wire.credit(stream, size)
        if self._wire.has_output:
            self._writer.wake()

    def send(self, stream: int, data: bytes, *, end: bool) -> None:
        self._wire.send(stream, data, end=end)
        self._writer.wake()

    def release(self, exchange: Exchange) -> None:
        """The exchange's task is done with it."""
        stream = exchange.stream
        if self._exchanges.pop(stream, None) is None:
            return
        wire = self._wire
        if exchange.has_ended and not wire.queued(stream):
            wire.send(stream, b"", end=True)
        else:
            wire.reset(stream, codes.CANCEL)
        self._writer.wake()
        if not self._exchanges:
            self._idle_from = trio.current_time()
            if self._retiring:
                self.retire()

    # Tasks.

    async def run(self) -> None:
        """Speak until either side has enough, or the connection breaks; `failure` says what happened."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._tend)
                    await self._read()
        finally:
            self._end(ExchangeLost("the connection was given up", reached=True))
            await trio.aclose_forcefully(self._stream)

    async def _read(self) -> None:
        """Read and hand out, for ever; the writer ends the connection after the last word."""
        try:
            while not self._finishing:
                data = bytes(await self._stream.receive_some(READ_BYTES))
                if not data:
                    raise self._broken()
                now = self._heard_at = trio.current_time()
                if self._greeting is not None:
                    data = self._greeted(data)
                for event in self._wire.feed(data, now):
                    HANDLERS[type(event)](self, event)
                if self._wire.has_output:
                    self._writer.wake()
        except GONE as error:
            self._end(self._broken(error))
            self._scope.cancel()
        except ExchangeLost as lost:
            self._end(lost)
            self._scope.cancel()
        except WireError as error:
            self._finish(ExchangeLost(str(error), reached=True))

    async def _write(self) -> None:
        try:
            while not self._finishing:
                await self._write_all()
                await self._writer.park()
            # What is queued goes before the last word.
            await self._write_all()
            if not self._wire.closing:
                self._wire.goaway()
                await self._write_all()
        except GONE as error:
            self._end(self._broken(error))
        self._scope.cancel()

    async def _write_all(self) -> None:
        while data := self._wire.output():
            await self._stream.send_all(data)

    async def _tend(self) -> None:
        """Look after silence: the peer's settings, pings, idleness."""
        look_seconds = self._limits.h2_ping_interval_ms / 1000
        while not self._finishing:
            due = self._due()
            if trio.current_time() >= due:
                self._silent()
            else:
                await self._tender.park_until(min(due, trio.current_time() + look_seconds))
        await trio.sleep(FAREWELL_SECONDS)
        self._scope.cancel()

    def _due(self) -> float:
        """When silence has lasted too long, as of now."""
        limits = self._limits
        if not self._is_ready:
            return self._born_at + limits.connect_timeout_ms / 1000
        if self._pinged_at is not None:
            return self._pinged_at + limits.h2_ping_timeout_ms / 1000
        if self._exchanges:
            return self._heard_at + limits.h2_ping_interval_ms / 1000
        return self._idle_from + limits.h2_idle_timeout_ms / 1000

    def _silent(self) -> None:
        limits = self._limits
        if not self._is_ready:
            message = f"the peer did not begin HTTP/2 within {limits.connect_timeout_ms} ms"
            self._finish(ExchangeLost(message, reached=False))
        elif self._pinged_at is not None:
            self._finish(ExchangeLost(f"no answer to a ping within {limits.h2_ping_timeout_ms} ms", reached=True))
        elif self._exchanges:
            self._pinged_at = trio.current_time()
            self._wire.ping()
            self._writer.wake()
        else:
            self.retire()

    # Its end.

    def _finish(self, why: ExchangeLost) -> None:
        """Say goodbye, then end."""
        if not self._finishing:
            self._end(why)
            self._writer.wake()

    def _end(self, why: ExchangeLost) -> None:
        """All exchanges are over, and the connection is for nobody any more."""
        self._finishing = True
        self._tender.wake()
        if self.failure is None:
            self.failure = why
        exchanges, self._exchanges = self._exchanges, {}
        for exchange in exchanges.values():
            exchange.fail(why)

    def _broken(self, error: object = None) -> ExchangeLost:
        """The peer has closed the connection, in order or (with *error*) not."""
        if not self._is_ready:
            message = "the peer closed the connection before HTTP/2 began: does it speak HTTP/2?"
            return ExchangeLost(message, reached=False)
        how = "the peer closed the connection" if error is None else f"the connection broke: {error}"
        return ExchangeLost(how, reached=True)

    def _greeted(self, data: bytes) -> bytes:
        """The peer's first bytes must be its settings.  Raises ExchangeLost when they are something else."""
        assert self._greeting is not None, "greeted once"
        data = self._greeting + data
        if len(data) < 5:
            self._greeting = data
            return b""
        self._greeting = None
        if data.startswith(b"HTTP/"):
            raise ExchangeLost("the peer speaks HTTP/1.1 only", reached=False, wrong_version=True)
        if data[3] != SETTINGS:
            raise ExchangeLost("the peer does not speak HTTP/2", reached=False, wrong_version=True)
        return data

    # Events.

    def _on_head(self, event: Head) -> None:
        exchange = self._exchanges.get(event.stream)
        if exchange is not None:
            exchange.got_head(event.headers, event.ended)

    def _on_data(self, event: Data) -> None:
        exchange = self._exchanges.get(event.stream)
        if exchange is None:
            self._wire.credit(event.stream, event.size)
        else:
            exchange.got_part(event)

    def _on_ended(self, event: Ended) -> None:
        exchange = self._exchanges.get(event.stream)
        if exchange is not None:
            exchange.got_end()

    def _on_reset(self, event: Reset) -> None:
        exchange = self._exchanges.get(event.stream)
        if exchange is not None:
            reached = event.code not in (codes.REFUSED_STREAM, codes.HTTP_1_1_REQUIRED)
            message = f"the answer is malformed: {event.why}" if event.why else f"stream reset with code {event.code}"
            exchange.fail(ExchangeLost(message, reached=reached, wrong_version=event.code == codes.HTTP_1_1_REQUIRED))

    def _on_goaway(self, event: GoAway) -> None:
        """The peer takes no more: what it did not take goes elsewhere, the rest goes on."""
        self._retiring = True
        words = event.debug[:WORDS_MAX].decode("ascii", "replace")
        reason = f" (code {event.code}{': ' if words else ''}{words})" if event.code else ""
        for stream in [stream for stream in self._exchanges if stream > event.last_stream]:
            exchange = self._exchanges.pop(stream)
            self._wire.forget(stream)
            exchange.fail(ExchangeLost(f"the peer goes away{reason} and did not take the request", reached=False))
        if not self._exchanges:
            self.retire()

    def _on_pong(self, event: Pong) -> None:
        self._pinged_at = None

    def _on_ready(self, event: Ready) -> None:
        self._is_ready = True
        self._tell_ready()


HANDLERS: Final = MappingProxyType[type, Callable[[ClientConnection, Any], None]](
    {
        Head: ClientConnection._on_head,
        Data: ClientConnection._on_data,
        Ended: ClientConnection._on_ended,
        Reset: ClientConnection._on_reset,
        GoAway: ClientConnection._on_goaway,
        Pong: ClientConnection._on_pong,
        Ready: ClientConnection._on_ready,
    }
)


@attrs.define(eq=False)
class Dialing:
    """A connection that is being opened, for all who wait for it."""

    done: trio.Event = attrs.field(factory=trio.Event)
    failure: ExchangeLost | None = None
    connection: ClientConnection | None = None


class H2Pool:
    """Connections to one peer.  *dial* opens a stream and raises OSError.

    *spawn* starts a task that lives as long as the pool may; it raises ExchangeLost when that time is over.
    """

    def __init__(self, dial: Dial, limits: Limits, spawn: Callable[[Callable[[], Awaitable[None]]], None]) -> None:
        self._dial = dial
        self._limits = limits
        self._spawn = spawn
        self._connections: list[ClientConnection] = []
        self._dialing: Dialing | None = None

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    @property
    def streams(self) -> int:
        """Exchanges under way on all of them."""
        return sum(connection.streams for connection in self._connections)

    async def open(self, headers: BytePairs, data: bytes, *, end: bool) -> Exchange:
        """Begin an exchange where there is room, on a new connection if nowhere.  Raises ExchangeLost."""
        while True:
            for connection in self._connections:
                if connection.has_room:
                    return connection.open(headers, data, end=end)
            dialing = self._dialing
            if dialing is None:
                self._spawn(self._live)
                dialing = self._dialing = Dialing()
            await dialing.done.wait()
            if dialing.failure is not None:
                raise dialing.failure
            opened = dialing.connection
            assert opened is not None, "a dial fails or gives a connection"
            if opened.failure is not None:
                raise ExchangeLost(str(opened.failure), reached=False)
            if not opened.streams and not opened.has_room:
                raise ExchangeLost("the peer takes no requests on a new connection", reached=False)

    def retire(self) -> None:
        """Let every connection end with its last exchange."""
        for connection in tuple(self._connections):
            connection.retire()

    async def _live(self) -> None:
        """One connection's life, from the dial on."""
        failure = ExchangeLost("the server is stopping", reached=False)
        stream = None
        try:
            stream = await self._dial()
        except OSError as error:
            failure = ExchangeLost(f"cannot be reached: {error}", reached=False)
        finally:
            # Also when it is cancelled: nobody waits for a dial that has ended.
            if stream is None:
                self._dialed(failure)
        if stream is None:
            return
        connection = ClientConnection(stream, self._limits, lambda: self._is_up(connection))
        try:
            await connection.run()
        finally:
            if connection in self._connections:
                self._connections.remove(connection)
            else:
                self._dialed(connection.failure)

    def _is_up(self, connection: ClientConnection) -> None:
        if connection not in self._connections:
            self._connections.append(connection)
            self._dialed(None, connection)

    def _dialed(self, failure: ExchangeLost | None, connection: ClientConnection | None = None) -> None:
        dialing, self._dialing = self._dialing, None
        assert dialing is not None, "one connection is opened at a time"
        dialing.failure = failure
        dialing.connection = connection
        dialing.done.set()
