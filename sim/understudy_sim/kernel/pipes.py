"""Both ends of a simulated connection: ordered, late, breakable.  A connection is two pipes, one for each
direction.

A `SimStream` carries bytes and is a `trio.abc.HalfCloseableStream`; a `SimExchange` carries Python objects
over the same pipes, so that latency, order, end, reset and loss mean the same.  What an end does after its
process died is void.

This module knows nothing of hosts, listeners or faults: a pipe asks its `Wire` when a chunk arrives and
whether it may.
"""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable
from typing import Any

import trio
from trio.lowlevel import Abort, current_task, wait_task_rescheduled

from understudy_sim.kernel.loop import Loop, ProcessRunner
from understudy_sim.kernel.wire import Control, Door, Tap, Wire

__all__ = ["Connection", "Control", "Door", "Pipe", "SimExchange", "SimStream", "Tap", "Wire"]

DEFAULT_RECEIVE_BYTES = 65_536


class Pipe:
    """One direction.  `owner` reads from it; `writer` is the process at the other end."""

    __slots__ = (
        "breaks_after",
        "buffer",
        "connection",
        "eof_sent",
        "held",
        "in_flight",
        "last_arrival_ns",
        "link",
        "loop",
        "number",
        "on_reset",
        "owner",
        "reader",
        "reader_closed",
        "reader_state",
        "sender",
        "size",
        "void",
        "window",
        "writer",
    )

    def __init__(
        self,
        connection: Connection,
        number: int,
        link: tuple[str, str],
        writer: ProcessRunner,
        owner: ProcessRunner,
        window: int,
    ) -> None:
        self.connection = connection
        self.loop: Loop = connection.loop
        self.number = number
        self.link = link
        self.writer = writer
        self.owner = owner
        self.window = window
        self.buffer: deque[Any] = deque()
        self.held: list[Any] = []
        self.size = 0  # Bytes (or items) sent and not yet read.
        self.in_flight = 0
        self.last_arrival_ns = 0
        self.breaks_after: int | None = None  # So many bytes (or items) arrive yet: then the connection breaks.
        self.void = False  # Half open: what is sent vanishes.
        self.eof_sent = False
        self.reader_state: Control | None = None  # Why nothing more will arrive.
        self.on_reset: Callable[[], object] | None = None
        self.reader_closed = False
        self.reader: Any = None
        self.sender: Any = None

    # Sending side

    def put(self, item: Any, size: int) -> None:
        """Send *item*; it arrives after everything sent before."""
        assert not isinstance(item, Control) or size == 0, "control has no size"
        wire = self.connection.wire
        wire.sends += 1
        if wire.on_send is not None and not self.writer.dead:
            wire.on_send(wire.sends)
        if wire.door is not None and not self.writer.dead and wire.door.keeps(self, item, size):
            return
        self.leave(item, size)

    def leave(self, item: Any, size: int) -> None:
        """*item* goes on its way, unless its sender is dead by now."""
        if self.writer.dead:
            return
        wire = self.connection.wire
        if self.void:
            self.connection.swallowed += 1
            return
        self.size += size
        self.in_flight += 1
        arrival_ns = self.loop.now_ns + wire.delay_ns(self, size)
        if arrival_ns < self.last_arrival_ns:
            arrival_ns = self.last_arrival_ns
        self.last_arrival_ns = arrival_ns
        self.loop.call_at(arrival_ns, self._arrive, item)
        if wire.tap is not None:
            wire.tap.sent(self, item)
        if wire.door is not None:
            wire.door.left(self, item)

    def _arrive(self, item: Any) -> None:
        assert self.in_flight > 0, "what arrives was sent"
        if self.void:
            self.in_flight -= 1
            self.connection.swallowed += 1
            return
        if self.held or self.connection.wire.holds(self):
            self.held.append(item)
            return
        self.in_flight -= 1
        if self.breaks_after is None:
            self._deliver(item)
        else:
            self._pass(item)

    def _pass(self, item: Any) -> None:
        """Deliver *item*, or what may still arrive of it before the connection breaks."""
        if self.breaks_after is None:
            self._deliver(item)
            return
        left = self.breaks_after
        size = len(item) if isinstance(item, bytes) else 0 if isinstance(item, Control) else 1
        if size <= left and not isinstance(item, Control):
            self.breaks_after = left - size
            self._deliver(item)
            return
        if isinstance(item, bytes) and left:
            self._deliver(item[:left])
        self.breaks_after = None
        self.connection.break_in_the_middle(self)

    def release(self) -> None:
        """The partition healed: what was held goes on its way again, in order."""
        held, self.held = self.held, []
        for item in held:
            self.loop.call_at(self.last_arrival_ns_after(), self._arrive, item)

    def release_at_once(self) -> None:
        """What was held arrives now, in order."""
        held, self.held = self.held, []
        for item in held:
            self.in_flight -= 1
            if self.void:
                self.connection.swallowed += 1
            else:
                self._pass(item)

    def last_arrival_ns_after(self) -> int:
        """The earliest arrival that keeps the order."""
        self.last_arrival_ns = max(self.last_arrival_ns, self.loop.now_ns + self.connection.wire.delay_ns(self, 0))
        return self.last_arrival_ns

    # Receiving side

    def _deliver(self, item: Any) -> None:
        self.connection.wire.delivered(self, item)
        if self.owner.dead:
            self.connection.reached_nobody(self)
            return
        if isinstance(item, Control):
            if not self.reader_closed:
                self.finish(item)
            return
        if self.reader_closed or self.reader_state is not None:
            if self.reader_closed:
                self.connection.refuse_data(self)
            return
        self.buffer.append(item)
        self._wake_reader()

    def finish(self, why: Control) -> None:
        """Nothing more arrives.  A reset also ends the way back, and the sender waiting there."""
        if self.reader_state is not None and not (why is Control.RESET and self.reader_state is Control.EOF):
            return
        self.reader_state = why
        if why is Control.RESET:
            if self.on_reset is not None:
                self.on_reset()
            back = self.connection.back(self)
            back.void = True
            back.wake_sender()
            self.connection.check_gone()
        self._wake_reader()

    def close_reading(self) -> None:
        """The reader went away; whoever waits there is woken."""
        self.reader_closed = True
        self._wake_reader()

    def take(self, size: int) -> None:
        """The reader took *size*: room for the sender."""
        self.size -= size
        assert self.size >= 0, "only what was sent is read"
        if self.sender is not None and self.size < self.window:
            self.wake_sender()

    def _wake_reader(self) -> None:
        if self.reader is not None:
            task, self.reader = self.reader, None
            task._runner.reschedule(task)

    def wake_sender(self) -> None:
        """Let the waiting sender look again."""
        if self.sender is not None:
            task, self.sender = self.sender, None
            task._runner.reschedule(task)

    async def wait_readable(self) -> None:
        """Park until something arrived, ended or closed."""
        if self.reader is not None:
            raise trio.BusyResourceError("another task is already receiving here")
        self.reader = current_task()

        def abort(_: object) -> Abort:
            self.reader = None
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)

    async def wait_room(self) -> None:
        """Park until the window has room or the connection broke."""
        self.sender = current_task()

        def abort(_: object) -> Abort:
            self.sender = None
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)

    @property
    def busy(self) -> bool:
        """Whether something sent has not been read."""
        return bool(self.buffer) or self.in_flight > 0


