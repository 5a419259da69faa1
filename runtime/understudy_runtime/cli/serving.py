"""A server on a real machine: its ports, its node, its services if it has any of its own, in one nursery.

`dev` is `serve` with services: what differs is the `Services` given.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Final, Protocol

import attrs
import trio

from understudy_runtime.admin.asked import error as admin_error
from understudy_runtime.cli.configuration import Configuration
from understudy_runtime.cli.errors import UsageProblem
from understudy_runtime.cli.kinds import Address
from understudy_runtime.cli.life import Drain, Life
from understudy_runtime.cli.output import Logger, event_logger, say
from understudy_runtime.cli.watching import watched
from understudy_runtime.front import admin_server, ingress_server
from understudy_runtime.http.connect import Connector, connector
from understudy_runtime.http.guard import Check, HostCheck, TokenCheck
from understudy_runtime.ingress import answers
from understudy_runtime.invoker.identity import IdentityKeyError, signer_of
from understudy_runtime.invoker.port import Sign
from understudy_runtime.log.core import LogError
from understudy_runtime.model.schema import ManifestError
from understudy_runtime.node import DataFolderError, Deployment, Node, sole_error
from understudy_runtime.partition import LeadershipLost
from understudy_runtime.real_world import RealNetwork, RealWorld
from understudy_runtime.storage.port import StorageError
from understudy_runtime.world import DiskError, Listener

# After the drain: how long answers on their way may take to leave.
FAREWELL_SECONDS: Final = 1


class PortTaken(Exception):
    """An address cannot be bound: which, why, what to do."""


class ServicesFailed(Exception):
    """The services that come with the server did not start: what they said."""


START_ERRORS: Final = (
    PortTaken,
    ServicesFailed,
    IdentityKeyError,
    DataFolderError,
    DiskError,
    LogError,
    StorageError,
    ManifestError,
)
STOP_ERRORS: Final = (DiskError, LeadershipLost, StorageError)


class Services(Protocol):
    """The services that come with a server."""

    async def start(self, world: RealWorld, connect: Connector, nursery: trio.Nursery) -> Sequence[Deployment]:
        """Start what runs them in *nursery*; the deployments a node is given.  Raises ServicesFailed."""

    def greet(self) -> Sequence[str]:
        """What is said about them at the start."""


class NoServices:
    """None: they are registered."""

    async def start(self, world: RealWorld, connect: Connector, nursery: trio.Nursery) -> Sequence[Deployment]:
        return ()

    def greet(self) -> Sequence[str]:
        return ()


class Server(Protocol):
    """What serves a port."""

    async def serve(self, listener: Listener) -> None:
        """Serve until it has drained."""

    def drain(self) -> None:
        """Take nothing new, finish what is there."""


@attrs.frozen
class Door:
    """A bound port and who serves it."""

    listener: Listener
    server: Server


class Serving:
    """One run of a server.  `node` and `ports` (of ingress and admin) are there once it has started.

    *make_world* is given the data folder.  *watch*: tell who blocks the loop.
    """

    def __init__(
        self,
        configuration: Configuration,
        logger: Logger,
        services: Services,
        *,
        make_world: Callable[[Path], RealWorld] = RealWorld,
        watch: bool = False,
    ) -> None:
        self.node: Node | None = None
        self.ports = (0, 0)
        self._configuration = configuration
        self._logger = logger
        self._services = services
        self._life = Life(logger)
        self._make_world = make_world
        self._watch = watch

    def run(self) -> int:
        """Serve until stopped; the exit code.  Raises UsageProblem for what the user can put right."""
        try:
            return trio.run(self._main)
        except BaseException as raised:
            error = sole_error(raised)
            if isinstance(error, START_ERRORS) and not self._life.started:
                raise UsageProblem(str(error)) from None
            if isinstance(error, STOP_ERRORS):
                self._logger.log("error", "server", "stopped", reason=str(error))
                return 1
            raise error from None

    async def _main(self) -> int:
        with watched(self._logger, lambda: self._life.started) if self._watch else nullcontext():
            return await self._life.live(self.start)

    async def start(self, nursery: trio.Nursery) -> Drain:
        """Serve, in *nursery*.  What it returns drains: no new request is taken, those in flight are answered."""
        configuration = self._configuration
        world = self._make_world(configuration.base_dir)
        sign = signer(configuration.identity_pem_file, world)
        connect = connector(world, configuration.limits, sign=sign, headers=configuration.request_headers)
        async with closing_unless_served() as listeners:
            # Bound before anything is opened: who calls meanwhile waits, and a port that is taken is known at once.
            listeners.append(await listen(world, configuration.ingress, "--ingress-port"))
            listeners.append(await listen(world, configuration.admin, "--admin-port"))
            deployments = await self._services.start(world, connect, nursery)
            self.node = node = self._node(world, connect, deployments)
            await nursery.start(node.run)
        doors = self._doors(node, *listeners)
        finished = trio.Event()
        nursery.start_soon(serve_doors, doors, finished)
        self.ports = (listeners[0].port, listeners[1].port)
        self._greet(*self.ports)

        async def drain() -> None:
            for door in doors:
                door.server.drain()
            await node.drain()
            with trio.move_on_after(FAREWELL_SECONDS):
                await finished.wait()

        return drain

    def _node(self, world: RealWorld, connect: Connector, deployments: Sequence[Deployment]) -> Node:
        return Node(
            world,
            self._configuration.limits,
            partition_count=self._configuration.partitions,
            deployments=deployments,
            connect=connect,
            observe=event_logger(self._logger),
        )

    def _doors(self, node: Node, ingress: Listener, admin: Listener) -> Sequence[Door]:
        configuration = self._configuration
        observe = event_logger(self._logger) if self._logger.filter.passes("debug", "ingress") else None
        names = configuration.allowed_hosts
        admin_checks: list[Check] = [HostCheck(configuration.admin.host, names, admin_error)]
        if configuration.admin_token is not None:
            admin_checks.append(TokenCheck(configuration.admin_token, admin_error))
        ingress_checks = [HostCheck(configuration.ingress.host, names, answers.refused)]
        endpoint = configuration.advertised or f"http://{Address(configuration.ingress.host, ingress.port)}/"
        own = version("understudy")
        return (
            Door(ingress, ingress_server(node, observe=observe, checks=ingress_checks)),
            Door(admin, admin_server(node, version=own, ingress_endpoint=endpoint, checks=admin_checks)),
        )

    def _greet(self, ingress_port: int, admin_port: int) -> None:
        configuration = self._configuration
        plain = configuration.logging.plain
        say(f"understudy {version('understudy')}", style="bold", plain=plain)
        say(f"  ingress   http://{Address(configuration.ingress.host, ingress_port)}")
        say(f"  admin     http://{Address(configuration.admin.host, admin_port)}")
        say(f"  data      {configuration.base_dir.resolve()}")
        for line in self._services.greet():
            say(f"  serves    {line}")
        say("  ready     (Ctrl-C drains and stops)", style="green", plain=plain)


def signer(pem_file: Path | None, world: RealWorld) -> Sign | None:
    """Who signs requests to endpoints, if a key is given.  Raises IdentityKeyError."""
    if pem_file is None:
        return None
    try:
        sign = signer_of(pem_file.read_bytes(), world.now_ms)
    except OSError as error:
        raise IdentityKeyError(f"the signing key {pem_file} cannot be read: {error.strerror}") from None
    except IdentityKeyError as error:
        raise IdentityKeyError(f"{pem_file}: {error}") from None
    say(f"  identity  {sign.public_key}")
    return sign


@asynccontextmanager
async def closing_unless_served() -> AsyncIterator[list[Listener]]:
    """A list of listeners, which are closed when what is done meanwhile fails."""
    listeners: list[Listener] = []
    try:
        yield listeners
    except BaseException:
        with trio.CancelScope(shield=True):
            for listener in listeners:
                await listener.aclose()
        raise


async def serve_doors(doors: Sequence[Door], finished: trio.Event) -> None:
    """Serve all *doors* until they have drained."""
    async with trio.open_nursery() as nursery:
        for door in doors:
            nursery.start_soon(door.server.serve, door.listener)
    finished.set()


async def listen(network: RealNetwork, address: Address, option: str) -> Listener:
    """Bind a port.  Raises PortTaken."""
    try:
        return await network.listen(address.host, address.port)
    except OSError as error:
        raise PortTaken(
            f"{address} cannot be bound ({error.strerror or error}): "
            f"stop what holds it, or choose another with {option} or --bind"
        ) from None
