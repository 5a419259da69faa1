"""A server in this process, started from settings, on real ports: for tests that show what a setting does."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio
from understudy.protocol.framing import Frame, FrameDecoder
from understudy_runtime.cli.configuration import configuration, effective
from understudy_runtime.cli.inside import Inside
from understudy_runtime.cli.output import Logger
from understudy_runtime.cli.serving import NoServices, Serving
from understudy_runtime.cli.settings import gather, variable
from understudy_runtime.cli.table import SERVER
from understudy_runtime.front import asgi_server
from understudy_runtime.http.h1_client import ClientPool, ClientResponse
from understudy_runtime.limits import Limits
from understudy_runtime.node import Node
from understudy_runtime.real_world import RealNetwork, RealWorld

from tests.live.effects_app import app

PATIENCE_SECONDS: Final = 30
LOOK_SECONDS: Final = 0.01


class Terminal(io.StringIO):
    """What a terminal shows."""

    def isatty(self) -> bool:
        return True


class StuckWorld(RealWorld):
    """A world whose connections do not open any more once it is `stuck`."""

    stuck = False

    async def dial(self, host: str, port: int) -> trio.abc.HalfCloseableStream:
        if self.stuck:
            await trio.sleep_forever()
        return await super().dial(host, port)


class Recorder:
    """The application behind HTTP: the headers of each request, and the frames it brought."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        self.frames: list[list[Frame]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        frames: list[Frame] = []
        self.frames.append(frames)
        decoder = FrameDecoder()

        async def heard() -> Any:
            message = await receive()
            frames.extend(decoder.feed(message.get("body", b"")))
            return message

        await app(scope, heard, send)


class Settled:
    """The running server.  `settings` is what it was given, by key."""

    def __init__(
        self,
        serving: Serving,
        log: io.StringIO,
        nursery: trio.Nursery,
        world: list[StuckWorld],
        settings: Mapping[str, str],
    ) -> None:
        self.settings = settings
        assert serving.node is not None, "it has started"
        self.node: Node = serving.node
        self.nursery = nursery
        self.recorder = Recorder()
        self.ingress_port, self.admin_port = serving.ports
        self.drain: Callable[[], Any]
        self._log = log
        self._worlds = world

    @property
    def world(self) -> StuckWorld:
        return self._worlds[0]

    @property
    def log(self) -> str:
        """All that was logged."""
        return self._log.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The logged lines, in JSON."""
        return [json.loads(line) for line in self.log.splitlines()]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == name]

    async def ask(
        self, method: str, path: str, body: object = None, *, port: int = 0, host: str = "127.0.0.1", **headers: str
    ) -> ClientResponse:
        """One request on a connection of its own."""
        pool = ClientPool(partial(RealNetwork().dial, host, port or self.ingress_port), idle_max=0)
        sent = {"host": "localhost", "content-type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = b"" if body is None else json.dumps(body).encode()
        return await pool.request(method, path, list(sent.items()), data)

    async def send(self, path: str, body: object = "", **headers: str) -> str:
        """Send; the invocation's id."""
        response = await self.ask("POST", f"{path}/send", body, **headers)
        assert response.status == 202, response
        found: str = json.loads(response.body)["invocationId"]
        return found

    async def register(self, port: int, **options: object) -> None:
        """Have the server know an endpoint."""
        body = {"uri": f"http://127.0.0.1:{port}", **options}
        response = await self.ask("POST", "/deployments", body, port=self.admin_port)
        assert response.status == 201, response

    async def host(self) -> int:
        """Serve the recorder; its port."""
        listener = await RealNetwork().listen("127.0.0.1", 0)
        errors: list[Exception] = []
        server = asgi_server(self.recorder, Limits(), report=errors.append)
        self.nursery.start_soon(server.serve, listener)
        return listener.port


async def until(is_true: Callable[[], object]) -> None:
    """Look again until *is_true*."""
    while not is_true():  # noqa: ASYNC110 - another part of the process is at work
        await trio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def settled(
    folder: Path, settings: Mapping[str, str], *, inside: bool = True, log: io.StringIO | None = None
) -> AsyncIterator[Settled]:
    """A server with *settings*, by key, read from an environment; the services in it, or none."""
    given = {"base-dir": str(folder / "data"), "ingress.bind-port": "0", "admin.bind-port": "0", "log-format": "json"}
    if "ingress.bind-address" in settings:
        del given["ingress.bind-port"]
    if "admin.bind-address" in settings:
        del given["admin.bind-port"]
    environment = {variable(key): text for key, text in {**given, **settings}.items()}
    config = configuration(effective(gather(SERVER, flags={}, environment=environment, file=None)))
    log = log or io.StringIO()
    logger = Logger(config.logging, log)
    worlds: list[StuckWorld] = []

    def make_world(data: Path) -> RealWorld:
        worlds.append(StuckWorld(data))
        return worlds[-1]

    serving = Serving(config, logger, Inside(app, logger) if inside else NoServices(), make_world=make_world)
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            drain = await serving.start(nursery)
            server = Settled(serving, log, nursery, worlds, settings)
            server.drain = drain
            yield server
            for transport in server.node.registrar.transports.values():
                await transport.aclose()
            nursery.cancel_scope.cancel()
    for world in worlds:
        world.disk.unlock()
