"""A tap on HTTP/2 connections: it passes the bytes on and counts connections and frames, and can fall silent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio
from understudy_runtime.real_world import RealNetwork

PREFACE_BYTES: Final = 24
HEAD_BYTES: Final = 9
PING: Final = 6
GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


class Tap:
    """Between a server and the endpoint at *target*.  `port` is where it listens once it runs."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.opened = 0
        self.closed = 0
        self.pings = 0
        self.silent = False
        self._target = target

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Pass on what comes, for ever."""
        network = RealNetwork()
        listener = await network.listen("127.0.0.1", 0)
        self.port = listener.port
        task_status.started()
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    nursery.start_soon(self._relay, await listener.accept())
        finally:
            with trio.CancelScope(shield=True):
                await listener.aclose()

    async def _relay(self, ours: trio.abc.HalfCloseableStream) -> None:
        self.opened += 1
        streams = [ours]
        try:
            theirs = await RealNetwork().dial("127.0.0.1", self._target)
            streams.append(theirs)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, ours, theirs, self._count())
                nursery.start_soon(self._pump, theirs, ours, lambda data: None)
        finally:
            with trio.CancelScope(shield=True):
                for stream in streams:
                    await trio.aclose_forcefully(stream)
        self.closed += 1

    async def _pump(
        self,
        source: trio.abc.HalfCloseableStream,
        sink: trio.abc.HalfCloseableStream,
        see: Callable[[bytes], None],
    ) -> None:
        try:
            while data := await source.receive_some(65536):
                see(bytes(data))
                if not self.silent:
                    await sink.send_all(data)
            await sink.send_eof()
        except GONE:
            await trio.aclose_forcefully(sink)

    def _count(self) -> Callable[[bytes], None]:
        """Counts the PING frames in a stream that starts with the preface."""
        buffer = bytearray()
        skip = PREFACE_BYTES

        def see(data: bytes) -> None:
            nonlocal skip
            buffer.extend(data)
            while len(buffer) >= skip + HEAD_BYTES:
                length = int.from_bytes(buffer[skip : skip + 3], "big")
                is_ack = buffer[skip + 4] & 1
                if buffer[skip + 3] == PING and not is_ack:
                    self.pings += 1
                skip += HEAD_BYTES + length

        return see
