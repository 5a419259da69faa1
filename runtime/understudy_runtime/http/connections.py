"""What every HTTP port does with its connections: accept, bound, time out, notice who has gone, drain.

Not a parser and not a handler: `HttpServer` (whole requests) and `AsgiServer` (streams) say what is spoken, in HTTP/1.1
(whose deadlines are here) or in HTTP/2 (`h2_server.py` has its own).

Rules:
- the hot path keeps no timer: it sets `phase` and counts `mark`; one sweeping task looks at all connections now and
  then and acts on those whose mark stood still for too long, and sleeps while all are idle;
- a request that is handled for longer than one sweep gets a watcher, which reads ahead: a client that goes away
  cancels its handler (and so its waiter), never the invocation;
- every table is walked in order of birth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import IntEnum
from types import MappingProxyType
from typing import Final

import trio

from understudy_runtime.http.h1_parse import Refusal
from understudy_runtime.http.h1_write import encode_response
from understudy_runtime.ingress.port import Response
from understudy_runtime.limits import Limits
from understudy_runtime.slot import Slot
from understudy_runtime.world import Listener

READ_BYTES: Final = 64 * 1024
LINGER_BYTES_MAX: Final = 64 * 1024 * 1024
LINGER_SECONDS: Final = 2
GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError)


class Phase(IntEnum):
    """Where a connection is: what it may wait for, and which deadline counts."""

    IDLE = 0
    HEAD = 1
    BODY = 2
    HANDLING = 3
    WRITING = 4
    STREAMING = 5


# The field of Limits that bounds how long a connection may stand still in a phase; None: no bound.
DEADLINES: Final = MappingProxyType[Phase, str | None](
    {
        Phase.IDLE: "idle_timeout_ms",
        Phase.HEAD: "header_timeout_ms",
        Phase.BODY: "idle_timeout_ms",
        Phase.HANDLING: None,
        Phase.WRITING: "idle_timeout_ms",
        Phase.STREAMING: None,
    }
)

UNSWEPT: Final = (Phase.IDLE, Phase.STREAMING)


class Connection:
    """One accepted stream and the sweeper's notes about it.  `ahead` is what a watcher read before its time."""

    __slots__ = (
        "ahead",
        "drain",
        "mark",
        "phase",
        "scope",
        "seen_at",
        "seen_mark",
        "stirred",
        "stream",
        "verdict",
        "watch_ended",
        "watch_scope",
    )

    def __init__(self, stream: trio.abc.HalfCloseableStream, stirred: Callable[[], object] = lambda: None) -> None:
        self.stream = stream
        self.stirred = stirred  # Told when a phase ends in which the sweeper may have gone to sleep.
        self.scope = trio.CancelScope()
        self.phase = Phase.IDLE
        self.mark = 1
        self.seen_mark = 0
        self.seen_at = 0.0
        self.verdict: Refusal | None = None
        self.ahead = b""
        self.drain: Callable[[], None] | None = None  # What a server that stops calls, instead of waiting for idleness.
        self.watch_scope: trio.CancelScope | None = None
        self.watch_ended: trio.Event | None = None

    def enter(self, phase: Phase) -> None:
        """Be in *phase* from now on; entering the phase it is in does not restart its deadline."""
        if phase is not self.phase:
            if self.phase in UNSWEPT:
                self.stirred()
            self.phase = phase
            self.mark += 1

    async def receive(self) -> bytes:
        """The next bytes, what a watcher read first; empty once the peer closed its side."""
        if self.ahead:
            data, self.ahead = self.ahead, b""
            return data
        return bytes(await self.stream.receive_some(READ_BYTES))

    async def unwatch(self) -> None:
        """Stop the watcher, if there is one, and wait until it reads no more."""
        if self.watch_scope is not None:
            assert self.watch_ended is not None, "a watcher tells when it ended"
            self.watch_scope.cancel()
            await self.watch_ended.wait()
            self.watch_scope = None


