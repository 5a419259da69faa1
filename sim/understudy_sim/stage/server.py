"""The server: a process that runs the product's node and ingress, unchanged, and is started again when it stops.

What the node tells through `observe` goes to the truth first and then to the watch, so that checkers always see a
record together with what the rules say about it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs
import outcome
import trio
from understudy_runtime.front import admin_server, refusal_page
from understudy_runtime.http.server import HttpServer
from understudy_runtime.ingress.port import Request
from understudy_runtime.ingress.shell import Ingress
from understudy_runtime.invoker.port import Connect
from understudy_runtime.machine.expiry import EXPIRY_TIMER
from understudy_runtime.model.events import Applied, Event
from understudy_runtime.node import Deployment, Node
from understudy_runtime.world import DiskFull, SyncFailed

from understudy_sim.kernel.kernel import Kernel
from understudy_sim.kernel.pipes import SimExchange
from understudy_sim.kernel.process import Process
from understudy_sim.stage.happenings import Replayed, ServerStopped, Step
from understudy_sim.stage.operator import ADMIN_PORT
from understudy_sim.stage.plan import Plan
from understudy_sim.stage.telling_errors import describe, only_of
from understudy_sim.stage.truth import Truth
from understudy_sim.stage.watch import Watch
from understudy_sim.stage.world import Host, SimWorld

SERVER: Final = "server"
EXCHANGE_PORT: Final = 8079
INGRESS_PORT: Final = 8080
# Errors a server may stop with when the disk is hurt: by name, at once, and nothing acknowledged is lost.
PROMISED_STOPS: Final = (SyncFailed, DiskFull)


@attrs.frozen
class Ways:
    """How a node reaches endpoints: the *given* deployments, and what makes the way to registered ones."""

    given: Sequence[Deployment]
    connect: Connect | None


Deploy = Callable[[Process, SimWorld], Ways]


class ServerProcess:
    """One server host.  `node` is the running incarnation's, None while it is down."""

    def __init__(self, kernel: Kernel, plan: Plan, truth: Truth, watch: Watch, deploy: Deploy) -> None:
        self.host = Host(kernel, kernel.choices, SERVER)
        self.process = self.host.process
        self.node: Node | None = None
        self.ingress: Ingress | None = None
        self.on_exit: Callable[[], object] | None = None
        self.failed: BaseException | None = None
        self._kernel = kernel
        self._plan = plan
        self._truth = truth
        self._watch = watch
        self._deploy = deploy
        self.process.on_down(self._process_down)

    def start(self) -> None:
        """Start the next incarnation."""
        self.process.start(self._main, on_exit=self._exited)

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
        }

    def _process_down(self, process: Process, *_: Any) -> None:
        self.node = None
        self.ingress = None
        self._truth.tables = [None] * len(self._truth.tables)
        self._watch.tell(ServerStopped(process.incarnation, "stopped"))

    def _exited(self, process: Process, result: outcome.Outcome[Any]) -> None:
        if not isinstance(result, outcome.Error):
            return
        if self._plan.has("failing_sync") and only_of(result.error, PROMISED_STOPS):
            assert self.on_exit is not None, "somebody starts a stopped server again"
            self.on_exit()
            return
        self.failed = result.error
        self._watch.broken("the server does not fail", describe(result.error))

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
        )
        self.node = node
        async with trio.open_nursery() as nursery:
            await nursery.start(node.run)
            self.ingress = Ingress(node, self._plan.limits, self._observe)
            if self._plan.hops.registered:
                admin = admin_server(node, version="rehearsal", ingress_endpoint=f"http://{SERVER}:{INGRESS_PORT}")
                nursery.start_soon(admin.serve, self._kernel.network.listen(self.process, ADMIN_PORT))
            if self._plan.hops.in_bytes:
                await self._serve_bytes(node, self.ingress)
            listener = self._kernel.network.listen(self.process, EXCHANGE_PORT, exchanges=True)
            while True:
                nursery.start_soon(self._serve, await listener.accept(), self.ingress)

    async def _serve_bytes(self, node: Node, ingress: Ingress) -> None:
        """The ingress on its own HTTP loops, over simulated streams; never returns."""
        http = HttpServer(ingress.handle, node.limits, now_ms=node.now_ms, refusal_page=refusal_page)
        await http.serve(self._kernel.network.listen(self.process, INGRESS_PORT))
        raise AssertionError("a server that is not drained serves for ever")

    async def _serve(self, exchange: SimExchange, ingress: Ingress) -> None:
        """One client's exchange.  When it breaks, what is still being answered on it is cancelled."""
        async with trio.open_nursery() as nursery:
            try:
                while True:
                    nursery.start_soon(_answer, exchange, await exchange.receive(), ingress)
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel):
                exchange.close()
                nursery.cancel_scope.cancel()

    def _observe(self, event: Event) -> None:
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
        known = self._truth.known(partition, record)
        if known is not None:
            self._watch.tell(Replayed(partition, record, known))
            return
        effects = self._truth.learn(partition, record)
        self._kernel.trace.note("record", partition, record.lsn, record.time_ms, type(record.command).__name__)
        self._watch.tell(Step(partition, record, tuple(event.actions), effects))


async def _answer(exchange: SimExchange, request: Request, ingress: Ingress) -> None:
    response = await ingress.handle(request)
    try:
        exchange.send(response)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return  # The client is gone; it will ask again by its key.