class Connection:
    """Two pipes between *client* and *server*.  `forward` is what the client sends."""

    def __init__(
        self,
        wire: Wire,
        loop: Loop,
        number: int,
        client: ProcessRunner,
        server: ProcessRunner,
        window: int,
        exchange: bool,
    ) -> None:
        self.wire = wire
        self.exchange = exchange  # Objects travel here, not bytes.
        self.host_up = True  # False: an end's host lost power.
        self.swallowed = 0  # What was sent into the void.
        self.broken_in_the_middle = 0
        self.loop = loop
        self.number = number
        names = (client.process.name, server.process.name)
        self.forward = Pipe(self, 2 * number, names, client, server, window)
        self.backward = Pipe(self, 2 * number + 1, names[::-1], server, client, window)
        self._gone = False

    @property
    def link(self) -> tuple[str, str]:
        """(client's host, server's host)."""
        return self.forward.link

    @property
    def busy(self) -> bool:
        """Whether anything is in flight or unread, either way: whether a fault now bites."""
        return self.forward.busy or self.backward.busy

    @property
    def finished(self) -> bool:
        """Whether neither end can learn anything more."""
        return self._gone

    def back(self, pipe: Pipe) -> Pipe:
        """The other direction."""
        return self.backward if pipe is self.forward else self.forward

    def reset(self) -> None:
        """Break it, now, at both ends.  What is unread is lost."""
        for pipe in (self.forward, self.backward):
            pipe.void = True
            pipe.buffer.clear()
            pipe.held.clear()
            pipe.finish(Control.RESET)
        self.check_gone()

    def break_in_the_middle(self, pipe: Pipe) -> None:
        """Break it now; the reader of *pipe* may still read what has arrived there."""
        self.broken_in_the_middle += 1
        arrived = list(pipe.buffer)
        self.reset()
        pipe.buffer.extend(arrived)

    def half_open(self) -> None:
        """Lose everything from now on, at both ends, without telling anybody before keep-alive notices."""
        self.forward.void = self.backward.void = True
        self.forward.held.clear()
        self.backward.held.clear()
        self._notice_later()

    def _notice_later(self) -> None:
        keepalive_ns = self.wire.keepalive_ns
        if keepalive_ns:
            self.loop.call_at(self.loop.now_ns + keepalive_ns, self._keepalive_failed)

    def _keepalive_failed(self, _: object) -> None:
        for pipe in (self.forward, self.backward):
            if not pipe.owner.dead:
                pipe.finish(Control.RESET)

    def process_died(self, runner: ProcessRunner, *, power: bool, silent: bool) -> None:
        """An end's process is gone; the other end learns of it after what was on the wire.

        A power cut resets, or with *silent* says nothing.  An exit closes what was open: the end of a stream,
        unless something was left unread; an exchange is reset, because its end is a message of its own.
        """
        incoming = self.forward if self.forward.owner is runner else self.backward
        outgoing = self.back(incoming)
        self.host_up = not power
        if outgoing.owner.dead or outgoing.void or incoming.reader_closed:
            pass  # Nobody is there, or it was closed before.
        elif silent:
            self._notice_later()
        elif power or self.exchange or incoming.buffer:
            self._last_word(outgoing, Control.RESET)
        elif not outgoing.eof_sent:
            self._last_word(outgoing, Control.EOF)
        incoming.reader = incoming.sender = outgoing.sender = None
        self.check_gone()

    def _last_word(self, pipe: Pipe, word: Control) -> None:
        """What the operating system sends for a process that no longer can."""
        arrival_ns = max(pipe.last_arrival_ns, self.loop.now_ns + self.wire.delay_ns(pipe, 0))
        pipe.in_flight += 1
        pipe.last_arrival_ns = arrival_ns
        self.loop.call_at(arrival_ns, pipe._arrive, word)

    def reached_nobody(self, pipe: Pipe) -> None:
        """Data arrived for a process that died.  If its host is up it answers with a reset."""
        back = self.back(pipe)
        host_up = self.host_up or pipe.owner.process.alive
        if host_up and not back.void and not pipe.writer.dead:
            at_ns = self.loop.now_ns + self.wire.delay_ns(back, 0)
            self.loop.call_at(at_ns, _finish_by_reset, back, pipe.writer)

    def refuse_data(self, pipe: Pipe) -> None:
        """Data arrived at an end that was closed: the sender gets a reset."""
        back = self.back(pipe)
        if not pipe.writer.dead:
            at_ns = self.loop.now_ns + self.wire.delay_ns(back, 0)
            self.loop.call_at(at_ns, _finish_by_reset, back, pipe.writer)

    def check_gone(self) -> None:
        """Tell the wire once when neither end can learn anything more."""
        if self._gone:
            return
        for pipe in (self.forward, self.backward):
            if not (pipe.owner.dead or pipe.reader_closed or pipe.reader_state is Control.RESET):
                return
        self._gone = True
        self.wire.gone(self)


