"""What the tests of clients and servers share.

A network of memory streams, an invoker's peer, applications, and one way to ask in each HTTP version.
"""

from __future__ import annotations

import pytest
import trio
import trio.testing
from understudy.protocol.framing import Frame, encode_frames
from understudy_runtime.http.asgi import AsgiServer
from understudy_runtime.http.deployment import HttpTransport
from understudy_runtime.http.exchange import Address, Words
from understudy_runtime.http.h1_client import ClientPool, ClientResponse, ConnectionLost
from understudy_runtime.http.h2_client import ExchangeLost, H2Pool
from understudy_runtime.http.h2_transport import H2Transport
from understudy_runtime.invoker.port import AttemptHead
from understudy_runtime.limits import Limits
from understudy_runtime.model.invocation import Target

HTTP_1, HTTP_2 = "HTTP/1.1", "HTTP/2.0"
VERSIONS = (HTTP_1, HTTP_2)
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


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture
def ask(net, nursery, version):
    """One whole exchange: (method, target, headers, body) -> ClientResponse; ConnectionLost in either version."""
    if version == HTTP_1:
        pool = ClientPool(lambda: net.dial("h", 1))
        return lambda method, target, headers=(), body=b"": pool.request(method, target, [HOST, *headers], body)
    h2_pool = H2Pool(lambda: net.dial("h", 1), Limits(), nursery.start_soon)

    async def over_h2(method, target, headers=(), body=b"") -> ClientResponse:
        pairs = [(":method", method), (":path", target), (":scheme", "http"), (":authority", "h"), *headers]
        encoded = [(name.encode(), value.encode()) for name, value in pairs]
        try:
            exchange = await h2_pool.open(encoded, body, end=True)
            status, answered = await exchange.response()
            parts = b""
            while (part := await exchange.part()) is not None:
                parts += part.data
                exchange.credit(part.size)
        except ExchangeLost as lost:
            raise ConnectionLost(str(lost), answered=lost.reached) from None
        exchange.close()
        return ClientResponse(status, answered, parts)

    return over_h2


@pytest.fixture
def transport(net, nursery, version):
    """Make a transport: (bidi, base_path, message_bytes_max) -> Transport."""

    def make(*, bidi=True, base_path="", message_bytes_max=1 << 25):
        if version == HTTP_1:
            return HttpTransport(net, "h", 1, base_path=base_path, bidi=bidi, message_bytes_max=message_bytes_max)
        pool = H2Pool(lambda: net.dial("h", 1), Limits(), nursery.start_soon)
        words = Words(Address("h", 1, base_path), (), None, net.now_ms)
        return H2Transport(pool, words, bidi=bidi, message_bytes_max=message_bytes_max)

    return make
