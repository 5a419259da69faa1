"""asyncio's transports over simulated streams: what `asyncio.open_connection`, anyio and httpx stand on.

Two trio tasks per connection carry its bytes, one each way; protocols are called in the loop's turn, as asyncio does.
"""

from __future__ import annotations

import asyncio
from asyncio import protocols
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import trio

from understudy_sim.kernel.nudge import Nudge
from understudy_sim.kernel.sockets import Address, SimSocket, SimSockets

if TYPE_CHECKING:
    from understudy_sim.kernel.aio_loop import SimAsyncioLoop
    from understudy_sim.kernel.pipes import SimStream

HIGH_WATER: Final = 64 * 1024
LOW_WATER: Final = 16 * 1024
_GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError)


class SimTransport(asyncio.Transport):
    """One end of a connection.  `begun` is done once the protocol knows of it."""

    def __init__(
        self, loop: SimAsyncioLoop, stream: SimStream, protocol: Any, sockets: SimSockets, *, peer: Address
    ) -> None:
        facts: Mapping[str, Any] = {
            "peername": peer,
            "sockname": (sockets.book.address(loop.process.name), 0),
            "socket": SimSocket.over(sockets, stream, peer),
        }
        super().__init__(dict(facts))
        self.begun = loop.create_future()
        self._loop = loop
        self._stream = stream
        self._protocol = protocol
        self._buffer = bytearray()
        self._written = Nudge()
        self._read = Nudge()
        self._reading = True
        self._eof = False
        self._closing = False
        self._lost = False
        self._writing_paused = False
        self._high, self._low = HIGH_WATER, LOW_WATER
        self._scope = trio.CancelScope()
        loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._protocol.connection_made(self)
        self._loop.run_trio_task(self._carry)
        if not self.begun.done():
            self.begun.set_result(None)

    async def _carry(self) -> None:
        error: BaseException | None = None
        with self._scope:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._carry_in)
                    await self._carry_out()
                    nursery.cancel_scope.cancel()
            except* _GONE:
                error = ConnectionResetError("the connection was reset")
        self._stream.close()
        self._lose(error)

    async def _carry_in(self) -> None:
        while True:
            while not self._reading:
                await self._read.taken()
            data = await self._stream.receive_some()
            if not data:
                self._loop.call_soon(self._end_received)
                return
            self._loop.call_soon(self._received, data)

    def _received(self, data: bytes) -> None:
        if not self._lost and not self._closing:
            if isinstance(self._protocol, asyncio.BufferedProtocol):
                protocols._feed_data_to_buffered_proto(self._protocol, data)  # type: ignore[attr-defined]
            else:
                self._protocol.data_received(data)

    def _end_received(self) -> None:
        if not self._lost and not self._protocol.eof_received():
            self.close()

    async def _carry_out(self) -> None:
        """Send what was written until the transport is closed and empty."""
        while True:
            while self._buffer:
                data = bytes(self._buffer[:LOW_WATER])
                await self._stream.send_all(data)
                del self._buffer[: len(data)]
                self._loop.call_soon(self._room)
            if self._closing:
                return
            if self._eof:
                self._stream.close_send()
            await self._written.taken()

    def _room(self) -> None:
        if self._writing_paused and len(self._buffer) <= self._low and not self._lost:
            self._writing_paused = False
            self._protocol.resume_writing()

    def _lose(self, error: BaseException | None) -> None:
        if not self._lost:
            self._lost = self._closing = True
            self._buffer.clear()
            self._loop.call_soon(self._protocol.connection_lost, error)

    # What asyncio asks of a transport

    def write(self, data: Any) -> None:
        """Send *data* soon."""
        if self._eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._lost or self._closing or not data:
            return
        self._buffer += data
        self._written.give()
        if len(self._buffer) > self._high and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()

    def write_eof(self) -> None:
        """Say that nothing more will be written."""
        if not self._closing:
            self._eof = True
            self._written.give()

    def can_write_eof(self) -> bool:
        """It can."""
        return True

    def close(self) -> None:
        """Close once what was written has gone."""
        if not self._closing:
            self._closing = True
            self._written.give()

    def abort(self) -> None:
        """Close now; what was not sent is lost."""
        self._closing = True
        self._buffer.clear()
        self._stream.reset()
        self._scope.cancel()

    def is_closing(self) -> bool:
        """Whether it is closed or being closed."""
        return self._closing

    def pause_reading(self) -> None:
        """Read nothing for now."""
        self._reading = False

    def resume_reading(self) -> None:
        """Read again."""
        if not self._reading:
            self._reading = True
            self._read.give()

    def is_reading(self) -> bool:
        """Whether it reads."""
        return self._reading and not self._closing

    def get_protocol(self) -> Any:
        """Who is told."""
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        """Tell somebody else from now on."""
        self._protocol = protocol

    def get_write_buffer_size(self) -> int:
        """Bytes written and not yet sent."""
        return len(self._buffer)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """(low, high)"""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When the writer is told to pause, and to go on."""
        self._high = high if high is not None else 4 * low if low is not None else HIGH_WATER
        self._low = low if low is not None else self._high // 4


class SimServer(asyncio.AbstractServer):
    """A listening port of an asyncio application."""

    def __init__(self, loop: SimAsyncioLoop, factory: Callable[[], Any], sockets: SimSockets, port: int) -> None:
        self._loop = loop
        self._factory = factory
        self._sockets = sockets
        self._listener = sockets.network.listen(loop.process, port)
        self._closed = loop.create_future()
        self.sockets = (SimSocket(sockets, 2, 0),)
        loop.run_trio_task(self._accept)

    async def _accept(self) -> None:
        while True:
            try:
                stream = await self._listener.accept()
            except trio.ClosedResourceError:
                return
            peer = (self._sockets.book.address(stream.peer_host), 0)
            SimTransport(self._loop, stream, self._factory(), self._sockets, peer=peer)

    def get_loop(self) -> Any:
        """The loop it belongs to."""
        return self._loop

    def is_serving(self) -> bool:
        """Whether it accepts."""
        return not self._listener.closed

    async def start_serving(self) -> None:
        """It does from the beginning."""

    async def serve_forever(self) -> None:
        """Until it is closed."""
        await asyncio.shield(self._closed)

    def close(self) -> None:
        """Accept no more."""
        self._listener.close()
        if not self._closed.done():
            self._closed.set_result(None)

    async def wait_closed(self) -> None:
        """Until it is closed."""
        await asyncio.shield(self._closed)