def _finish_by_reset(pipe: Pipe) -> None:
    pipe.finish(Control.RESET)


class _End:
    """What stream and exchange ends share."""

    def __init__(self, connection: Connection, incoming: Pipe) -> None:
        self.connection = connection
        self._incoming = incoming
        self._outgoing = connection.back(incoming)
        self._closed = False

    @property
    def peer_host(self) -> str:
        """The process at the other end."""
        return self._incoming.link[0]

    def _broken(self) -> bool:
        return self._incoming.reader_state is Control.RESET

    def _check_send(self) -> None:
        if self._closed or self._outgoing.eof_sent:
            raise trio.ClosedResourceError("this side was closed for sending")
        if self._broken():
            raise trio.BrokenResourceError("the connection was reset")

    def _send_eof(self) -> None:
        if not self._outgoing.eof_sent:
            self._outgoing.eof_sent = True
            self._outgoing.put(Control.EOF, 0)

    def reset(self) -> None:
        """Abort: the peer sees a reset, and this end is closed."""
        if self._closed or self._incoming.owner.dead:
            return
        self._closed = True
        self._outgoing.eof_sent = True
        self._outgoing.put(Control.RESET, 0)
        self._incoming.close_reading()
        self._outgoing.wake_sender()
        self.connection.check_gone()

    def _close(self) -> None:
        if self._closed or self._incoming.owner.dead:
            return
        if self._incoming.buffer:
            self.reset()  # As a kernel does when what it received is never read.
            return
        self._closed = True
        self._send_eof()
        self._incoming.close_reading()
        self._outgoing.wake_sender()
        self.connection.check_gone()

    def close_send(self) -> None:
        """Say that nothing more will be sent.  Twice does nothing."""
        if not self._closed:
            self._send_eof()

    def close(self) -> None:
        """Close both ways.  Unread input makes the peer see a reset."""
        self._close()


