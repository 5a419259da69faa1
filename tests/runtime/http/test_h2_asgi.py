"""The ASGI host over HTTP/2, spoken to by a foreign client: full duplex, windows, resets, drains."""

from __future__ import annotations

import h2.errors
import h2.events
import pytest
import trio
import trio.testing
from understudy_runtime.front import asgi_server
from understudy_runtime.http.h2_asgi import QUEUED_BYTES_MAX
from understudy_runtime.http.h2_wire import STREAM_WINDOW
from understudy_runtime.limits import Limits

from tests.runtime.http.foreign import ForeignClient
from tests.runtime.http.ways import answer, errors, read_body

__all__ = ["errors"]


@pytest.fixture
def host(listener, nursery, errors):
    def start(app):
        server = asgi_server(app, Limits(), report=errors.append)
        nursery.start_soon(server.serve, listener)
        return server

    return start


@pytest.fixture
async def client(listener):
    client = ForeignClient(listener.connect())
    await client.start()
    return client


def settled():
    return trio.testing.wait_all_tasks_blocked()


async def test_the_scope(host, client):
    seen = []

    async def app(scope, receive, send) -> None:
        seen.append(scope)
        await answer(send, 200, await read_body(receive), [(b"Connection", b"close"), (b"X-A", b"b")])

    host(app)
    stream = await client.request("PUT", "/a%20b?q=%20", b"body", [("x-h", "é")])
    status, headers, body = await client.answer(stream)
    assert (status, body) == (200, b"body")
    assert headers == {":status": "200", "x-a": "b", "content-length": "4"}
    scope = seen[0]
    assert (scope["http_version"], scope["method"], scope["scheme"]) == ("2", "PUT", "http")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a b", b"/a%20b", b"q=%20")
    assert scope["headers"] == [(b"host", b"h"), (b"x-h", "é".encode())]


async def test_the_answer_may_start_and_go_on_before_the_request_ends(host, client):
    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200})
        more = True
        while more:
            message = await receive()
            more = message["more_body"]
            await send({"type": "http.response.body", "body": message["body"].upper(), "more_body": more})

    host(app)
    stream = await client.request("POST", "/", None, end=False)
    await client.until(h2.events.ResponseReceived, stream)
    for part in (b"one", b"two"):
        await client.send(stream, part)
        while not client.body(stream).endswith(part.upper()):
            await client.read()
    await client.send(stream, b"", end=True)
    assert (await client.answer(stream))[2] == b"ONETWO"


async def test_streams_run_side_by_side(host, client):
    gate = trio.Event()

    async def app(scope, receive, send) -> None:
        if scope["path"] == "/wait":
            await gate.wait()
        await answer(send, 200, scope["path"].encode())

    server = host(app)
    slow = await client.request("GET", "/wait")
    assert (await client.answer(await client.request("GET", "/fast")))[2] == b"/fast"
    gate.set()
    assert (await client.answer(slow))[2] == b"/wait"
    assert server.connections == 1


async def test_what_the_application_does_not_read_is_not_sent(host, client):
    go = trio.Event()

    async def app(scope, receive, send) -> None:
        await receive()
        await go.wait()
        await answer(send, 200, b"%d" % len(await read_body(receive)))

    host(app)
    await client.until(h2.events.WindowUpdated)
    stream = await client.request("POST", "/", b"x", end=False)
    sent = 0
    while True:
        await settled()
        length = min(16_384, client.h2.local_flow_control_window(stream))
        if not length:
            break
        await client.send(stream, b"x" * length)
        sent += length
    assert sent + 1 == STREAM_WINDOW
    go.set()
    await client.until(h2.events.WindowUpdated, stream)
    await client.send(stream, b"", end=True)
    assert (await client.answer(stream))[2] == b"%d" % sent


async def test_what_the_client_does_not_read_stops_the_application(host, client):
    sent = 0

    async def app(scope, receive, send) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200})
        for _ in range(100):
            await send({"type": "http.response.body", "body": b"x" * 10_000, "more_body": True})
            sent += 10_000
        await send({"type": "http.response.body", "body": b""})

    host(app)
    client.credits = False
    stream = await client.request("GET", "/")
    while len(client.body(stream)) < 65_535:
        await client.read()
    await settled()
    assert sent <= 65_535 + QUEUED_BYTES_MAX
    client.h2.acknowledge_received_data(65_535, stream)
    client.credits = True
    await client.flush()
    assert len((await client.answer(stream))[2]) == 1_000_000


