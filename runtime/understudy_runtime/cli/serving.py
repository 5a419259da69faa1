"""A server and its services in one process: the ports, the node, the signals, in one nursery."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import attrs
import trio
from understudy.endpoint import App

from understudy_runtime.admin.core import error as admin_error
from understudy_runtime.cli.hosting import RealHost
from understudy_runtime.cli.output import event_logger, say
from understudy_runtime.front import admin_server, ingress_server
from understudy_runtime.http.guard import Check, HostCheck, TokenCheck
from understudy_runtime.http.h1_server import H1Server
from understudy_runtime.ingress import answers
from understudy_runtime.invoker.inprocess import InProcessTransport
from understudy_runtime.limits import Limits
from understudy_runtime.log.core import LogError
from understudy_runtime.model.ids import deployment_id
from understudy_runtime.model.schema import ManifestError
from understudy_runtime.node import DataFolderError, Deployment, Node
from understudy_runtime.partition import LeadershipLost
from understudy_runtime.real_world import RealWorld
from understudy_runtime.storage.port import StorageError
from understudy_runtime.world import DiskError, Listener

# The services of this process are one deployment, the same after every restart: invocations are pinned to it.
DEPLOYMENT: Final = deployment_id(bytes(16))
STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
# After the drain: how long answers on their way may take to leave.
FAREWELL_SECONDS: Final = 1


class PortTaken(Exception):
    """An address cannot be bound: which, why, what to do."""


START_ERRORS: Final = (PortTaken, DataFolderError, DiskError, LogError, StorageError, ManifestError)
STOP_ERRORS: Final = (DiskError, LeadershipLost, StorageError)


@attrs.frozen(kw_only=True)
class Settings:
    """What `dev` was asked for."""

    app: App
    ingress_port: int
    admin_port: int
    bind: str
    data: Path
    partitions: int | None
    admin_token: str | None
    allow_hosts: Sequence[str]
    log_level: str


class Serving:
    """One run of `dev`.  `started` once requests are served."""

    def __init__(self, settings: Settings, logger: Any) -> None:
        self.started = False
        self._settings = settings
        self._logger = logger
        self._limits = Limits()

    async def main(self) -> int:
        """Serve until a signal; the exit code."""
        settings = self._settings
        world = RealWorld(settings.data)
        ingress_listener = await listen(world, settings.bind, settings.ingress_port, "--ingress-port")
        admin_listener = await listen(world, settings.bind, settings.admin_port, "--admin-port")
        async with trio.open_nursery() as nursery:
            with trio.open_signal_receiver(*STOP_SIGNALS) as signals:
                host = RealHost(world, nursery, self._report_hazard)
                node = self._node(world, host)
                await nursery.start(node.run)
                servers = self._servers(node, ingress_listener.port)
                finished = trio.Event()
                nursery.start_soon(self._serve, servers, (ingress_listener, admin_listener), finished)
                self.started = True
                self._greet(ingress_listener.port, admin_listener.port)
                code = await self._until_stopped(signals, node, servers, finished)
                nursery.cancel_scope.cancel()
        return code

    def _node(self, world: RealWorld, host: RealHost) -> Node:
        app = self._settings.app
        transport = InProcessTransport(app, host)
        return Node(
            world,
            self._limits,
            partition_count=self._settings.partitions,
            deployments=[Deployment(DEPLOYMENT, transport, dict(app.manifest()))],
            observe=event_logger(self._logger, self._settings.log_level),
        )

    def _servers(self, node: Node, ingress_port: int) -> tuple[H1Server, H1Server]:
        settings = self._settings
        observe = event_logger(self._logger, "debug") if settings.log_level == "debug" else None
        admin_checks: list[Check] = [HostCheck(settings.bind, settings.allow_hosts, admin_error)]
        if settings.admin_token is not None:
            admin_checks.append(TokenCheck(settings.admin_token, admin_error))
        ingress_checks = [HostCheck(settings.bind, settings.allow_hosts, answers.refused)]
        endpoint = f"http://{authority(settings.bind, ingress_port)}/"
        return (
            ingress_server(node, observe=observe, checks=ingress_checks),
            admin_server(node, version=version("understudy"), ingress_endpoint=endpoint, checks=admin_checks),
        )

    async def _serve(self, servers: Sequence[H1Server], listeners: Sequence[Listener], finished: trio.Event) -> None:
        async with trio.open_nursery() as nursery:
            for server, listener in zip(servers, listeners, strict=True):
                nursery.start_soon(server.serve, listener)
        finished.set()

    async def _until_stopped(self, signals: Any, node: Node, servers: Sequence[H1Server], finished: trio.Event) -> int:
        """Wait for a signal, then drain; a second signal ends the wait."""
        first = await anext(signals)
        self._logger.info("draining", signal=signal.Signals(first).name)
        code = 0
        async with trio.open_nursery() as nursery:

            async def at_once() -> None:
                nonlocal code
                code = 128 + int(await anext(signals))
                nursery.cancel_scope.cancel()

            nursery.start_soon(at_once)
            for server in servers:
                server.drain()
            await node.drain()
            with trio.move_on_after(FAREWELL_SECONDS):
                await finished.wait()
            nursery.cancel_scope.cancel()
        self._logger.info("stopped")
        return code

    def _report_hazard(self, kind: str, detail: str, filename: str, line: int) -> None:
        self._logger.warning("hazard: replay cannot reproduce this", kind=kind, detail=detail, at=f"{filename}:{line}")

    def _greet(self, ingress_port: int, admin_port: int) -> None:
        settings = self._settings
        say(f"understudy {version('understudy')}", style="bold")
        say(f"  ingress   http://{authority(settings.bind, ingress_port)}")
        say(f"  admin     http://{authority(settings.bind, admin_port)}")
        say(f"  data      {settings.data.resolve()}")
        for service in settings.app.services.values():
            say(f"  serves    {service.name}: {', '.join(service.handlers)}")
        say("  ready     (Ctrl-C drains and stops)", style="green")


def authority(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


async def listen(world: RealWorld, address: str, port: int, option: str) -> Listener:
    """Bind a port.  Raises PortTaken."""
    try:
        return await world.listen(address, port)
    except OSError as error:
        raise PortTaken(
            f"{authority(address, port)} cannot be bound ({error.strerror or error}): "
            f"stop what holds it, or choose another with {option} or --bind"
        ) from None
