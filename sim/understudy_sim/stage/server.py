"""The server: a process that runs the product's node and ingress, unchanged, and is started again when it stops.

What the node tells through `observe` goes to the truth first and then to the watch, so that checkers always see a
record together with what the rules say about it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import attrs
import outcome
import trio
from understudy_runtime.admin.shell import Admin
from understudy_runtime.front import admin_server, refusal_page
from understudy_runtime.http.server import HttpServer
from understudy_runtime.ingress.port import Request, Response
from understudy_runtime.ingress.shell import Ingress
from understudy_runtime.invoker.port import Connect
from understudy_runtime.log.core import LogError
from understudy_runtime.machine.apply import RULES_CURRENT
from understudy_runtime.machine.expiry import EXPIRY_TIMER
from understudy_runtime.model.events import Applied, Event
from understudy_runtime.node import DataFolderError, Deployment, Node
from understudy_runtime.storage.port import StorageDamaged, StorageError
from understudy_runtime.world import DiskFull, SyncFailed

from understudy_sim.kernel.kernel import Kernel
from understudy_sim.kernel.nudge import Nudge
from understudy_sim.kernel.pipes import SimExchange
from understudy_sim.kernel.process import Process
from understudy_sim.stage.happenings import Replayed, ServerStopped, Step
from understudy_sim.stage.plan import Plan
from understudy_sim.stage.telling_errors import describe, only_of
from understudy_sim.stage.truth import Truth
from understudy_sim.stage.watch import Watch
from understudy_sim.stage.world import Host, SimWorld

SERVER: Final = "server"
ADMIN_PORT: Final = 9070
EXCHANGE_PORT: Final = 8079
ADMIN_EXCHANGE_PORT: Final = 9069
INGRESS_PORT: Final = 8080
# How long answers on their way may take to leave a server that has drained.
FAREWELL_S: Final = 1
# Errors a server may stop with when the disk is hurt: by name, at once, and nothing acknowledged is lost.
PROMISED_STOPS: Final = (SyncFailed, DiskFull)


# What a server stops with that finds what it had synced damaged.
DETECTIONS: Final = (LogError, StorageError, DataFolderError)


@attrs.frozen
class Ways:
    """How a node reaches endpoints: the *given* deployments, and what makes the way to registered ones."""

    given: Sequence[Deployment]
    connect: Connect | None


# What an older build knows.
RULES_BEFORE: Final = 1

Deploy = Callable[[Process, SimWorld], Ways]
Handle = Callable[[Request], Awaitable[Response]]
INGRESS_ADDRESS: Final = f"http://{SERVER}:{INGRESS_PORT}"
VERSION: Final = "rehearsal"


class ServerProcess:
    """One server host.  `node` is the running incarnation's, None while it is down."""

    def __init__(self, kernel: Kernel, plan: Plan, truth: Truth, watch: Watch, deploy: Deploy) -> None:
        self.host = Host(kernel, kernel.choices, SERVER, plan.store_gone_thousandths)
        self.process = self.host.process
        self.node: Node | None = None
        self.ingress: Ingress | None = None
        self.on_exit: Callable[[], object] | None = None
        self.failed: BaseException | None = None
        self.noticed: BaseException | None = None  # why it stopped for good, as it may when its data is damaged
        self.rules_max = RULES_CURRENT if plan.upgrade is None else RULES_BEFORE
        self.has_admin = plan.hops.registered  # somebody will ask the admin
        self._kernel = kernel
        self._plan = plan
        self._truth = truth
        self._watch = watch
        self._deploy = deploy
        self._stop = Nudge()
        self._back_after_ns = 0
        self._refusals = 0  # of the disk, before this incarnation
        self.process.on_down(self._process_down)

    def start(self) -> None:
        """Start the next incarnation."""
        self._stop = Nudge()
        self._refusals = self.host.medium.refusals
        self.process.start(self._main, on_exit=self._exited)

    def drain(self, back_after_ns: int) -> bool:
        """Tell it to stop; it is started again so long after it has exited.  False when it does not serve now."""
        if not self._stop.wake():
            return False
        self._back_after_ns = back_after_ns
        return True

    @property
    def writes_a_snapshot(self) -> bool:
        """Whether some partition is in the middle of one."""
        return self.node is not None and any(partition.is_writing_snapshot for partition in self.node.partitions)

    def upgrade(self) -> None:
        """From its next start on the server is of the current build.  The old one is killed; the disk's cache stays."""
        self.rules_max = RULES_CURRENT
        if self.process.alive:
            self.process.crash(power=False)

    def counts(self) -> dict[str, int]:
        """What the running server holds for others, by name (P10)."""
        node, ingress = self.node, self.ingress
        assert node is not None, "P10: counts are taken of a running server"
        assert ingress is not None, "P10: counts are taken of a running server"
        return {
            "requests in flight": ingress.in_flight,
            "waiters for an acknowledgement": node.replies.ack_count,
            "waiters for a result": node.replies.result_count,
            "running attempts": sum(invoker.running_count for invoker in node.invokers),
            "leases not settled": sum(invoker.job_count for invoker in node.invokers),
            "queued commands": sum(partition.queue_length for partition in node.partitions),
            "messages to other partitions": sum(
                len(rows) for one in node.partitions for rows in one.tables.outbox.values()
            ),
            "armed timers without a row": sum(
                timer_id != EXPIRY_TIMER and timer_id not in partition.tables.timers
                for effects, partition in zip(node.effects, node.partitions, strict=True)
                for timer_id in effects.timers.ids
            ),
            "files open besides the end of each log": self._more_files(),
        }

    def _more_files(self) -> int:
        """Of each log it writes to one file; all that it only reads from is closed again."""
        folders = [path.rpartition("/")[0] for path in self.host.medium.open_paths(self.process.runner)]
        return len(folders) - len(dict.fromkeys(folders))

    def _process_down(self, process: Process, *_: Any) -> None:
        self.node = None
        self.ingress = None
        self._truth.tables = [None] * len(self._truth.tables)
        self._truth.unanswered = tuple
        self._watch.tell(ServerStopped(process.incarnation, "stopped"))

    def _exited(self, process: Process, result: outcome.Outcome[Any]) -> None:
        if not isinstance(result, outcome.Error):
            self._kernel.call_later(self._back_after_ns, self._start_again)
            return
        if self.host.medium.damages and only_of(result.error, DETECTIONS):
            self.noticed = self.failed = result.error  # There is no second copy: it stays down.
            return
        if self._is_promised(result.error):
            assert self.on_exit is not None, "somebody starts a stopped server again"
            self.on_exit()
            return
        self.failed = result.error
        self._watch.broken("the server does not fail", describe(result.error))

    def _is_promised(self, error: BaseException) -> bool:
        """Whether the disk or a store was hurt since the start, and *error* says what was seen of that."""
        if only_of(error, PROMISED_STOPS):
            return self.host.medium.refusals > self._refusals
        return self.host.stores_damaged > 0 and only_of(error, (StorageDamaged,))

    def _start_again(self, _: object) -> None:
        if not self.process.alive:
            self.start()

    async def _main(self) -> None:
        world = SimWorld(self.host)
        ways = self._deploy(self.process, world)
        node = Node(
            world,
            self._plan.limits,
            partition_count=self._plan.partition_count,
            deployments=ways.given,
            connect=ways.connect,
            observe=self._observe,
            rules_max=self.rules_max,
        )
        self.node = node
        async with trio.open_nursery() as nursery:
            await nursery.start(node.run)
            self.ingress = Ingress(node, self._plan.limits, self._observe)
            doors = self._doors(node, self.ingress)
            finished = trio.Event()
            nursery.start_soon(self._serve_doors, doors, finished)
            nursery.start_soon(self._drain_when_told, node, [server for server, _ in doors], finished, nursery)
            if self.has_admin and not self._plan.hops.in_bytes:
                admin = Admin(node, version=VERSION, ingress_endpoint=INGRESS_ADDRESS)
                nursery.start_soon(self._listen, ADMIN_EXCHANGE_PORT, admin.handle)
            await self._listen(EXCHANGE_PORT, self.ingress.handle)

    async def _listen(self, port: int, handle: Handle) -> None:
        """Serve exchanges."""
        listener = self._kernel.network.listen(self.process, port, exchanges=True)
        async with trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(self._serve, await listener.accept(), handle)

    def _doors(self, node: Node, ingress: Ingress) -> list[tuple[HttpServer, int]]:
        """What serves bytes, and on which port: nothing when the hops carry none."""
        hops, doors = self._plan.hops, []
        if hops.in_bytes:
            http = HttpServer(ingress.handle, node.limits, now_ms=node.now_ms, refusal_page=refusal_page)
            doors.append((http, INGRESS_PORT))
        if hops.in_bytes and self.has_admin:
            doors.append((admin_server(node, version=VERSION, ingress_endpoint=INGRESS_ADDRESS), ADMIN_PORT))
        return doors

    async def _serve_doors(self, doors: Sequence[tuple[HttpServer, int]], finished: trio.Event) -> None:
        """Serve until all have drained."""
        async with trio.open_nursery() as nursery:
            for server, port in doors:
                nursery.start_soon(server.serve, self._kernel.network.listen(self.process, port))
        finished.set()

    async def _drain_when_told(
        self, node: Node, servers: Sequence[HttpServer], finished: trio.Event, nursery: trio.Nursery
    ) -> None:
        """What the command line does at SIGTERM."""
        await self._stop.taken()
        for server in servers:
            server.drain()
        await node.drain()
        with trio.move_on_after(FAREWELL_S):
            await finished.wait()
        nursery.cancel_scope.cancel()

    async def _serve(self, exchange: SimExchange, handle: Handle) -> None:
        """One client's exchange.  When it breaks, what is still being answered on it is cancelled."""
        async with trio.open_nursery() as nursery:
            try:
                while True:
                    nursery.start_soon(_answer, exchange, await exchange.receive(), handle)
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel):
                exchange.close()
                nursery.cancel_scope.cancel()

    def _observe(self, event: Event) -> None:
        if self.host.stores_damaged:
            with self.host.legible():
                self._tell(event)
        else:
            self._tell(event)

    def _tell(self, event: Event) -> None:
        if type(event) is Applied:
            self._applied(event)
        else:
            self._watch.tell(event)

    def _applied(self, event: Applied) -> None:
        partition, record = event.partition, event.record
        node = self.node
        if node is None:  # Cut in the middle of its own step: the rest of the step is void.
            return
        self._truth.tables[partition] = node.partitions[partition].tables
        self._truth.unanswered = lambda: node.replies.unanswered
        known = self._truth.known(partition, record)
        if known is not None:
            self._watch.tell(Replayed(partition, record, known))
            return
        effects = self._truth.learn(partition, record)
        self._kernel.trace.note("record", partition, record.lsn, record.time_ms, type(record.command).__name__)
        self._watch.tell(Step(partition, record, tuple(event.actions), effects))


async def _answer(exchange: SimExchange, request: Request, handle: Handle) -> None:
    response = await handle(request)
    try:
        exchange.send(response)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return  # The client is gone; it will ask again by its key.
