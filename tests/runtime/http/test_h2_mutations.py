"""Mutated HTTP/2 frames into both sides: refusals and resets only, nothing hangs, nothing is left.

The frames are those of real conversations (by the foreign library), changed in a few places: bits, lengths, kinds,
flags, streams; frames dropped, doubled, swapped, invented.  FRAMES counts what went in.
"""

from __future__ import annotations

from random import Random

import h2.config
import h2.connection
import pytest
import trio
import trio.testing
from understudy.protocol.framing import Frame, encode_frames
from understudy_runtime.http.asgi import AsgiServer
from understudy_runtime.http.exchange import Address, Words
from understudy_runtime.http.h2_client import H2Pool
from understudy_runtime.http.h2_events import Data, Head, Reset
from understudy_runtime.http.h2_scan import PREFACE
from understudy_runtime.http.h2_transport import H2Transport
from understudy_runtime.http.h2_wire import Wire, WireError
from understudy_runtime.http.server import HttpServer
from understudy_runtime.ingress.port import Request, Response
from understudy_runtime.invoker.port import TransportError
from understudy_runtime.limits import Limits

from tests.runtime.http.conftest import MemoryListener
from tests.runtime.http.ways import HEAD, START, V6, Net, Peer, echo

LIMITS = Limits(request_bytes_max=1000, message_bytes_max=1000, h2_requests_max=4)


def split(data: bytes) -> list[bytes]:
    """The frames in *data*."""
    frames = []
    while data:
        length = 9 + int.from_bytes(data[:3], "big")
        frames.append(data[:length])
        data = data[length:]
    return frames


def library(*, client: bool) -> h2.connection.H2Connection:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=client))
    connection.initiate_connection()
    return connection


def of_client() -> list[bytes]:
    """A client's frames: requests of every kind, a reset, pings, windows, settings, priorities, trailers, padding."""
    c = library(client=True)
    data = c.data_to_send()[len(PREFACE) :]
    head = [(":method", "POST"), (":path", "/a"), (":scheme", "http"), (":authority", "h"), ("cookie", "a=b")]
    c.send_headers(1, head, end_stream=False)
    c.send_data(1, b"x" * 50, pad_length=7)
    c.send_data(1, b"y" * 50, end_stream=True)
    c.send_headers(3, [(":method", "GET"), *head[1:]], end_stream=True, priority_weight=3, priority_depends_on=1)
    c.ping(b"12345678")
    c.increment_flow_control_window(1000)
    c.send_headers(5, [*head, ("x", "y" * 40)], end_stream=False)
    c.increment_flow_control_window(1000, 5)
    c.send_data(5, b"z")
    c.send_headers(5, [("trailer", "t")], end_stream=True)
    c.send_headers(7, head)
    c.reset_stream(7)
    c.update_settings({4: 70_000, 5: 20_000})
    c.send_headers(9, [*head, ("content-length", "5")])
    c.send_data(9, b"hello", end_stream=True)
    c.close_connection()
    frames = []
    for frame in split(data + c.data_to_send()):
        is_long_head = frame[3] == 1 and frame[5:9] == b"\0\0\0\5" and len(frame) > 40
        frames += continued(frame) if is_long_head else [frame]
    assert any(frame[3] == 9 for frame in frames), "a head in two frames is among them"
    return frames


def continued(frame: bytes) -> list[bytes]:
    """A HEADERS frame as HEADERS and CONTINUATION."""
    first, second = frame[9:29], frame[29:]
    flags = frame[4] & ~4
    head = len(first).to_bytes(3, "big") + bytes((1, flags)) + frame[5:9] + first
    return [head, len(second).to_bytes(3, "big") + b"\x09\x04" + frame[5:9] + second]


