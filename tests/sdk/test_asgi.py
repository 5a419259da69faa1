"""The ASGI application, driven directly: what it answers to discovery, invocations and everything else."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import anyio
import pytest
from understudy import App, Context, Service, app
from understudy.asgi import manifest_version
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame, FrameDecoder, encode_frames
from understudy.protocol.messages import MessageType as T

from tests.sdk.fakes import acknowledgement, start

V6 = "application/vnd.restate.invocation.v6"
BACKENDS = ("trio", "asyncio")

greeter = Service("Greeter")


@greeter.handler()
async def greet(ctx: Context, name: str) -> str:
    """Greets."""
    return await ctx.run_typed("compose", lambda: f"hello {name}")


@greeter.handler()
async def nap(ctx: Context) -> None:
    await ctx.sleep(timedelta(hours=1))


@greeter.handler()
async def headers(ctx: Context) -> str | None:
    return ctx.request().attempt_headers.get("x-attempt")


APP = app([greeter])


class Exchange:
    """One HTTP exchange: the server's side of an ASGI call."""

    def __init__(self, application: App, path: str, *, method: str = "POST", **headers: str) -> None:
        self.application = application
        self.scope: dict[str, Any] = {
            "type": "http",
            "http_version": "2",
            "method": method,
            "path": path,
            "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()],
        }
        self._send, self._receive = anyio.create_memory_object_stream[dict[str, Any]](100)
        self.status: int | None = None
        self.answered_headers: dict[str, str] = {}
        self.body = b""
        self.finished = False
        self.on_frame: Callable[[Frame], None] | None = None
        self._decoder = FrameDecoder()
        self.frames: list[Frame] = []

    def push(self, data: bytes = b"", *, more: bool = True) -> None:
        self._send.send_nowait({"type": "http.request", "body": data, "more_body": more})

    def disconnect(self) -> None:
        self._send.send_nowait({"type": "http.disconnect"})

    async def _on_send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.answered_headers = {k.decode(): v.decode() for k, v in message["headers"]}
            return
        assert message["type"] == "http.response.body"
        self.body += message.get("body", b"")
        if self.answered_headers.get("content-type", "").startswith("application/vnd.restate.invocation"):
            for frame in self._decoder.feed(message.get("body", b"")):
                self.frames.append(frame)
                if self.on_frame is not None:
                    self.on_frame(frame)
        self.finished = not message.get("more_body", False)

    async def play(self) -> None:
        with self._send, self._receive:
            await self.application(self.scope, self._receive.receive, self._on_send)

    def types(self) -> list[T]:
        return [T(frame.type) for frame in self.frames]


def run(backend: str, main: Callable[[], Awaitable[None]]) -> None:
    anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_full_duplex(backend: str) -> None:
    async def main() -> None:
        exchange = Exchange(APP, "/prefix/invoke/Greeter/greet", content_type=V6)

        def answer(frame: Frame) -> None:
            if frame.type == T.PROPOSE_RUN_COMPLETION:
                exchange.push(encode_frames([acknowledgement(frame)]))
            if frame.type == T.END:
                exchange.push(more=False)

        exchange.on_frame = answer
        exchange.push(encode_frames(start(b'"you"')))
        await exchange.play()
        assert (exchange.status, exchange.answered_headers["content-type"]) == (200, V6)
        assert exchange.answered_headers["x-restate-server"].startswith("understudy/")
        assert exchange.types() == [T.RUN, T.PROPOSE_RUN_COMPLETION, T.OUTPUT, T.END]
        assert pb.OutputCommand.FromString(exchange.frames[2].payload).value.content == b'"hello you"'
        assert exchange.finished

    run(backend, main)


@pytest.mark.parametrize("backend", BACKENDS)
def test_request_response_suspends_and_chunks_may_be_cut_anywhere(backend: str) -> None:
    async def main() -> None:
        exchange = Exchange(APP, "/invoke/Greeter/greet", content_type=V6)
        data = encode_frames(start(b'"you"'))
        for at in range(0, len(data), 3):
            exchange.push(data[at : at + 3])
        exchange.push(more=False)
        await exchange.play()
        assert exchange.types() == [T.RUN, T.PROPOSE_RUN_COMPLETION, T.SUSPENSION]

    run(backend, main)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_disconnect_stops_the_handler(backend: str) -> None:
    ended: list[str] = []
    service = Service("S")

    @service.handler()
    async def wait(ctx: Context) -> None:
        try:
            await ctx.sleep(timedelta(hours=1))
        except BaseException as error:
            ended.append(type(error).__name__)
            raise

    async def main() -> None:
        exchange = Exchange(app([service]), "/invoke/S/wait", content_type=V6)
        exchange.on_frame = lambda frame: exchange.disconnect()
        exchange.push(encode_frames(start()))
        await exchange.play()
        assert exchange.types() == [T.SLEEP]
        assert len(ended) == 1
        assert not exchange.finished

    run(backend, main)


