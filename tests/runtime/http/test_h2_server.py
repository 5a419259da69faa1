"""The HTTP/2 half of the server for whole requests, spoken to by a foreign client."""

from __future__ import annotations

from contextlib import suppress

import h2.errors
import h2.events
import h2.settings
import pytest
import trio
import trio.testing
from understudy_runtime.http.h2_scan import PREFACE
from understudy_runtime.http.server import HttpServer
from understudy_runtime.ingress.port import Request, Response
from understudy_runtime.limits import Limits

from tests.runtime.http.foreign import ForeignClient


class App:
    """A handler that echoes, waits where it is told to, and counts."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.running = 0
        self.cancelled = 0
        self.release = trio.Event()

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        self.running += 1
        try:
            if request.target == "/wait":
                await self.release.wait()
            if request.target.startswith("/long"):
                return Response(200, (), b"x" * int(request.target[5:]))
        except trio.Cancelled:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        return Response(200, (("X-Method", request.method),), request.body)


@pytest.fixture
def app():
    return App()


@pytest.fixture
def server(app, listener, limits, nursery):
    server = HttpServer(app, limits, now_ms=lambda: 1_795_335_126_316)
    nursery.start_soon(server.serve, listener)
    return server


@pytest.fixture
async def client(server, listener):
    client = ForeignClient(listener.connect())
    await client.start()
    return client


async def quiet(client: ForeignClient) -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_a_request_and_its_answer(client, app):
    stream = await client.request("POST", "/a%20b?q", b"body", [("x-a", "1"), ("cookie", "a=1"), ("cookie", "b=2")])
    status, headers, body = await client.answer(stream)
    assert (status, body, headers["x-method"]) == (200, b"body", "POST")
    assert headers["content-length"] == "4"
    assert headers["date"] == "Sun, 22 Nov 2026 08:12:06 GMT"
    request = app.requests[0]
    assert (request.method, request.target, request.body) == ("POST", "/a%20b?q", b"body")
    assert request.headers == (("host", "h"), ("x-a", "1"), ("cookie", "a=1; b=2"))


async def test_the_preface_may_come_byte_by_byte(server, listener):
    client = ForeignClient(listener.connect())
    client.h2.initiate_connection()
    for byte in client.h2.data_to_send():
        await client.stream.send_all(bytes((byte,)))
        await trio.testing.wait_all_tasks_blocked()
    assert (await client.answer(await client.request("GET", "/")))[0] == 200


@pytest.mark.parametrize("start", [b"P", b"PR", PREFACE[:-1] + b"X", b"PUT / HTTP/1.1\r\nhost: h\r\n\r\n", b""])
async def test_what_only_begins_like_the_preface_is_http_1(server, listener, start):
    stream = listener.connect()
    await stream.send_all(start or b"\r\n")
    await stream.send_eof()
    got = b""
    while data := await stream.receive_some(1000):
        got += bytes(data)
    assert got.startswith(b"HTTP/1.1 200" if start[:3] == b"PUT" else b"HTTP/1.1 400") or not got
    await trio.testing.wait_all_tasks_blocked()
    assert server.connections == 0


async def test_streams_are_handled_at_once_and_answered_as_they_end(client, app):
    slow = await client.request("GET", "/wait")
    fast = await client.request("GET", "/fast")
    assert (await client.answer(fast))[0] == 200
    assert app.running == 1
    app.release.set()
    assert (await client.answer(slow))[0] == 200


async def test_head_has_the_length_and_no_body(client):
    status, headers, body = await client.answer(await client.request("HEAD", "/long100"))
    assert (status, headers["content-length"], body) == (200, "100", b"")


async def test_a_reset_stream_cancels_its_handler_only(client, app, server):
    first = await client.request("GET", "/wait")
    second = await client.request("GET", "/wait")
    await quiet(client)
    client.h2.reset_stream(first)
    await client.flush()
    await quiet(client)
    assert (app.running, app.cancelled) == (1, 1)
    app.release.set()
    assert (await client.answer(second))[0] == 200


async def test_a_client_that_goes_cancels_all_its_handlers(client, app, server):
    for _ in range(3):
        await client.request("GET", "/wait")
    await quiet(client)
    await trio.aclose_forcefully(client.stream)
    await quiet(client)
    assert (app.running, app.cancelled, server.connections) == (0, 3, 0)


async def test_a_body_above_the_bound(client, app):
    announced = await client.request("POST", "/", None, [("content-length", "1001")], end=False)
    status, _, body = await client.answer(announced)
    assert (status, b"above 1000" in body) == (413, True)
    grown = await client.request("POST", "/", b"x" * 600, end=False)
    await client.send(grown, b"x" * 600)
    assert (await client.answer(grown))[0] == 413
    reset = await client.until(h2.events.StreamReset, grown)
    assert reset.error_code == h2.errors.ErrorCodes.NO_ERROR
    assert (await client.answer(await client.request("POST", "/", b"x" * 1000)))[0] == 200
    assert len(app.requests) == 1


async def test_bodies_collected_at_once_are_bounded(client, app):
    streams = [await client.request("POST", "/", b"x" * 900, end=False) for _ in range(3)]
    assert (await client.answer(streams[2]))[0] == 503
    for stream in streams[:2]:
        await client.send(stream, b"y" * 100, end=True)
        assert (await client.answer(stream))[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("x", "y" * 70_000)], 431),
        ([(f"x{n}", "y") for n in range(300)], 431),
        ([("expect", "a miracle")], 417),
    ],
)
async def test_heads_that_are_refused(client, headers, status):
    stream = await client.request("GET", "/", b"", headers)
    assert (await client.answer(stream))[0] == status
    assert (await client.answer(await client.request("GET", "/")))[0] == 200


async def test_connect_is_refused(client):
    stream = client.h2.get_next_available_stream_id()
    client.h2.send_headers(stream, [(":method", "CONNECT"), (":authority", "h")])
    await client.flush()
    assert (await client.answer(stream))[0] == 405


async def test_expect_100_continue(client, app):
    stream = await client.request("POST", "/", None, [("expect", "100-Continue")], end=False)
    await client.until(h2.events.InformationalResponseReceived, stream)
    await client.send(stream, b"body", end=True)
    assert (await client.answer(stream))[2] == b"body"


async def test_long_answers_wait_for_the_client_and_take_turns(client):
    client.credits = False
    long = await client.request("GET", "/long100000")
    while len(client.body(long)) < 65_535:
        await client.read()
    await quiet(client)
    # The connection's window is used up: nothing else gets through until some of it is given back.
    other = await client.request("GET", "/long10")
    client.h2.acknowledge_received_data(65_535, long)
    client.credits = True
    await client.flush()
    assert (await client.answer(other))[2] == b"x" * 10
    assert (await client.answer(long))[2] == b"x" * 100_000


async def test_trailers_end_a_request(client):
    stream = await client.request("POST", "/", b"abc", end=False)
    client.h2.send_headers(stream, [("x-trailer", "1")], end_stream=True)
    await client.flush()
    assert (await client.answer(stream))[2] == b"abc"


async def test_more_streams_than_allowed_are_refused_one_by_one(listener, nursery, app):
    server = HttpServer(app, Limits(h2_requests_max=2))
    nursery.start_soon(server.serve, listener)
    client = ForeignClient(listener.connect())
    await client.start()
    streams = [await client.request("GET", "/wait") for _ in range(4)]
    for stream in streams[2:]:
        reset = await client.until(h2.events.StreamReset, stream)
        assert reset.error_code == h2.errors.ErrorCodes.REFUSED_STREAM
    assert client.h2.remote_settings.max_concurrent_streams == 2
    app.release.set()
    for stream in streams[:2]:
        assert (await client.answer(stream))[0] == 200
    assert (await client.answer(await client.request("GET", "/")))[0] == 200


async def test_a_drain_says_so_and_finishes_what_runs(client, app, server):
    stream = await client.request("GET", "/wait")
    await quiet(client)
    server.drain()
    goaway = await client.until(h2.events.ConnectionTerminated)
    assert (goaway.last_stream_id, goaway.error_code) == (stream, h2.errors.ErrorCodes.NO_ERROR)
    assert server.connections == 1
    app.release.set()
    await quiet(client)
    raw = b""
    while data := await client.stream.receive_some(1000):
        raw += bytes(data)
    # The library has forgotten the connection at GOAWAY; the answer's frames come all the same.
    assert raw[3] == 1
    assert raw[5:9] == stream.to_bytes(4, "big")
    assert server.connections == 0


async def test_a_drain_ends_an_idle_connection(client, server):
    await client.answer(await client.request("GET", "/"))
    server.drain()
    await client.until(h2.events.ConnectionTerminated)
    await client.read_to_end()
    await quiet(client)
    assert server.connections == 0


@pytest.mark.parametrize("sent", [1, 10, len(PREFACE) - 1])
async def test_a_drain_in_the_middle_of_the_preface_ends_the_connection(listener, app, server, sent):
    client = ForeignClient(listener.connect())
    client.h2.initiate_connection()
    client.h2.send_headers(
        1, [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "h")], end_stream=True
    )
    opening = client.h2.data_to_send()
    await client.stream.send_all(opening[:sent])
    await quiet(client)
    server.drain()
    await client.stream.send_all(opening[sent:])
    goaway = await client.until(h2.events.ConnectionTerminated)
    assert goaway.last_stream_id == 0
    await client.read_to_end()
    await quiet(client)
    assert server.connections == 0
    assert not app.requests


async def test_requests_after_goaway_are_refused(client, app, server):
    running = await client.request("GET", "/wait")
    await quiet(client)
    server.drain()
    late = await client.request("GET", "/late")
    await quiet(client)
    app.release.set()
    raw = b""
    while data := await client.stream.receive_some(65536):
        raw += bytes(data)
    assert b"\x00\x00\x04\x03\x00" + late.to_bytes(4, "big") + b"\0\0\0\x07" in raw
    assert [request.target for request in app.requests] == ["/wait"]
    assert running == 1


# Time.


async def test_an_idle_connection_is_closed(autojump_clock, client, server):
    await client.answer(await client.request("GET", "/"))
    answered = trio.current_time()
    await client.until(h2.events.ConnectionTerminated)
    idle_seconds = Limits().idle_timeout_ms / 1000
    assert idle_seconds <= trio.current_time() - answered <= idle_seconds + 1
    await client.read_to_end()


async def test_a_request_that_stops_arriving_is_given_up_alone(autojump_clock, client, app, server):
    stuck = await client.request("POST", "/", b"some", end=False)
    running = await client.request("GET", "/wait")
    reset = await client.until(h2.events.StreamReset, stuck)
    assert reset.error_code == h2.errors.ErrorCodes.CANCEL
    assert trio.current_time() >= Limits().idle_timeout_ms / 1000
    app.release.set()
    assert (await client.answer(running))[0] == 200


async def test_an_answer_that_is_not_read_is_given_up(autojump_clock, client, server):
    client.credits = False
    stream = await client.request("GET", "/long100000")
    reset = await client.until(h2.events.StreamReset, stream)
    assert reset.error_code == h2.errors.ErrorCodes.CANCEL
    await client.read_to_end()
    await trio.testing.wait_all_tasks_blocked()
    assert server.connections == 0


async def test_a_head_that_does_not_end_closes_the_connection(autojump_clock, client, server):
    await client.answer(await client.request("GET", "/"))
    stream = client.h2.get_next_available_stream_id()
    await client.stream.send_all(b"\x00\x00\x01\x01\x00" + stream.to_bytes(4, "big") + b"\x82")
    goaway = await client.until(h2.events.ConnectionTerminated)
    assert goaway.error_code == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
    assert trio.current_time() <= 2 * Limits().header_timeout_ms / 1000
    await client.read_to_end()


async def test_a_preface_that_does_not_end(autojump_clock, server, listener):
    stream = listener.connect()
    await stream.send_all(PREFACE[:10])
    while await stream.receive_some(1000):
        pass
    assert trio.current_time() <= 2 * Limits().header_timeout_ms / 1000


# Floods.


async def test_floods_end_the_connection(client, server):
    frames = {
        "ping": b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + bytes(8),
        "settings": b"\x00\x00\x00\x04\x00\x00\x00\x00\x00",
        "priority": b"\x00\x00\x05\x02\x00\x00\x00\x00\x03" + bytes(5),
    }
    for frame in frames.values():
        await client.stream.send_all(frame * 400)
    goaway = await client.until(h2.events.ConnectionTerminated)
    assert goaway.error_code == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
    await client.read_to_end()
    await quiet(client)
    assert server.connections == 0


async def test_rapid_resets_end_the_connection(client, app, server):
    for _ in range(1100):
        stream = client.h2.get_next_available_stream_id()
        head = [(":method", "GET"), (":path", "/wait"), (":scheme", "http"), (":authority", "h")]
        client.h2.send_headers(stream, head, end_stream=True)
        client.h2.reset_stream(stream)
    await client.flush()
    goaway = await client.until(h2.events.ConnectionTerminated)
    assert goaway.error_code == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
    await client.read_to_end()
    await quiet(client)
    assert (app.running, server.connections) == (0, 0)


async def test_a_head_in_endless_pieces_ends_the_connection(client, server):
    await client.answer(await client.request("GET", "/"))
    stream = client.h2.get_next_available_stream_id().to_bytes(4, "big")
    with suppress(trio.BrokenResourceError):
        await client.stream.send_all(b"\x00\x00\x01\x01\x00" + stream + b"\x82")
        await client.stream.send_all((b"\x00\x00\x00\x09\x00" + stream) * 10_000)
    goaway = await client.until(h2.events.ConnectionTerminated)
    assert goaway.error_code != h2.errors.ErrorCodes.NO_ERROR
    await client.read_to_end()
    await quiet(client)
    assert server.connections == 0


async def test_a_head_that_unpacks_to_far_more_ends_the_connection(client, server):
    await client.answer(await client.request("GET", "/"))
    stream = client.h2.get_next_available_stream_id().to_bytes(4, "big")
    # One field of 4,000 bytes enters the table, and is named a thousand times.
    block = b"\x40\x01a\x7f" + b"\xa1\x1e" + b"x" * 4000 + b"\xbe" * 1000
    await client.stream.send_all(len(block).to_bytes(3, "big") + b"\x01\x05" + stream + block)
    goaway = await client.until(h2.events.ConnectionTerminated)
    assert goaway.error_code == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
    await client.read_to_end()


async def test_a_keep_alive_of_days_is_no_flood(autojump_clock, client, server, app):
    stream = await client.request("GET", "/wait")
    for _ in range(1200):
        client.h2.ping(b"12345678")
        await client.flush()
        await trio.sleep(60)
    app.release.set()
    assert (await client.answer(stream))[0] == 200


@pytest.mark.parametrize(
    "frame",
    [
        b"\x00\x00\x00\x00\x00\x00\x00\x00\x01",  # data on an idle stream
        b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00",  # a window of nothing
        b"\x00\x00\x05\x06\x00\x00\x00\x00\x00hello",  # a short ping
        b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",  # a frame of 16 MiB
        b"\x00\x00\x02\x01\x05\x00\x00\x00\x01\xff\xff",  # no such header
        b"\x00\x00\x01\x09\x04\x00\x00\x00\x01\x82",  # a continuation of nothing
        b"\x00\x00\x04\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00",  # a short goaway
    ],
)
async def test_nonsense_ends_the_connection_with_a_reason(client, server, frame):
    await client.stream.send_all(frame)
    goaway = await client.until(h2.events.ConnectionTerminated)
    assert goaway.error_code != h2.errors.ErrorCodes.NO_ERROR
    await client.read_to_end()
    await quiet(client)
    assert server.connections == 0


async def test_a_clients_goaway_lets_its_requests_finish(client, app, server):
    stream = await client.request("GET", "/wait")
    await client.stream.send_all(b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + bytes(8))
    await quiet(client)
    app.release.set()
    raw = b""
    while data := await client.stream.receive_some(1000):
        raw += bytes(data)
    assert b"\x01\x05" + stream.to_bytes(4, "big") in raw
    await quiet(client)
    assert server.connections == 0
