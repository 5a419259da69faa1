"""A node whose services are behind HTTP: full duplex and request/response, over real sockets and in one process."""

from __future__ import annotations

import json

import pytest
import trio
from understudy_runtime.front import ingress_server
from understudy_runtime.http.asgi import AsgiServer
from understudy_runtime.http.deployment import HttpTransport
from understudy_runtime.http.h1_client import ClientPool
from understudy_runtime.limits import Limits
from understudy_runtime.model.events import AttemptEnded
from understudy_runtime.node import Deployment, Node
from understudy_runtime.real_world import RealWorld

from tests.live.services import app


class Client:
    """Calls the ingress over HTTP."""

    def __init__(self, world: RealWorld, port: int) -> None:
        self.pool = ClientPool(lambda: world.dial("127.0.0.1", port))

    async def post(self, path: str, body: object) -> object:
        headers = [("host", "localhost"), ("content-type", "application/json")]
        response = await self.pool.request("POST", path, headers, json.dumps(body).encode())
        assert response.status in (200, 202), response
        return json.loads(response.body) if response.body else None


async def play(world: RealWorld, bidi: bool, suspend_after_ms: int) -> list[str]:
    """A few calls of every kind; how the attempts ended."""
    errors: list[Exception] = []
    ends: list[str] = []
    limits = Limits(inactivity_timeout_ms=suspend_after_ms)
    async with trio.open_nursery() as nursery:
        endpoint_listener = await world.listen("127.0.0.1", 0)
        nursery.start_soon(AsgiServer(app, limits, report=errors.append).serve, endpoint_listener)
        transport = HttpTransport(world, "127.0.0.1", endpoint_listener.port, bidi=bidi)
        manifest = (await transport.discover()).manifest
        node = Node(
            world,
            limits,
            deployments=[Deployment("dp_1", transport, manifest)],
            observe=lambda event: ends.append(event.how) if isinstance(event, AttemptEnded) else None,
        )
        await nursery.start(node.run)
        listener = await world.listen("127.0.0.1", 0)
        nursery.start_soon(ingress_server(node).serve, listener)
        client = Client(world, listener.port)
        with trio.fail_after(60):
            assert await client.post("/Greeter/greet", "bob") == "hi bob"
            for number in range(5):
                assert await client.post("/Counter/a%2Fb/add", 1) == number + 1
            assert await client.post("/Greeter/doze", 300) == "rested"
            await client.post("/Flow/f/run/send", "hello")
            await client.post("/Flow/f/say", "world")
            response = await client.pool.request("GET", "/restate/workflow/Flow/f/attach", [("host", "localhost")])
            assert response.body == b'"hello world"'
        assert errors == []
        await client.pool.drop_idle()
        await transport.aclose()
        nursery.cancel_scope.cancel()
    return ends


@pytest.mark.parametrize(
    ("bidi", "suspend_after_ms", "ends"),
    [
        (True, 60_000, {"finished"}),
        (True, 50, {"finished", "suspended"}),
        (False, 60_000, {"finished", "suspended"}),
    ],
)
async def test_services_behind_http(tmp_path, bidi, suspend_after_ms, ends):
    assert set(await play(RealWorld(tmp_path / "data"), bidi, suspend_after_ms)) == ends