class ConnectionServer:
    """The part of a server that does not know what is spoken.  Subclasses write `converse`."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.draining = False
        self._connections: dict[int, Connection] = {}
        self._ordinal = 0
        self._nursery: trio.Nursery | None = None
        self._accept_scope = trio.CancelScope()
        self._sweeper = Slot()
        self._room: trio.Event | None = None
        self._seconds = {
            phase: (None if field is None else getattr(limits, field) / 1000) for phase, field in DEADLINES.items()
        }
        self._sweep_seconds = min(1.0, limits.header_timeout_ms / 4000, limits.idle_timeout_ms / 4000)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    async def serve(self, listener: Listener) -> None:
        """Serve *listener* until `drain`, then until the last request in flight is answered; closes *listener*."""
        assert self._nursery is None, "a server serves once"
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            async with trio.open_nursery() as sweeping:
                sweeping.start_soon(self._sweep)
                async with trio.open_nursery() as conversations:
                    try:
                        with self._accept_scope:
                            await self._accept(listener, conversations)
                    finally:
                        await listener.aclose()
                sweeping.cancel_scope.cancel()
            nursery.cancel_scope.cancel()

    def drain(self) -> None:
        """Accept no more, close what is idle, and end each other connection after the answer it owes."""
        self.draining = True
        self._accept_scope.cancel()
        for connection in tuple(self._connections.values()):
            if connection.drain is not None:
                connection.drain()
            elif connection.phase is Phase.IDLE:
                connection.scope.cancel()

    async def converse(self, connection: Connection) -> None:
        """Speak on *connection* until it is to be closed.  Stream errors that say the peer has gone may leave it."""
        raise NotImplementedError

    def refusal_response(self, refusal: Refusal) -> Response:
        """The answer to a request the loop itself refuses."""
        return Response(
            refusal.status,
            (("content-type", "text/plain; charset=utf-8"),),
            refusal.message.encode() + b"\n",
        )

    async def _accept(self, listener: Listener, conversations: trio.Nursery) -> None:
        while True:
            if len(self._connections) >= self.limits.connections_max:
                self._room = trio.Event()
                await self._room.wait()
            stream = await listener.accept()
            self._ordinal += 1
            connection = Connection(stream, self._stir_sweeper)
            self._connections[self._ordinal] = connection
            conversations.start_soon(self._attend, self._ordinal, connection)
            self._stir_sweeper()

    async def _attend(self, ordinal: int, connection: Connection) -> None:
        """One connection's life."""
        try:
            with connection.scope:
                await self.converse(connection)
            if connection.verdict is not None:
                await self.refuse(connection, connection.verdict)
        except GONE:
            # The peer has gone: there is nobody left to tell.  Its handler, if any, was cancelled by the watcher.
            pass
        finally:
            del self._connections[ordinal]
            if connection.watch_scope is not None:
                connection.watch_scope.cancel()
            if self._room is not None and not self._room.is_set():
                self._room.set()
            await trio.aclose_forcefully(connection.stream)

    async def refuse(self, connection: Connection, refusal: Refusal) -> None:
        """Answer *refusal* and close in a way that lets the peer read the answer: it may still be sending."""
        connection.enter(Phase.STREAMING)
        with trio.move_on_after(LINGER_SECONDS):
            answer = encode_response(self.refusal_response(refusal), head_only=False, close=True)
            await connection.stream.send_all(answer)
            await connection.stream.send_eof()
            left = LINGER_BYTES_MAX
            while left > 0 and (data := await connection.receive()):
                left -= len(data)

    # Sweeping.

    def _stir_sweeper(self) -> None:
        """Some connection has a deadline it had not when the sweeper went to sleep."""
        if self._sweeper.parked:
            self._sweeper.wake_before(trio.current_time() + self._sweep_seconds)

    async def _sweep(self) -> None:
        while True:
            look_at = self._next_look(trio.current_time())
            await self._sweeper.park_until(look_at)
            if trio.current_time() < look_at:
                await trio.sleep(self._sweep_seconds)
            now = trio.current_time()
            for connection in tuple(self._connections.values()):
                self._check(connection, now)

    def _next_look(self, now: float) -> float:
        """When to sweep next: soon while anything goes on, else when the first idle connection has been so too long."""
        look_at = math.inf
        idle_seconds = self._seconds[Phase.IDLE]
        assert idle_seconds is not None, "idleness is bounded"
        for connection in self._connections.values():
            if self._needs_sweep(connection):
                if connection.phase is not Phase.IDLE or connection.mark != connection.seen_mark:
                    return now + self._sweep_seconds
                look_at = min(look_at, connection.seen_at + idle_seconds)
        return look_at

    def _needs_sweep(self, connection: Connection) -> bool:
        if connection.scope.cancel_called:
            return False  # It is on its way out: to look at it until it has gone would keep others from their turn.
        return connection.watch_scope is None and connection.phase is not Phase.STREAMING

    def _check(self, connection: Connection, now: float) -> None:
        if connection.mark != connection.seen_mark:
            connection.seen_mark = connection.mark
            connection.seen_at = now
            return
        phase = connection.phase
        if phase is Phase.HANDLING:
            self._start_watch(connection)
            return
        limit = self._seconds[phase]
        if limit is not None and now >= connection.seen_at + limit:
            if phase is Phase.HEAD:
                connection.verdict = Refusal(408, "the request's head took too long to arrive")
            connection.scope.cancel()

    def _start_watch(self, connection: Connection) -> None:
        if connection.watch_scope is None and not connection.ahead:
            assert self._nursery is not None, "connections are swept while serving"
            connection.watch_scope = trio.CancelScope()
            connection.watch_ended = trio.Event()
            self._nursery.start_soon(self._watch, connection, connection.watch_scope, connection.watch_ended)

    async def _watch(self, connection: Connection, scope: trio.CancelScope, ended: trio.Event) -> None:
        """Read ahead while a request is handled.  End of stream means that nobody waits for the answer any more."""
        gone = True
        try:
            with scope:
                connection.ahead = bytes(await connection.stream.receive_some(READ_BYTES))
                gone = not connection.ahead
        except GONE:
            gone = True
        finally:
            ended.set()
        if gone and not scope.cancelled_caught:
            connection.scope.cancel()
        # Its connection has deadlines again.
        self._stir_sweeper()