async def test_a_request_that_is_not_wanted_is_stopped(host, client):
    async def deaf(scope, receive, send) -> None:
        await answer(send, 413, b"no")

    host(deaf)
    stream = await client.request("POST", "/", b"x" * 1000, end=False)
    assert (await client.answer(stream))[0] == 413
    reset = await client.until(h2.events.StreamReset, stream)
    assert reset.error_code == h2.errors.ErrorCodes.NO_ERROR


async def test_requests_that_are_not_wanted_give_their_window_back(listener, nursery, errors):
    async def deaf(scope, receive, send) -> None:
        await answer(send, 200, b"")

    nursery.start_soon(asgi_server(deaf, Limits(h2_requests_max=1), report=errors.append).serve, listener)
    client = ForeignClient(listener.connect())
    await client.start()
    await client.until(h2.events.WindowUpdated)
    for _ in range(20):
        stream = await client.request("POST", "/", None, end=False)
        for _ in range(4):
            # All of it is on its way before the client hears that it was not wanted.
            client.h2.send_data(stream, b"x" * 10_000)
        await client.flush()
        await client.until(h2.events.StreamReset, stream)
    assert errors == []
    assert client.h2.outbound_flow_control_window > 60_000


@pytest.mark.parametrize("how", ["reset", "gone"])
async def test_disconnect_reaches_who_receives_and_who_sends(host, client, errors, how):
    told = []

    async def app(scope, receive, send) -> None:
        if scope["path"] == "/receive":
            await read_body(receive)
            told.append((await receive())["type"])
            await answer(send, 200, b"")
        else:
            await send({"type": "http.response.start", "status": 200})
            try:
                while True:
                    await send({"type": "http.response.body", "body": b"x" * 10_000, "more_body": True})
            except OSError:
                told.append("send")
                raise

    server = host(app)
    client.credits = False
    streams = [await client.request("GET", path) for path in ("/receive", "/send")]
    await settled()
    while len(client.body(streams[1])) < 65_535:
        await client.read()
    if how == "reset":
        for stream in streams:
            client.h2.reset_stream(stream)
        await client.flush()
    else:
        await trio.aclose_forcefully(client.stream)
    await settled()
    assert sorted(told) == ["http.disconnect", "send"]
    assert errors == []
    assert server.connections == (1 if how == "reset" else 0)


@pytest.mark.parametrize("started", [False, True])
async def test_an_application_that_fails(host, client, errors, started):
    async def app(scope, receive, send) -> None:
        if started:
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"abc", "more_body": True})
        raise RuntimeError("bug")

    host(app)
    stream = await client.request("GET", "/")
    if started:
        reset = await client.until(h2.events.StreamReset, stream)
        assert reset.error_code == h2.errors.ErrorCodes.INTERNAL_ERROR
    else:
        assert (await client.answer(stream))[0] == 500
    assert [str(error) for error in errors] == ["bug"]
    assert client.closed is False


async def test_an_application_that_returns_too_early_or_says_nonsense(host, client, errors):
    async def app(scope, receive, send) -> None:
        if scope["path"] == "/nonsense":
            await send({"type": "http.response.body", "body": b"x"})
        if scope["path"] == "/split":
            await answer(send, 200, b"", [(b"x-a", b"b\r\nset-cookie: c")])

    host(app)
    for path in ("/early", "/nonsense", "/split"):
        assert (await client.answer(await client.request("GET", path)))[0] == 500
    assert [type(error).__name__ for error in errors] == ["ApplicationError", "ApplicationError", "AssertionError"]


async def test_a_drain_lets_streams_finish(host, client):
    gate = trio.Event()

    async def app(scope, receive, send) -> None:
        await gate.wait()
        await answer(send, 200, b"late")

    server = host(app)
    stream = await client.request("GET", "/")
    await settled()
    server.drain()
    goaway = await client.until(h2.events.ConnectionTerminated)
    assert goaway.last_stream_id == stream
    gate.set()
    raw = b""
    while data := await client.stream.receive_some(65536):
        raw += bytes(data)
    assert b"late" in raw
    await settled()
    assert server.connections == 0


async def test_head_and_bodiless_statuses(host, client):
    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 204 if scope["path"] == "/204" else 200})
        await send({"type": "http.response.body", "body": b"body", "more_body": True})
        await send({"type": "http.response.body", "body": b"more"})

    host(app)
    for method, path in (("HEAD", "/"), ("GET", "/204")):
        assert (await client.answer(await client.request(method, path)))[2] == b""
    assert (await client.answer(await client.request("GET", "/")))[2] == b"bodymore"