def of_server() -> list[bytes]:
    """A server's frames to a client that opened streams 1, 3 and 5."""
    s = library(client=False)
    c = library(client=True)
    head = [(":method", "POST"), (":path", "/a"), (":scheme", "http"), (":authority", "h")]
    for stream in (1, 3, 5):
        c.send_headers(stream, head)
    s.receive_data(c.data_to_send())
    s.send_headers(1, [(":status", "100")])
    s.send_headers(1, [(":status", "200"), ("content-type", V6)])
    s.send_data(1, encode_frames([Frame(1, b"abc"), Frame(0x401, b"x" * 100)]), pad_length=5)
    s.ping(b"12345678")
    s.send_headers(3, [(":status", "503"), ("retry-after", "7")], end_stream=True)
    s.increment_flow_control_window(1000, 1)
    s.send_data(1, encode_frames([Frame(3, b"")]))
    s.send_headers(1, [("trailer", "t")], end_stream=True)
    s.update_settings({3: 2, 4: 100})
    s.reset_stream(5, 2)
    s.close_connection()
    return split(s.data_to_send())


def mutate(frames: list[bytes], random: Random) -> list[bytes]:
    """*frames* with one to three changes."""
    frames = list(frames)
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(frames))
        frame = bytearray(frames[at])
        if len(frame) < 9:
            continue
        kind = random.randrange(9)
        if kind == 0:
            bit = random.randrange(len(frame) * 8)
            frame[bit // 8] ^= 1 << bit % 8
        elif kind == 1:
            frame[3] = random.randrange(12)
        elif kind == 2:
            frame[4] = random.randrange(256)
        elif kind == 3:
            frame[5:9] = random.choice([0, 1, 2, 3, 5, 7, 9, 11, 1 << 30, (1 << 32) - 1]).to_bytes(4, "big")
        elif kind == 4:
            frame[:3] = random.choice([0, 1, 4, 8, len(frame), 1 << 14, 70_000]).to_bytes(3, "big")
        elif kind == 5 and len(frames) > 1:
            del frames[at]
            continue
        elif kind == 6:
            frames.insert(random.randrange(len(frames)), frames[at])
            continue
        elif kind == 7:
            payload = random.randbytes(random.choice([0, 4, 5, 8, 20]))
            invented = len(payload).to_bytes(3, "big") + random.randbytes(2) + bytes((0, 0, 0, random.randrange(8)))
            frames.insert(at, invented + payload)
            continue
        else:
            frame = frame[: random.randrange(len(frame))]
        frames[at] = bytes(frame)
    return frames


def chunks(data: bytes, random: Random) -> list[bytes]:
    """*data* cut at any places."""
    pieces = []
    while data:
        length = random.choice([1, 5, 9, 30, 200, 70_000])
        pieces.append(data[:length])
        data = data[length:]
    return pieces


def feed(wire: Wire, data: bytes, random: Random) -> str | None:
    """Give *data* to *wire* as an owner would; the reason when it was refused."""
    open_streams: set[int] = set()
    for piece in chunks(data, random):
        try:
            events = wire.feed(piece, 0.0)
        except WireError as error:
            assert wire.closing
            assert wire.output(), "the peer is told why"
            return str(error)
        for event in events:
            if isinstance(event, Head):
                open_streams.add(event.stream)
            elif isinstance(event, Data):
                wire.credit(event.stream, event.size)
            elif isinstance(event, Reset):
                assert not wire.is_known(event.stream)
        wire.output()
        assert not wire.output()
    return None


@pytest.mark.parametrize("seed", range(4))
def test_the_servers_wire(seed):
    random = Random(seed)
    whole = of_client()
    assert feed(Wire(client=False, streams_max=4), PREFACE + b"".join(whole), random) is None
    count, refused = 0, 0
    while count < 8_000:
        frames = mutate(whole, random)
        count += len(frames)
        wire = Wire(client=False, streams_max=4)
        refused += feed(wire, PREFACE + b"".join(frames), random) is not None
        for stream in (*range(1, 11, 2), *wire._lanes):
            wire.respond(stream, [(b":status", b"200")])
            wire.send(stream, b"x" * 10, end=True)
            wire.reset(stream, 0)
        wire.output()
        assert wire.streams == 0
    assert refused > 100


@pytest.mark.parametrize("seed", range(4))
def test_the_clients_wire(seed):
    random = Random(seed)
    whole = of_server()
    count, refused = 0, 0
    for number in range(100_000):
        frames = mutate(whole, random) if number else whole
        count += len(frames)
        wire = Wire(client=True, streams_max=4)
        for _ in range(3):
            wire.open([(b":method", b"POST"), (b":path", b"/"), (b":scheme", b"http")], b"x" * 10, end=False)
        wire.output()
        why = feed(wire, b"".join(frames), random)
        assert number or why is None
        refused += why is not None
        for stream in (1, 3, 5):
            wire.send(stream, b"x", end=True)
            wire.reset(stream, 8)
        wire.output()
        assert wire.streams == 0
        if count >= 5_000:
            break
    assert refused > 100


def run(main) -> None:
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def pour(stream, data: bytes, random: Random) -> None:
    """Send *data*, read what comes, close."""
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            try:
                while await stream.receive_some(65536):
                    pass
            except trio.BrokenResourceError:
                pass

        nursery.start_soon(read)
        try:
            for piece in chunks(data, random):
                await stream.send_all(piece)
                if random.random() < 0.3:
                    await trio.testing.wait_all_tasks_blocked()
            await trio.testing.wait_all_tasks_blocked()
            await stream.send_eof()
        except trio.BrokenResourceError:
            pass
    await stream.aclose()


@pytest.mark.parametrize("kind", ["requests", "asgi"])
def test_the_servers(kind):
    random = Random(kind)
    whole = of_client()
    errors: list[Exception] = []
    handled = 0

    async def handler(request: Request) -> Response:
        nonlocal handled
        handled += 1
        await trio.lowlevel.checkpoint()
        return Response(200, (), request.body * 10)

    async def main() -> None:
        listener = MemoryListener()
        asgi = AsgiServer(echo, LIMITS, report=errors.append)
        server = asgi if kind == "asgi" else HttpServer(handler, LIMITS)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve, listener)
            count = 0
            while count < 5_000:
                frames = mutate(whole, random)
                count += len(frames)
                await pour(listener.connect(), PREFACE + b"".join(frames), random)
                await trio.testing.wait_all_tasks_blocked()
                assert server.connections == 0
            nursery.cancel_scope.cancel()

    run(main)
    assert handled > 100 or kind == "asgi"
    # The application insists on whole requests; nothing else may have gone wrong in it.
    assert {type(error) for error in errors} <= {AssertionError}


