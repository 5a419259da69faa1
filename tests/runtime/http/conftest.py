"""Fakes for the HTTP loops: a listener over memory streams, and a client's end of one connection."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from understudy_runtime.limits import Limits


class MemoryListener:
    """The Listener port over memory streams: `connect` gives the client's end."""

    port = 1

    def __init__(self) -> None:
        self._give, self._take = trio.open_memory_channel[trio.abc.HalfCloseableStream](64)

    def connect(self) -> trio.StapledStream:
        ours, theirs = trio.testing.memory_stream_pair()
        self._give.send_nowait(theirs)
        return ours

    async def accept(self) -> trio.abc.HalfCloseableStream:
        return await self._take.receive()

    async def aclose(self) -> None:
        self._take.close()


class Dialogue:
    """A client's end of a connection: raw bytes out, raw bytes in."""

    def __init__(self, stream: trio.StapledStream) -> None:
        self.stream = stream

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def read_until(self, ending: bytes) -> bytes:
        """Bytes up to and with *ending*; fails when the peer closes before."""
        got = b""
        while not got.endswith(ending):
            data = await self.stream.receive_some(65536)
            assert data, f"the peer closed after {got!r}"
            got += bytes(data)
        return got

    async def read_to_end(self) -> bytes:
        """Everything until the peer closes."""
        got = b""
        while data := await self.stream.receive_some(65536):
            got += bytes(data)
        return got


@pytest.fixture
def listener() -> MemoryListener:
    return MemoryListener()


@pytest.fixture
def limits() -> Limits:
    return Limits(request_bytes_max=1000, message_bytes_max=1000)


@pytest.fixture
def dialogue(listener: MemoryListener) -> Dialogue:
    return Dialogue(listener.connect())
