"""A running node with its admin, and endpoints in memory to register: no sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
from understudy.protocol.framing import Frame
from understudy_runtime.admin.shell import Admin
from understudy_runtime.ingress.port import Request, Response
from understudy_runtime.invoker.port import AttemptHead, AttemptPeer, Discovery, TransportError
from understudy_runtime.limits import Limits
from understudy_runtime.model.endpoint import Endpoint
from understudy_runtime.node import Deployment, Node

from tests.runtime.node.fakes import FakeWorld
from tests.runtime.node.stand import END, Client, Script, ScriptedTransport, ignore, output

JSON = (("content-type", "application/json"),)
LIMITS = Limits(log_prewrite_bytes=0)
ONE = "http://one:1/"
TWO = "http://two:1/"


def handler(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, **fields}


def service(name: str, *handlers: dict[str, Any], ty: str = "SERVICE", **fields: Any) -> dict[str, Any]:
    return {"name": name, "ty": ty, "handlers": list(handlers), **fields}


def manifest(*services: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "protocolMode": "BIDI_STREAM",
        "minProtocolVersion": 5,
        "maxProtocolVersion": 7,
        "services": list(services),
        **fields,
    }


ECHO = manifest(service("Echo", handler("echo")))
COUNTER = manifest(service("Counter", handler("add"), handler("get", ty="SHARED"), ty="VIRTUAL_OBJECT"))


@attrs.define
class FakeEndpoint:
    """What lives at one address: `manifest` answers discovery unless `failure` is raised, `script` every attempt."""

    manifest: dict[str, Any] | bytes = attrs.field(factory=lambda: ECHO)
    script: Script | None = None
    failure: Exception | None = None
    failures_left: int | None = None
    sdk_version: str = "an-sdk/1.0"
    discovered: int = 0
    seconds: float = 0
    attempts: list[AttemptHead] = attrs.field(factory=list)


class FakeTransport:
    """The way to a FakeEndpoint."""

    def __init__(self, endpoint: FakeEndpoint, at: Endpoint) -> None:
        self.at = at
        self.closed = False
        self._endpoint = endpoint

    async def run(self, head: AttemptHead, frames: Sequence[Frame], peer: AttemptPeer) -> None:
        self._endpoint.attempts.append(head)
        await ScriptedTransport(self._endpoint.script or finish).run(head, frames, peer)

    async def discover(self) -> Discovery:
        endpoint = self._endpoint
        endpoint.discovered += 1
        await trio.sleep(endpoint.seconds)
        if endpoint.failure is not None and endpoint.failures_left != 0:
            if endpoint.failures_left is not None:
                endpoint.failures_left -= 1
            raise endpoint.failure
        body = endpoint.manifest if isinstance(endpoint.manifest, bytes) else json.dumps(endpoint.manifest).encode()
        return Discovery(body, endpoint.sdk_version, "HTTP/1.1" if self.at.use_http_11 else "HTTP/2.0")

    async def aclose(self) -> None:
        self.closed = True


async def finish(dialogue: Any) -> None:
    """Answer with the deployment's id."""
    await dialogue.say(output(dialogue.head.deployment_id.encode()), END)


class FakeConnect:
    """The network: `endpoints` by URI.  Nobody is at any other."""

    def __init__(self) -> None:
        self.endpoints: dict[str, FakeEndpoint] = {}
        self.made: list[FakeTransport] = []
        self.running = False

    def __call__(self, endpoint: Endpoint) -> FakeTransport:
        if not endpoint.uri.startswith("http://"):
            raise ValueError(f"{endpoint.uri}: only http:// is taken")
        nobody = FakeEndpoint(failure=TransportError("nobody listens", reached=False))
        transport = FakeTransport(self.endpoints.get(endpoint.uri, nobody), endpoint)
        self.made.append(transport)
        return transport

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self.running = True
        task_status.started()
        await trio.sleep_forever()


def network(manifest: dict[str, Any], script: Script | None = None) -> FakeConnect:
    """One endpoint, at ONE."""
    made = FakeConnect()
    made.endpoints[ONE] = FakeEndpoint(manifest, script)
    return made


@attrs.define
class Stand:
    """A node, its admin and the network behind it."""

    world: FakeWorld
    node: Node
    admin: Admin
    network: FakeConnect
    client: Client

    async def ask(
        self, method: str, target: str, value: object = None, headers: tuple[tuple[str, str], ...] = JSON
    ) -> Response:
        body = value if isinstance(value, bytes) else b"" if value is None else json.dumps(value).encode()
        return await self.admin.handle(Request(method, target, headers if body else (), body))

    async def get(self, target: str) -> Any:
        """The JSON at *target*, which must be there."""
        response = await self.ask("GET", target)
        assert response.status == 200, response
        return json.loads(response.body)

    async def register(self, uri: str = "http://one:1/", /, **fields: Any) -> tuple[int, dict[str, Any]]:
        """Register; status and body."""
        response = await self.ask("POST", "/deployments", {"uri": uri, **fields})
        return response.status, json.loads(response.body)


@asynccontextmanager
async def standing(
    network: FakeConnect | None = None,
    *,
    world: FakeWorld | None = None,
    limits: Limits = LIMITS,
    deployments: Sequence[Deployment] = (),
    partition_count: int | None = None,
) -> AsyncIterator[Stand]:
    """A running node with its admin."""
    network = network or FakeConnect()
    world = world or FakeWorld()
    node = Node(
        world, limits, deployments=deployments, connect=network, observe=ignore, partition_count=partition_count
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        admin = Admin(node, version="1.2.3", ingress_endpoint="http://localhost:8080/", cluster_name="fake")
        yield Stand(world, node, admin, network, Client(node))
        nursery.cancel_scope.cancel()