def test_the_client():
    random = Random(1)
    whole = of_server()
    ends: dict[str, int] = {}

    async def main() -> None:
        listener = MemoryListener()
        net = Net(listener)
        async with trio.open_nursery() as nursery:
            pool = H2Pool(lambda: net.dial("h", 1), LIMITS, nursery.start_soon)
            words = Words(Address("h", 1), (), None, net.now_ms)
            transport = H2Transport(pool, words, bidi=True, message_bytes_max=1000)

            async def attempt() -> None:
                try:
                    await transport.run(HEAD, START, Peer())
                    ends["well"] = ends.get("well", 0) + 1
                except TransportError as error:
                    ends[str(error)[:25]] = ends.get(str(error)[:25], 0) + 1

            count = 0
            while count < 5_000:
                frames = mutate(whole, random)
                count += len(frames)
                async with trio.open_nursery() as attempts:
                    for _ in range(3):
                        attempts.start_soon(attempt)
                    stream = await listener.accept()
                    # Nothing is asked before the peer has shown its settings.
                    await stream.send_all(frames[0])
                    await trio.testing.wait_all_tasks_blocked()
                    await pour(stream, b"".join(frames[1:]), random)
                    # Who found no room waits for another connection, and that one says nothing.
                    await trio.testing.wait_all_tasks_blocked()
                    while listener._take.statistics().current_buffer_used:
                        await (await listener.accept()).aclose()
                        await trio.testing.wait_all_tasks_blocked()
                await trio.sleep(2)
                assert (pool.connections, pool.streams) == (0, 0)
            nursery.cancel_scope.cancel()

    run(main)
    assert ends["well"] > 50
    assert len(ends) > 5
