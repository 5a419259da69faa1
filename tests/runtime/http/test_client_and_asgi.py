"""The client, the ASGI host and the transport to endpoints, over memory streams: both ends are ours."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from understudy.protocol.framing import Frame, encode_frames
from understudy_runtime.http.asgi import AsgiServer
from understudy_runtime.http.deployment import HttpTransport
from understudy_runtime.http.h1_client import ClientPool, ConnectionLost
from understudy_runtime.invoker.port import AttemptHead, TransportError
from understudy_runtime.limits import Limits
from understudy_runtime.model.invocation import Target

HOST = ("host", "h")
V6 = "application/vnd.restate.invocation.v6"
HEAD = AttemptHead("inv_1abc", Target("Counter", "add", "a/b é"), 6, "dp_1")
START = [Frame(0, b"start"), Frame(0x0400, b"input")]


class Net:
    """The network part of a World: every dial reaches *listener*."""

    def __init__(self, listener) -> None:
        self.listener = listener
        self.dials = 0
        self.refuse = False
        self.streams: list[trio.StapledStream] = []

    async def dial(self, host: str, port: int) -> trio.StapledStream:
        if self.refuse:
            raise OSError("nobody listens")
        self.dials += 1
        self.streams.append(self.listener.connect())
        return self.streams[-1]

    def now_ms(self) -> int:
        return 1_795_335_126_000


class Peer:
    """What the invoker gives a transport."""

    def __init__(self) -> None:
        self.stream = None
        self.frames: list[Frame] = []
        self.changed = trio.Event()

    def opened(self, stream) -> None:
        assert self.stream is None
        self.stream = stream

    def received(self, frames) -> None:
        assert self.stream is not None
        self.frames += frames
        self.changed.set()
        self.changed = trio.Event()

    async def room(self) -> None:
        pass

    async def until(self, count: int) -> None:
        while len(self.frames) < count:
            await self.changed.wait()


@pytest.fixture
def net(listener):
    return Net(listener)


@pytest.fixture
def errors():
    return []


@pytest.fixture
def host(listener, nursery, errors):
    """Start an ASGI application; gives the server."""

    def start(app) -> AsgiServer:
        server = AsgiServer(app, Limits(), report=errors.append)
        nursery.start_soon(server.serve, listener)
        return server

    return start


async def read_body(receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        assert message["type"] == "http.request"
        body += message["body"]
        if not message["more_body"]:
            return body


async def answer(send, status: int, body: bytes, headers=()) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


async def echo(scope, receive, send) -> None:
    body = await read_body(receive)
    await answer(send, 200, scope["method"].encode() + b" " + scope["raw_path"] + b" " + body)


async def test_a_connection_that_went_idle_after_a_long_answer_is_closed(autojump_clock, net, host):
    async def slow(scope, receive, send) -> None:
        await trio.sleep(30)
        await echo(scope, receive, send)

    host(slow)
    stream = await net.dial("h", 1)
    await stream.send_all(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (await stream.receive_some(1000)).startswith(b"HTTP/1.1 200 ")
    answered = trio.current_time()
    while await stream.receive_some(1000):
        pass
    idle_seconds = Limits().idle_timeout_ms / 1000
    assert idle_seconds <= trio.current_time() - answered < idle_seconds + 5


async def test_a_kept_connection_serves_many_requests(net, host):
    host(echo)
    pool = ClientPool(lambda: net.dial("h", 1))
    for number in range(3):
        response = await pool.request("POST", "/a%20b?q", [HOST], b"%d" % number)
        assert (response.status, response.body) == (200, b"POST /a%%20b %d" % number)
    assert (net.dials, pool.idle) == (1, 1)


async def test_a_kept_connection_that_was_closed_is_replaced(net, host):
    host(echo)
    pool = ClientPool(lambda: net.dial("h", 1))
    await pool.request("GET", "/", [HOST])
    net.streams[0].send_stream.close()
    net.streams[0].receive_stream.close()
    response = await pool.request("GET", "/", [HOST])
    assert (response.status, net.dials) == (200, 2)


async def test_a_fresh_connection_that_breaks_is_an_error(net, nursery):
    async def accept_and_close() -> None:
        await (await net.listener.accept()).aclose()

    nursery.start_soon(accept_and_close)
    with pytest.raises(ConnectionLost) as lost:
        await ClientPool(lambda: net.dial("h", 1)).request("GET", "/", [HOST])
    assert not lost.value.answered


async def test_head_is_answered_with_a_length_and_no_body(net, host):
    host(echo)
    pool = ClientPool(lambda: net.dial("h", 1))
    response = await pool.request("HEAD", "/", [HOST])
    assert (response.body, response.header("content-length")) == (b"", "7")
    assert (await pool.request("GET", "/", [HOST])).body == b"GET / "
    assert net.dials == 1


async def test_an_application_that_raises_is_a_500_and_is_told(net, host, errors):
    async def broken(scope, receive, send) -> None:
        raise RuntimeError("bug")

    host(broken)
    response = await ClientPool(lambda: net.dial("h", 1)).request("GET", "/", [HOST])
    assert response.status == 500
    assert [str(error) for error in errors] == ["bug"]


async def test_an_application_that_stops_in_the_middle_cuts_the_answer(net, host, errors):
    async def partial(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"abc", "more_body": True})

    host(partial)
    with pytest.raises(ConnectionLost) as lost:
        await ClientPool(lambda: net.dial("h", 1)).request("GET", "/", [HOST])
    assert lost.value.answered
    assert len(errors) == 1


async def test_an_unread_request_is_drained_and_the_connection_kept(net, host):
    async def deaf(scope, receive, send) -> None:
        await answer(send, 200, b"ok")

    host(deaf)
    pool = ClientPool(lambda: net.dial("h", 1))
    assert (await pool.request("POST", "/", [HOST], b"x" * 100_000)).body == b"ok"
    assert (await pool.request("POST", "/", [HOST], b"y")).body == b"ok"
    assert net.dials == 1


async def test_disconnect_reaches_a_waiting_application(net, host, listener):
    told = []

    async def waiter(scope, receive, send) -> None:
        await read_body(receive)
        told.append((await receive())["type"])

    host(waiter)
    stream = listener.connect()
    await stream.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    await trio.testing.wait_all_tasks_blocked()
    await stream.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert told == ["http.disconnect"]


class Endpoint:
    """An endpoint that answers each input frame with an echo, until its peer closes its side or it has had enough."""

    def __init__(self, *, frames_max: int = 100) -> None:
        self.requests: list[dict] = []
        self.frames_max = frames_max

    async def __call__(self, scope, receive, send) -> None:
        self.requests.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", V6.encode())]})
        seen = 0
        while seen < self.frames_max:
            message = await receive()
            assert message["type"] == "http.request"
            if message["body"]:
                seen += 1
                await send({"type": "http.response.body", "body": message["body"], "more_body": True})
            if not message["more_body"]:
                break
        await send({"type": "http.response.body", "body": encode_frames([Frame(3, b"")])})


async def test_a_bidi_attempt_talks_both_ways_and_keeps_its_connection(net, host):
    endpoint = Endpoint()
    host(endpoint)
    transport = HttpTransport(net, "h", 1)
    for _ in range(2):
        peer = Peer()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.run, HEAD, START, peer)
            await peer.until(2)
            peer.stream.send([Frame(0x8011, b"more")])
            await peer.until(3)
            peer.stream.close_send()
            peer.stream.close_send()
        assert peer.frames == [*START, Frame(0x8011, b"more"), Frame(3, b"")]
    assert net.dials == 1
    headers = dict(endpoint.requests[0]["headers"])
    assert endpoint.requests[0]["raw_path"] == b"/invoke/Counter/add"
    assert headers[b"content-type"] == headers[b"accept"] == V6.encode()
    assert headers[b"x-restate-invocation-id"] == b"inv_1abc"
    assert headers[b"x-restate-service-key"] == b"a%2Fb%20%C3%A9"


async def test_the_endpoint_may_end_first(net, host):
    host(Endpoint(frames_max=1))
    transport = HttpTransport(net, "h", 1)
    for _ in range(2):
        peer = Peer()
        await transport.run(HEAD, START, peer)
        assert peer.frames[-1] == Frame(3, b"")
    assert net.dials == 1


async def test_request_response_sends_all_and_reads_all(net, host):
    host(Endpoint())
    peer = Peer()
    await HttpTransport(net, "h", 1, bidi=False).run(HEAD, START, peer)
    assert peer.frames == [*START, Frame(3, b"")]
    peer.stream.send([Frame(1, b"late")])
    peer.stream.close_send()


async def test_a_cancelled_attempt_resets_the_exchange(net, host, errors):
    server = host(Endpoint())
    peer = Peer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(HttpTransport(net, "h", 1).run, HEAD, START, peer)
        await peer.until(2)
        nursery.cancel_scope.cancel()
    await trio.testing.wait_all_tasks_blocked()
    assert server.connections == 0


# Status and headers of the answer to reached, status and the retry delay of the error.
JUDGED = [
    (502, [], True, None),
    (504, [], True, None),
    (500, [], True, None),
    (404, [], False, None),
    (413, [], False, None),
    (415, [], False, None),
    (429, [(b"retry-after", b"7")], False, 7000),
    (503, [(b"retry-after", b"Sun, 22 Nov 2026 08:12:07 GMT")], False, 1000),
    (503, [(b"retry-after", b"Sun, 22 Nov 2020 08:12:07 GMT")], False, 0),
    (503, [(b"retry-after", b"soon")], False, None),
    (500, [(b"retry-after", b"7")], True, None),
    (200, [(b"content-type", b"text/html")], True, None),
    (200, [(b"content-type", V6.encode() + b"; charset=utf-8")], True, None),
    (200, [], True, None),
]


@pytest.mark.parametrize("bidi", [True, False])
@pytest.mark.parametrize(("status", "headers", "reached", "retry_after_ms"), JUDGED)
async def test_heads_that_open_no_stream(net, host, status, headers, reached, retry_after_ms, bidi):
    async def app(scope, receive, send) -> None:
        await answer(send, status, b"", headers)

    host(app)
    with pytest.raises(TransportError) as failure:
        await HttpTransport(net, "h", 1, bidi=bidi).run(HEAD, START, Peer())
    assert (failure.value.reached, failure.value.status) == (reached, status)
    assert failure.value.retry_after_ms == retry_after_ms


async def test_nobody_listens(net):
    net.refuse = True
    transport = HttpTransport(net, "h", 1)
    with pytest.raises(TransportError) as failure:
        await transport.run(HEAD, START, Peer())
    assert not failure.value.reached
    with pytest.raises(TransportError) as failure:
        await transport.discover()
    assert not failure.value.reached


async def test_an_answer_cut_in_the_middle_of_a_message(net, host):
    async def app(scope, receive, send) -> None:
        await answer(send, 200, encode_frames([Frame(3, b"abc")])[:-1], [(b"content-type", V6.encode())])

    host(app)
    peer = Peer()
    with pytest.raises(TransportError, match="middle of a message"):
        await HttpTransport(net, "h", 1).run(HEAD, START, peer)
    assert peer.frames == []


async def test_a_message_above_the_bound(net, host):
    async def app(scope, receive, send) -> None:
        await answer(send, 200, encode_frames([Frame(3, b"a" * 11)]), [(b"content-type", V6.encode())])

    host(app)
    with pytest.raises(TransportError, match="above the limit"):
        await HttpTransport(net, "h", 1, message_bytes_max=10).run(HEAD, START, Peer())


@pytest.mark.parametrize(
    ("status", "content_type", "good"),
    [
        (200, b"application/vnd.restate.endpointmanifest.v4+json", True),
        (200, b"application/vnd.restate.endpointmanifest.v9+json", False),
        (200, b"application/json", False),
        (404, b"application/vnd.restate.endpointmanifest.v4+json", False),
    ],
)
async def test_discovery(net, host, status, content_type, good):
    accepted = []

    async def app(scope, receive, send) -> None:
        accepted.append(dict(scope["headers"])[b"accept"])
        assert scope["raw_path"] == b"/base/discover"
        await answer(send, status, b"{}", [(b"content-type", content_type)])

    host(app)
    transport = HttpTransport(net, "h", 1, base_path="/base")
    if good:
        assert (await transport.discover()).manifest == b"{}"
    else:
        with pytest.raises(TransportError):
            await transport.discover()
    assert accepted[0].startswith(b"application/vnd.restate.endpointmanifest.v1+json, ")
