"""All processes of one rehearsal: a server, an endpoint, external services and clients, in one kernel world.

This file joins and starts; it draws nothing and checks nothing.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import outcome
import trio
from understudy.api.regions import REGION
from understudy_runtime.http.connect import connector
from understudy_runtime.http.deployment import HttpTransport
from understudy_runtime.model.actions import Action, ArmTimer
from understudy_runtime.model.commands import Delivered
from understudy_runtime.model.endpoint import Endpoint
from understudy_runtime.model.events import (
    AttemptStarted,
    Event,
    LeadershipTaken,
    LogTailCut,
    LogTrimmed,
    SnapshotAbandoned,
    SnapshotWritten,
    StorageRestored,
)
from understudy_runtime.model.invocation import Status
from understudy_runtime.node import Deployment

from understudy_sim.kernel.clock import NS_PER_MS
from understudy_sim.kernel.fence import Hazard, Zone
from understudy_sim.kernel.kernel import MAIN, Kernel
from understudy_sim.kernel.process import Process
from understudy_sim.kernel.waiters import relative
from understudy_sim.stage.aim import Moments
from understudy_sim.stage.attendant import Attendant, Attending
from understudy_sim.stage.client import BytesConnection, Client, Connection, ExchangeConnection
from understudy_sim.stage.directory import Directory, check_targets
from understudy_sim.stage.endpoint import ENDPOINT, HTTP_PORT, EndpointProcess
from understudy_sim.stage.endpoint import EXCHANGE_PORT as ENDPOINT_PORT
from understudy_sim.stage.exchange import ExchangeTransport
from understudy_sim.stage.external import External, ExternalProcess
from understudy_sim.stage.guest import NOT_JUDGED, GuestProcess
from understudy_sim.stage.guest_sdk import answered, is_its_own
from understudy_sim.stage.h2_way import H2Way
from understudy_sim.stage.happenings import BodyStarted, HazardSeen, Step, StepExecuted
from understudy_sim.stage.history import History
from understudy_sim.stage.operations import Call, NameTaken, Operation
from understudy_sim.stage.operator import OPERATOR, Operator
from understudy_sim.stage.plan import Hop, Plan, Upgrade
from understudy_sim.stage.points import Passing, Points, fate_of, unsynced_at
from understudy_sim.stage.server import ADMIN_EXCHANGE_PORT, ADMIN_PORT, INGRESS_PORT, SERVER, ServerProcess, Ways
from understudy_sim.stage.server import EXCHANGE_PORT as SERVER_PORT
from understudy_sim.stage.tally import Firing, Tally
from understudy_sim.stage.truth import Truth
from understudy_sim.stage.variation import BadVariation, PointCrash
from understudy_sim.stage.visitor import Visitor
from understudy_sim.stage.watch import Watch
from understudy_sim.stage.world import SimWorld

if TYPE_CHECKING:
    from understudy_sim.stage.application import Application

ADDRESS: Final = f"http://{ENDPOINT}:{HTTP_PORT}"
# A sync of the server's disk while a snapshot is being written.
SNAPSHOT: Final = "server, snapshot"
DELIVERY: Final = "server, delivery"
TIMER: Final = "server, timer"
# The process all customers share who speak HTTP/2.
CUSTOMERS: Final = "customers"
RESTART_MS_MAX = 5_000
# What a cut of these is counted as.
CUT_KINDS: Final = MappingProxyType({SERVER: "server_crash"})
UPGRADE_TAKES_MS = 500
# Of the protocol: the newest, and the one before.
VERSIONS = (6, 5)
# What of the server's events is counted for the page at the end of a search.
NOTED: Final = MappingProxyType[type, str](
    {
        SnapshotWritten: "snapshot written",
        SnapshotAbandoned: "snapshot given up",
        LogTrimmed: "log trimmed",
        StorageRestored: "store restored",
        LogTailCut: "torn tail cut",
    }
)


class Cluster:
    """Builds the processes of one seed and starts them again when they stop."""

    def __init__(
        self,
        kernel: Kernel,
        plan: Plan,
        truth: Truth,
        watch: Watch,
        tally: Tally,
        application: Application,
        later: Sequence[Application] = (),
    ) -> None:
        self.kernel = kernel
        self._is_syncing = False
        self.plan = plan
        self.truth = truth
        self.watch = watch
        self.tally = tally
        self.history = History()
        self.application = application
        self._later = tuple(later)
        # What the applications offer, as far as it is known how they are hosted.
        self.offered = [one.manifest for one in (application, *later) if not one.is_guest]
        self.server = ServerProcess(kernel, plan, truth, watch, self._deploy)
        self.directory = Directory((), {"services": []})
        for one in (application, *later):
            if one.is_guest:
                _ = one.manifest  # Now: it is asked in a world of its own, and worlds do not nest.
        bodies = itertools.count(1)
        names = [ENDPOINT, *(f"{ENDPOINT}-{number}" for number in range(1, len(later) + 1))]
        self.endpoints: list[EndpointProcess] = [
            (GuestProcess if one.is_guest else EndpointProcess)(kernel, plan, watch, one.load, name, bodies)
            for name, one in zip(names, (application, *later), strict=True)
        ]
        self.endpoint = self.endpoints[0]
        self.attendants: list[Attendant] = []
        self._attending: list[tuple[str, Attending]] = []
        self.visitor: Visitor | None = None
        self.externals: list[ExternalProcess] = []
        self.clients: list[Client] = []
        self.client_names: list[str] = []  # their processes
        self.operator: Operator | None = None
        self.moments = Moments()
        self.points = Points(kernel, truth, watch)
        for endpoint in self.endpoints:
            endpoint.points = self.points
        self.comers: dict[str, Callable[[], object]] = {}  # clients' processes, and how each comes back
        self.is_scripted = False  # a script may ask for anything at any time
        self._is_open = False  # clients may come
        self._healed = False
        self._bidi, self._version = plan.bidi, plan.protocol_version
        self._leaders: dict[int, None] = {}  # partitions led since the upgrade
        self.crash_at: PointCrash | None = None
        watch.subscribe({BodyStarted: self._body_started, AttemptStarted: self._attempt_started, Step: self._step})
        watch.subscribe({LeadershipTaken: self._led})
        self.server.host.medium.on_sync = self._sync
        self.server.on_exit = self._restart_later
        watch.subscribe(dict.fromkeys(NOTED, self._noted))

    @property
    def hosts(self) -> list[str]:
        """Names of all processes a fault may hurt, clients last."""
        endpoints = [one.process.name for one in self.endpoints]
        names = [SERVER, *endpoints, *(one.external.name for one in self.externals)]
        return [*names, *self.client_names]

    @property
    def addresses(self) -> list[str]:
        """Where the endpoints are registered, in the order of their applications."""
        return [f"http://{one.process.name}:{HTTP_PORT}" for one in self.endpoints]

    @property
    def serves(self) -> bool:
        """Whether clients may come, and meet a server and endpoints that are ready."""
        if not self._is_open or self.server.ingress is None:
            return False
        listens = self.kernel.network.listens
        port = HTTP_PORT if self.plan.hops.in_bytes else ENDPOINT_PORT
        return all(listens(one.process.name, port) for one in self.endpoints)

    @property
    def done(self) -> bool:
        """Whether all customers, and the operator, have what they wanted."""
        if self.operator is not None and not self.operator.done:
            return False
        return all(client.done for client in self.clients)

    def add_external(self, external: External[Any]) -> None:
        """A service that starts with the cluster."""
        process = ExternalProcess(self.kernel, external, self.plan, self.tally, self.moments)
        process.points = self.points
        self.externals.append(process)

    def add_attendant(self, name: str, attending: Attending) -> None:
        """Somebody who watches the server through its admin."""
        self._attending.append((name, attending))

    def start(self, operations: Sequence[Operation]) -> None:
        """Start everything; each client gets its own operations.  Raises BadVariation, NameTaken, NobodyOffers."""
        if self.plan.upgrade is not None:
            self.kernel.call_at(self.plan.upgrade.at_ns, self._upgrade, self.plan.upgrade)
        self._announce(operations)
        self.server.start()
        for endpoint in self.endpoints:
            endpoint.start()
        for external in self.externals:
            external.start()
        customers: dict[str, list[Operation]] = {}
        for operation in operations:
            customers.setdefault(operation.client, []).append(operation)
        taken = {*self.hosts, OPERATOR, CUSTOMERS, *(name for name, _ in self._attending)}
        for name in customers:
            if name in taken:
                raise NameTaken(f"a client is called {name!r}, as a process of the rehearsal is: give it another name")
        hops = self.plan.hops
        self.client_names = [CUSTOMERS] if hops.client is Hop.H2 else list(customers)
        self._start_attendants()
        self._check_victims()
        if not hops.registered:
            self._start_clients(customers)
            return
        process = self.kernel.process(OPERATOR)
        self.operator = Operator(
            self.kernel,
            self.plan,
            self.watch,
            self.moments,
            connection=BytesConnection(self.kernel.network, process, SERVER, ADMIN_PORT),
            address=ADDRESS,
            opened=lambda: self._start_clients(customers),
            registered=self.directory.deployments.__setitem__,
            others_deploy=lambda: any(not client.done for client in self.clients),
        )
        self.operator.start()

    def _check_victims(self) -> None:
        """Raises BadVariation where a power cut at a point is to hit somebody who is not there."""
        victims = self.crash_at.victim if self.crash_at is not None else ""
        for name in victims.split("+") if victims else ():
            if name not in (*self.hosts, *self.kernel.processes):
                raise BadVariation(f"{name!r} is to lose its power; there are: {', '.join(self.hosts)}")

    def _announce(self, operations: Sequence[Operation]) -> None:
        """Prepare for what is going to be asked."""
        check_targets(operations, [one.manifest for one in (self.application, *self._later)])
        is_http_11 = self.plan.hops.endpoint is Hop.H1
        self.directory = Directory(operations, self.application.manifest, self.addresses, is_http_11=is_http_11)
        self.watch.subscribe({Step: self.directory.step})
        acts = self.visitor is not None or any(not isinstance(one, Call) for one in operations)
        self.server.has_admin = self.plan.hops.registered or acts or self.is_scripted or bool(self._attending)

    def _start_attendants(self) -> None:
        for name, attending in self._attending:
            attendant = Attendant(self.kernel, name, attending, self.moments, self.connect_admin)
            self.client_names.append(name)
            self.attendants.append(attendant)
            attendant.start()

    def _upgrade(self, upgrade: Upgrade) -> None:
        """Replace the server by one of the current build, and perhaps take its power soon."""
        self.server.upgrade()
        self.tally.noted("upgraded")
        self._leaders.clear()
        later_ns = UPGRADE_TAKES_MS * NS_PER_MS
        self.kernel.call_later(later_ns, self.restart, SERVER)
        if upgrade.cut_after_ms is not None:
            self.kernel.call_later(later_ns + upgrade.cut_after_ms * NS_PER_MS, self._cut_upgraded)

    def _cut_upgraded(self, _: object) -> None:
        process = self.server.process
        if not process.alive or self.server.failed is not None:
            return
        if len(self._leaders) < self.plan.partition_count:
            self.tally.noted("cut in its upgrade")
        self.tally.firing(Firing("server_crash", f"{SERVER}, upgraded", self.kernel.now_ns, ("plan/upgrade_cut", 0)))
        process.crash()
        self.kernel.call_later(RESTART_MS_MAX * NS_PER_MS, self.restart, SERVER)

    def _led(self, event: LeadershipTaken) -> None:
        self._leaders[event.partition] = None

    def _noted(self, event: Event) -> None:
        """Something that must have been seen in enough seeds."""
        if isinstance(event, StorageRestored):
            self.tally.noted("started from a snapshot" if event.lsn else "store rebuilt from the log")
        else:
            self.tally.noted(NOTED[type(event)])

    def _body_started(self, event: BodyStarted) -> None:
        for endpoint in self.endpoints:
            if event.body in endpoint.running:
                self.moments.begins(endpoint.process.name)

    def _attempt_started(self, _: AttemptStarted) -> None:
        for endpoint in self.endpoints:
            self.moments.begins(f"{SERVER} > {endpoint.process.name}")

    def _step(self, step: Step) -> None:
        if type(step.record.command) is Delivered:
            self.moments.begins(DELIVERY)
        if self.moments.awaits(TIMER):
            self._await_timer(step.actions)

    def _await_timer(self, actions: Sequence[Action]) -> None:
        """A timer comes due: by a clock that does not jump before."""
        for action in actions:
            if type(action) is ArmTimer and self.server.host.process.alive:
                wait_ms = action.due_ms - self.server.host.process.wall.now_ms()
                self.kernel.call_later(max(0, wait_ms) * NS_PER_MS, self._timer_is_due)

    def _timer_is_due(self, _: object) -> None:
        if self._is_syncing:  # Its record has to wait for the next batch.
            self.moments.begins(TIMER)

    def _sync(self, ordinal: int, phase: str) -> None:
        self._is_syncing = phase == "before"
        if phase == "before":
            self.moments.begins(SERVER)
            if self.server.writes_a_snapshot:
                self.moments.begins(SNAPSHOT)

    def cut(self, name: str, *, power: bool = True, unsynced: str = "", detail: int = 0, why: str = "") -> None:
        """The process *name* is gone, now; without *power* only it, not what its disk caches.

        *unsynced* (one of `UNSYNCED`) says what becomes of what its disk had not synced; empty: as drawn.  *detail*
        seeds what is left to choose.
        """
        process = self.kernel.process(name)
        medium = self.kernel.media.get(name)
        kind = CUT_KINDS.get(name) or ("endpoint_crash" if name.startswith(ENDPOINT) else "provider_down")
        kind = "client_crash" if name in self.comers else kind
        self.tally.firing(Firing(kind, f"{name}{', ' if why else ''}{why}", self.kernel.now_ns, ("", 0)))
        if medium is None or not unsynced:
            process.crash(power=power)
            return
        before, medium.fate = medium.fate, lambda: fate_of(unsynced, detail)
        process.crash(power=power)
        medium.fate = before

    def _cut_at(self, crash: PointCrash) -> None:
        """Take the power of the victims of *crash*, and give it back a little later."""
        for name in (crash.victim or crash.process).split("+"):
            if self.kernel.process(name).alive:
                self.cut(name, unsynced=unsynced_at(crash.point, crash.side), detail=crash.nth, why=str(crash))
                self.kernel.call_later(RESTART_MS_MAX * NS_PER_MS, self.restart, name)

    def stop_at(self, crash: PointCrash | None) -> None:
        """Cut the power where *crash* says."""
        self.crash_at = crash
        if crash is None:
            return
        side = "after" if crash.side == "torn" and crash.point == "disk.write" else crash.side.replace("torn", "before")

        def passed(one: Passing) -> None:
            if (one.process, one.point, one.nth, one.side) == (crash.process, crash.point, crash.nth, side):
                self._cut_at(crash)

        self.points.listen(passed, (crash.point,))

    def zone(self) -> Zone:
        """Whose code is running, for the fence."""
        process = self.kernel.current_process
        if process is None or process.name == MAIN or process.name in (*self.client_names, OPERATOR):
            return Zone.OUTSIDE
        endpoint = next((one for one in self.endpoints if one.process is process), None)
        if endpoint is None:
            # An external service is the scenario's own code: it gets its process's clock and entropy.
            return Zone.PRODUCT if process is self.server.process else Zone.RUN
        region = REGION.get()
        if endpoint.loading or (region is None and isinstance(endpoint, GuestProcess)):
            return Zone.RUN  # A guest's libraries have no World to ask.
        return _ZONES[region]

    @property
    def not_judged(self) -> tuple[str, ...]:
        """Which claims are not judged here, and why."""
        has_guest = any(isinstance(one, GuestProcess) for one in self.endpoints)
        return tuple(f"{claim}: {why}" for claim, why in NOT_JUDGED.items()) if has_guest else ()

    @contextmanager
    def guests(self) -> Iterator[None]:
        """Answer for the official SDK while the block runs, where there is a guest."""
        if not any(isinstance(one, GuestProcess) for one in self.endpoints):
            yield
            return
        with answered(self._wall_ms, lambda id_, step: self.watch.tell(StepExecuted(id_, step))):
            yield

    def _wall_ms(self) -> int:
        process = self.kernel.current_process
        assert process is not None, "code of a guest runs in its process"
        return process.wall.now_ms()

    def fenced(self, hazard: Hazard) -> None:
        """The fence saw somebody reach for the real world."""
        if hazard.zone is Zone.HANDLER and is_its_own(hazard.filename):
            return
        text = f"{hazard.kind}() is called in {hazard.function}, outside ctx.run: every attempt gets another answer"
        if hazard.zone is not Zone.HANDLER:
            text = f"{hazard.kind}() is called in {hazard.function}: no replay can repeat it; use {hazard.instead}"
        self.watch.tell(HazardSeen("the real world", text, relative(hazard.filename), hazard.line))

    def busy(self, name: str) -> bool:
        """Whether a fault of process *name* now would hurt something in flight."""
        if name == SERVER:
            return any(
                inv.status is not Status.COMPLETED for model in self.truth.models for inv in model.invocations.values()
            )
        for endpoint in self.endpoints:
            if name == endpoint.process.name:
                return bool(endpoint.running)
        return any(name in one.link for one in self.kernel.network.connections.values())

    def restart(self, name: str) -> None:
        """Start the process called *name* again."""
        starters: dict[str, Any] = {SERVER: self.server, **{one.process.name: one for one in self.endpoints}}
        starters.update({one.external.name: one for one in self.externals})
        if name in self.comers:
            if not self.kernel.process(name).alive:
                self.comers[name]()
            return
        if not starters[name].process.alive and self.server.failed is None:
            starters[name].start()

    def heal(self) -> None:
        """Faults are over: everybody up, everybody patient."""
        self._healed = True
        if self.operator is not None:
            self.operator.healed = True
        for client in self.clients:
            client.healed = True
        for external in self.externals:
            external.healed = True
            if not external.process.alive:
                external.start()
        processes: list[ServerProcess | EndpointProcess] = [self.server, *self.endpoints]
        for one in processes:
            if not one.process.alive:
                one.start()
        for name in self.comers:
            self.restart(name)

    def dismiss(self) -> None:
        """All is quiet: attendants have nothing to watch."""
        for attendant in self.attendants:
            attendant.stop()

    def _start_clients(self, customers: Mapping[str, Sequence[Operation]]) -> None:
        """The customers come: each a process of its own, or all of one, who share its HTTP/2 connections."""
        self._is_open = True
        if self.visitor is not None:
            self.client_names.append(self.visitor.name)
            self.visitor.start()
        if self.plan.hops.client is not Hop.H2:
            for name, operations in customers.items():
                self._come_alone(name, operations)
            return
        process = self.kernel.process(CUSTOMERS)
        way = H2Way(self.kernel.network, process, SERVER, INGRESS_PORT, self.watch)
        clients = [self.client(name, process, operations, way.connection()) for name, operations in customers.items()]

        async def together() -> None:
            async with trio.open_nursery() as nursery:
                for client in clients:
                    nursery.start_soon(client.run)

        def come_back() -> None:
            way = H2Way(self.kernel.network, process, SERVER, INGRESS_PORT, self.watch)
            for client in clients:
                client.comes_back(way.connection(), self.connect_admin(process))
            process.start(way.hold, together, on_exit=_must_not_fail)

        self.comers[CUSTOMERS] = come_back
        process.start(way.hold, together, on_exit=_must_not_fail)

    def _come_alone(self, name: str, operations: Sequence[Operation]) -> None:
        process = self.kernel.process(name)
        client = self.client(name, process, operations, self.connect(process))

        def come_back() -> None:
            client.comes_back(self.connect(process), self.connect_admin(process))
            process.start(client.run, on_exit=_must_not_fail)

        self.comers[name] = come_back
        process.start(client.run, on_exit=_must_not_fail)

    def client(self, name: str, process: Process, operations: Sequence[Operation], connection: Connection) -> Client:
        """One more client, in *process*."""
        client = Client(
            self.kernel,
            self.kernel.choices,
            name,
            operations,
            host=process.name,
            connection=connection,
            admin=self.connect_admin(process),
            directory=self.directory,
            history=self.history,
            watch=self.watch,
            moments=self.moments,
        )
        client.healed = self._healed
        client.points = self.points
        self.clients.append(client)
        return client

    def connect(self, process: Process) -> Connection:
        """A new way from *process* to the ingress, where that is not HTTP/2."""
        if self.plan.hops.client is Hop.H1:
            return BytesConnection(self.kernel.network, process, SERVER, INGRESS_PORT)
        return ExchangeConnection(self.kernel.network, process, SERVER, SERVER_PORT)

    def connect_admin(self, process: Process) -> Connection:
        """A new way from *process* to the admin."""
        if self.plan.hops.in_bytes:
            return BytesConnection(self.kernel.network, process, SERVER, ADMIN_PORT)
        return ExchangeConnection(self.kernel.network, process, SERVER, ADMIN_EXCHANGE_PORT)

    def _deploy(self, process: Process, world: SimWorld) -> Ways:
        """How the server reaches the endpoint: it is given the way, or told it by the operator."""
        hops = self.plan.hops
        if hops.registered:
            return Ways((), connector(world, self.plan.limits))
        manifest = dict(self.application.manifest)
        manifest["maxProtocolVersion"] = self._version
        manifest["protocolMode"] = "BIDI_STREAM" if self._bidi else "REQUEST_RESPONSE"
        if hops.endpoint is Hop.H2:
            connect = connector(world, self.plan.limits)
            transport = connect(Endpoint(uri=ADDRESS, bidirectional=self._bidi))
            return Ways((Deployment(self.application.deployment_id, transport, manifest),), connect)
        if hops.endpoint is Hop.H1:
            http = HttpTransport(world, ENDPOINT, HTTP_PORT, bidi=self._bidi)
            return Ways((Deployment(self.application.deployment_id, http, manifest),), None)
        exchange = ExchangeTransport(
            self.kernel.network,
            process,
            ENDPOINT,
            ENDPOINT_PORT,
            bidi=self._bidi,
            manifest=json.dumps(manifest).encode(),
        )
        return Ways((Deployment(self.application.deployment_id, exchange, manifest),), None)

    def swap(self, *, bidi: bool, older: bool) -> None:
        """From the server's next start on, the endpoint says this of itself."""
        self._bidi, self._version = bidi, VERSIONS[older]
        self.tally.noted(f"now version {self._version}, {'bidi' if bidi else 'in turns'}")

    def _restart_later(self) -> None:
        """The server stopped by itself, as promised for a disk that fails: somebody starts it again."""
        delay_ms = self.kernel.choices.integer("restart/server", 50, RESTART_MS_MAX)
        self.kernel.call_later(delay_ms * NS_PER_MS, self.restart, SERVER)


_ZONES: Mapping[str | None, Zone] = {None: Zone.PRODUCT, "handler": Zone.HANDLER, "run": Zone.RUN}


def _must_not_fail(process: Process, result: outcome.Outcome[Any]) -> None:
    result.unwrap()
