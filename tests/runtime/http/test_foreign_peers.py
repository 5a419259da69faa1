"""Real sockets and other people's HTTP/2: their client against our servers, their server against our client."""

from __future__ import annotations

import httpx
import hypercorn.config
import hypercorn.trio
import pytest
import trio
from understudy.protocol.framing import Frame
from understudy_runtime.front import asgi_server
from understudy_runtime.http.connect import connector
from understudy_runtime.http.h1_server import H1Server
from understudy_runtime.http.server import HttpServer
from understudy_runtime.ingress.port import Request, Response
from understudy_runtime.invoker.port import TransportError, WrongHttpVersion
from understudy_runtime.limits import Limits
from understudy_runtime.model.endpoint import Endpoint
from understudy_runtime.real_world import RealWorld

from tests.runtime.http.ways import HEAD, START, Peer, echo
from tests.runtime.http.ways import Endpoint as EchoingEndpoint


@pytest.fixture
def world(tmp_path):
    return RealWorld(tmp_path)


async def handler(request: Request) -> Response:
    return Response(200, (("x-target", request.target),), request.body)


@pytest.mark.parametrize("kind", ["requests", "asgi"])
async def test_their_client(world, nursery, kind):
    listener = await world.listen("127.0.0.1", 0)
    errors: list[Exception] = []
    asgi = asgi_server(echo, Limits(), report=errors.append)
    server = asgi if kind == "asgi" else HttpServer(handler, Limits())
    nursery.start_soon(server.serve, listener)
    async with httpx.AsyncClient(http1=False, http2=True, base_url=f"http://127.0.0.1:{listener.port}") as client:
        answers: list[httpx.Response] = []

        async def ask(number: int) -> None:
            answers.append(await client.post(f"/{number}", content=b"%d" % number * 20_000))

        with trio.fail_after(60):
            async with trio.open_nursery() as asking:
                for number in range(20):
                    asking.start_soon(ask, number)
        assert {answer.http_version for answer in answers} == {"HTTP/2"}
        prefix = b"POST /%d " if kind == "asgi" else b""
        bodies = {(prefix % n if prefix else b"") + b"%d" % n * 20_000 for n in range(20)}
        assert {answer.content for answer in answers} == bodies
        assert server.connections == 1
    server.drain()
    assert errors == []


@pytest.fixture
async def theirs(nursery):
    """Serve an application with their server; gives its address."""

    async def serve(app, **settings: object) -> str:
        config = hypercorn.config.Config()
        config.bind = ["127.0.0.1:0"]
        config.errorlog = None
        for name, value in settings.items():
            setattr(config, name, value)
        (address,) = await nursery.start(
            lambda task_status: hypercorn.trio.serve(app, config, task_status=task_status, mode="asgi")
        )
        return str(address)

    return serve


async def test_their_server(world, nursery, theirs):
    connect = connector(world, Limits())
    await nursery.start(connect.run)
    transport = connect(Endpoint(uri=await theirs(EchoingEndpoint())))

    async def attempt(size: int) -> None:
        frames = [*START, Frame(0x0401, b"x" * size)]
        peer = Peer()
        async with trio.open_nursery() as attempts:
            attempts.start_soon(transport.run, HEAD, frames, peer)
            await peer.until(3)
            peer.stream.send([Frame(0x8011, b"more")])
            await peer.until(4)
            peer.stream.close_send()
        assert peer.frames == [*frames, Frame(0x8011, b"more"), Frame(3, b"")]

    with trio.fail_after(60):
        async with trio.open_nursery() as attempts:
            for number in range(12):
                attempts.start_soon(attempt, number * 50_000)
    await transport.aclose()


async def test_their_server_refuses_discovery_it_does_not_know(world, nursery, theirs):
    connect = connector(world, Limits())
    await nursery.start(connect.run)
    with trio.fail_after(60), pytest.raises(TransportError, match="content-type"):
        await connect(Endpoint(uri=await theirs(echo))).discover()


async def test_a_server_of_http_1_only_is_told_apart(world, nursery):
    listener = await world.listen("127.0.0.1", 0)
    nursery.start_soon(H1Server(handler, Limits()).serve, listener)
    connect = connector(world, Limits())
    await nursery.start(connect.run)
    with trio.fail_after(60), pytest.raises(WrongHttpVersion):
        await connect(Endpoint(uri=f"http://127.0.0.1:{listener.port}")).discover()