class _SendingAlone:
    """Held by the one task that is sending."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = False

    def __enter__(self) -> None:
        if self._held:
            raise trio.BusyResourceError("another task is already sending here")
        self._held = True

    def __exit__(self, *_: object) -> None:
        self._held = False


class SimStream(_End, trio.abc.HalfCloseableStream):
    """One end of a simulated byte stream."""

    def __init__(self, connection: Connection, incoming: Pipe) -> None:
        super().__init__(connection, incoming)
        self._sending_alone = _SendingAlone()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send; waits while more than a window is unread.

        Raises Closed-, Broken- and BusyResourceError as sockets do.
        """
        with self._sending_alone:
            self._check_send()
            await trio.lowlevel.checkpoint()
            rest = bytes(data)
            pipe = self._outgoing
            while rest:
                self._check_send()
                room = pipe.window - pipe.size
                if room <= 0:
                    await pipe.wait_room()
                    continue
                now, rest = rest[:room], rest[room:]
                for chunk in self.connection.wire.split(pipe, now):
                    pipe.put(chunk, len(chunk))

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the window has room."""
        with self._sending_alone:
            self._check_send()
            await trio.lowlevel.checkpoint()
            while self._outgoing.size >= self._outgoing.window and not self._broken():
                await self._outgoing.wait_room()
                if self._closed:
                    raise trio.ClosedResourceError("this stream was closed while waiting")

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """At most *max_bytes*; b"" at the end.  Raises BrokenResourceError after a reset."""
        pipe = self._incoming
        limit = DEFAULT_RECEIVE_BYTES if max_bytes is None else operator.index(max_bytes)
        if limit < 1:
            raise ValueError(f"max_bytes is {max_bytes}, it must be at least 1")
        if self._closed:
            raise trio.ClosedResourceError("this stream was closed")
        if pipe.buffer or pipe.reader_state is not None:
            await trio.lowlevel.checkpoint()
        while not pipe.buffer:
            if self._closed:
                raise trio.ClosedResourceError("this stream was closed while receiving")
            if pipe.reader_state is Control.RESET:
                raise trio.BrokenResourceError("the connection was reset")
            if pipe.reader_state is Control.EOF:
                return b""
            await pipe.wait_readable()
        if self._closed:
            raise trio.ClosedResourceError("this stream was closed while receiving")
        chunk: bytes = pipe.buffer.popleft()
        if len(chunk) > limit:
            pipe.buffer.appendleft(chunk[limit:])
            chunk = chunk[:limit]
        pipe.take(len(chunk))
        return chunk

    async def send_eof(self) -> None:
        """Say that nothing more will be sent.  Twice does nothing."""
        with self._sending_alone:
            if self._closed:
                raise trio.ClosedResourceError("this stream was closed")
            await trio.lowlevel.checkpoint()
            self._send_eof()

    async def aclose(self) -> None:
        """Close both ways.  Unread input makes the peer see a reset."""
        self._close()
        await trio.lowlevel.checkpoint()


class SimExchange(_End):
    """One end of an exchange of Python objects:

    the same link without bytes.  Items must be treated as frozen.
    """

    def on_reset(self, told: Callable[[], object]) -> None:
        """Let *told* be called when the peer resets the exchange, or its process dies, also when nobody receives."""
        self._incoming.on_reset = told

    def send(self, item: object) -> None:
        """Send *item*; never waits.  Raises Closed- or BrokenResourceError."""
        self._check_send()
        self._outgoing.put(item, 1)

    async def receive(self) -> Any:
        """The next item.  Raises trio.EndOfChannel at the end, BrokenResourceError after a reset.

        Returns without a checkpoint when an item is there.
        """
        pipe = self._incoming
        while not pipe.buffer:
            if self._closed:
                raise trio.ClosedResourceError("this exchange was closed")
            if pipe.reader_state is Control.RESET:
                raise trio.BrokenResourceError("the exchange was reset")
            if pipe.reader_state is Control.EOF:
                raise trio.EndOfChannel
            await pipe.wait_readable()
        if self._closed:
            raise trio.ClosedResourceError("this exchange was closed")
        item = pipe.buffer.popleft()
        pipe.take(1)
        return item