@pytest.mark.parametrize("backend", BACKENDS)
def test_bytes_that_are_no_frames_end_the_attempt(backend: str) -> None:
    async def main() -> None:
        exchange = Exchange(APP, "/invoke/Greeter/nap", content_type=V6)
        exchange.push(b"\xff" * 8, more=False)
        await exchange.play()
        assert exchange.frames == []
        assert exchange.finished

    run(backend, main)


async def test_attempt_headers_reach_the_handler() -> None:
    exchange = Exchange(APP, "/invoke/Greeter/headers", content_type=V6, x_attempt="3")
    exchange.push(encode_frames(start()), more=False)
    await exchange.play()
    assert pb.OutputCommand.FromString(exchange.frames[0].payload).value.content == b'"3"'


@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        ("/invoke/Greeter/nobody", "POST", {"content_type": V6}, 404),
        ("/invoke/Nobody/greet", "POST", {"content_type": V6}, 404),
        ("/invoke/Greeter/greet", "GET", {"content_type": V6}, 404),
        ("/invoke/greet", "POST", {"content_type": V6}, 404),
        ("/", "GET", {}, 404),
        ("/discover", "POST", {}, 404),
        ("/invoke/Greeter/greet", "POST", {}, 415),
        ("/invoke/Greeter/greet", "POST", {"content_type": V6.replace("v6", "v7")}, 415),
        ("/invoke/Greeter/greet", "POST", {"content_type": V6 + "; charset=utf-8"}, 415),
        ("/discover", "GET", {"accept": "application/vnd.restate.endpointmanifest.v99+json"}, 415),
        ("/discover", "GET", {"accept": "text/html"}, 415),
    ],
)
async def test_what_is_refused(path: str, method: str, headers: dict[str, str], status: int) -> None:
    exchange = Exchange(APP, path, method=method, **headers)
    exchange.push(more=False)
    await exchange.play()
    assert exchange.status == status
    assert exchange.finished
    assert "x-restate-server" in exchange.answered_headers


async def test_health() -> None:
    exchange = Exchange(APP, "/any/prefix/health", method="GET")
    await exchange.play()
    assert (exchange.status, exchange.body) == (200, b'{"status":"ok"}')


@pytest.mark.parametrize(
    ("accept", "version"),
    [
        (None, 2),
        ("*/*", 2),
        ("application/vnd.restate.endpointmanifest.v1+json", 1),
        (", ".join(f"application/vnd.restate.endpointmanifest.v{n}+json" for n in (1, 2, 3, 4)), 4),
        (", ".join(f"application/vnd.restate.endpointmanifest.v{n}+json" for n in (3, 5)), 5),
        (", ".join(f"application/vnd.restate.endpointmanifest.v{n}+json" for n in (3, 6)), 3),
        ("application/json", None),
    ],
)
def test_the_manifest_version_asked_for(accept: str | None, version: int | None) -> None:
    assert manifest_version(accept) == version


@pytest.mark.parametrize(("http_version", "mode"), [("1.1", "REQUEST_RESPONSE"), ("2", "BIDI_STREAM")])
async def test_discovery(http_version: str, mode: str) -> None:
    accept = "application/vnd.restate.endpointmanifest.v4+json"
    exchange = Exchange(APP, "/discover", method="GET", accept=accept)
    exchange.scope["http_version"] = http_version
    await exchange.play()
    assert (exchange.status, exchange.answered_headers["content-type"]) == (200, accept)
    manifest = json.loads(exchange.body)
    assert manifest["protocolMode"] == mode
    assert [handler["name"] for handler in manifest["services"][0]["handlers"]] == ["greet", "nap", "headers"]


async def test_discovery_that_cannot_be_told_in_the_version_asked_for() -> None:
    service = Service("S", inactivity_timeout=timedelta(seconds=1))
    accept = "application/vnd.restate.endpointmanifest.v2+json"
    exchange = Exchange(app([service]), "/discover", method="GET", accept=accept)
    await exchange.play()
    assert (exchange.status, exchange.answered_headers["content-type"]) == (500, "text/plain")
    assert b"inactivityTimeout" in exchange.body


@pytest.mark.parametrize("backend", BACKENDS)
def test_lifespan(backend: str) -> None:
    async def main() -> None:
        said: list[str] = []
        messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

        async def receive() -> dict[str, Any]:
            return messages.pop(0)

        async def send(message: Any) -> None:
            said.append(message["type"])

        await APP({"type": "lifespan"}, receive, send)
        assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]

    run(backend, main)


async def test_only_http_is_answered() -> None:
    async def never(*_: Any) -> Any:
        raise AssertionError

    with pytest.raises(ValueError, match="websocket"):
        await APP({"type": "websocket"}, never, never)
