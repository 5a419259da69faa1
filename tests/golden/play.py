"""The play that was recorded: one of everything a log can hold, over two lives of a server with two partitions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

import trio
import understudy
from trio.testing import MockClock
from understudy.endpoint import App
from understudy_runtime.invoker.inprocess import InProcessTransport
from understudy_runtime.limits import Limits
from understudy_runtime.model import ids
from understudy_runtime.model.commands import Cancel, Invoke, Signal
from understudy_runtime.model.events import Event
from understudy_runtime.model.invocation import Success, Target
from understudy_runtime.model.retention import retention_of
from understudy_runtime.node import Deployment, Node

from tests.runtime.node.fakes import FakeWorld

T = TypeVar("T")
PARTITIONS = 2
LIMITS = Limits(
    log_prewrite_bytes=64, segment_bytes_max=3_000, inactivity_timeout_ms=1_000, snapshot_log_bytes=4_000, flush_rows=50
)
HOUR = timedelta(hours=1)


def theatre() -> App:
    """Services of every kind, that call, wait, keep and promise."""
    echo = understudy.Service("Echo")
    seat = understudy.VirtualObject("Seat")
    order = understudy.Workflow("Order")

    @echo.handler("say")
    async def say(ctx: understudy.Context, text: str) -> str:
        return await ctx.run("say", lambda: text.upper())

    @echo.handler("nap")
    async def nap(ctx: understudy.Context, seconds: int) -> str:
        await ctx.sleep(timedelta(seconds=seconds))
        return "rested"

    @echo.handler("fail")
    async def fail(ctx: understudy.Context, text: str) -> str:
        raise understudy.TerminalError(text, status_code=418)

    @echo.handler("fan")
    async def fan(ctx: understudy.Context, count: int) -> int:
        total = 0
        for number in range(count):
            total += await ctx.object_call(hold, f"seat-{number}", "ann")
        ctx.service_send(nap, 7_200, send_delay=HOUR)
        return total

    @seat.handler("hold")
    async def hold(ctx: understudy.ObjectContext, user: str) -> int:
        held = (await ctx.get("held", type_hint=int) or 0) + 1
        ctx.set("held", held)
        ctx.set("user", user)
        return held

    @seat.handler("guard")
    async def guard(ctx: understudy.ObjectContext, text: str) -> str:
        ctx.clear("user")
        _, future = ctx.awakeable()
        await future
        return text

    @order.main("run")
    async def run(ctx: understudy.WorkflowContext, text: str) -> str:
        ctx.set("text", text)
        return str(await ctx.promise("paid").value())

    @order.handler("pay")
    async def pay(ctx: understudy.WorkflowSharedContext, text: str) -> None:
        await ctx.promise("paid").resolve(text)

    return understudy.app(services=[echo, seat, order])


class Host:
    """The process of the endpoint."""

    def __init__(self, world: FakeWorld, nursery: trio.Nursery) -> None:
        self._world = world
        self._nursery = nursery

    def now_ms(self) -> int:
        return self._world.now_ms()

    def monotonic_ms(self) -> int:
        return round(trio.current_time() * 1000)

    async def run_sync(self, function: Callable[[], T]) -> T:
        return function()

    def start_task(self, function: Callable[[], Awaitable[None]]) -> None:
        self._nursery.start_soon(function)

    def report_hazard(self, kind: str, detail: str, filename: str, line: int) -> None:
        raise AssertionError(f"{filename}:{line}: {kind} {detail}")


class Caller:
    """Requests to a node, by what an ingress would make of them."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def request(self, target: Target, payload: bytes, key: str | None, delay_ms: int = 0) -> Invoke:
        found = self.node.schema.resolve(target.service, target.handler)
        assert found is not None, "the app offers it"
        service, handler = found
        world = self.node.world
        now_ms = world.now_ms()
        return Invoke(
            ids.invocation_id_for(target, handler.type, key, now_ms, world.entropy(12)),
            target,
            service.type,
            handler.type,
            payload,
            idempotency_key=key,
            execution_time_ms=now_ms + delay_ms if delay_ms else 0,
            completion_retention_ms=retention_of(handler, self.node.limits, can_ask_again=key is not None).result_ms,
            retry_policy=handler.options.retry_policy(self.node.limits.retry_policy),
        )

    async def call(self, target: Target, payload: bytes, key: str | None = None) -> None:
        _, completed = await self.node.call(self.request(target, payload, key))
        assert completed is not None, "no conflict"

    async def send(self, target: Target, payload: bytes, key: str | None = None, delay_ms: int = 0) -> str:
        return (await self.node.submit(self.request(target, payload, key, delay_ms))).invocation_id


async def first_life(caller: Caller) -> None:
    await caller.call(Target("Echo", "say"), b'"hello"')
    await caller.call(Target("Echo", "say"), b'"kept"', "say-1")
    await caller.call(Target("Echo", "fail"), b'"no tea"', "fail-1")
    await caller.call(Target("Echo", "fan"), b"6", "fan-1")
    for number in range(3):
        await caller.send(Target("Seat", "guard", "seat-1"), b'"%d"' % number, f"guard-{number}")
    await caller.send(Target("Echo", "nap"), b"36000", "nap-1")
    await caller.send(Target("Echo", "nap"), b"1", "later-1", 7_200_000)
    await caller.send(Target("Order", "run", "o-1"), b'"one"')
    await caller.send(Target("Order", "run", "o-2"), b'"two"')
    await caller.call(Target("Order", "pay", "o-1"), b'"card"')
    await trio.sleep(30)


async def second_life(caller: Caller) -> None:
    guards = [
        one.id
        for partition in caller.node.partitions
        for one in sorted(partition.tables.live(), key=lambda one: one.idempotency_key or "")
        if one.target.handler == "guard"
    ]
    await caller.node.request(Signal(guards[0], 17, result=Success(b'"go"'), request_id=1))
    await caller.node.request(Cancel(guards[2], request_id=2))
    await caller.call(Target("Seat", "hold", "seat-3"), b'"bob"', "hold-1")
    await trio.sleep(30)


async def live(world: FakeWorld, life: Callable[[Caller], Awaitable[None]], observe: Callable[[Event], None]) -> None:
    """One server process, from start to a stop without a word."""
    app = theatre()
    async with trio.open_nursery() as nursery:
        transport = InProcessTransport(app, Host(world, nursery))
        deployment = Deployment("dp_1a", transport, app.manifest())
        node = Node(world, LIMITS, partition_count=PARTITIONS, deployments=[deployment], observe=observe)
        await nursery.start(node.run)
        await life(Caller(node))
        nursery.cancel_scope.cancel()


def recorded(observe: Callable[[Event], None] = lambda event: None) -> FakeWorld:
    """The world after the play."""
    world = FakeWorld()
    for life in (first_life, second_life):
        trio.run(live, world, life, observe, clock=MockClock(autojump_threshold=0))
    return world
