"""What type checkers make of the SDK: never run, only checked (see `test_typing.py`)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, assert_type

import attrs
from understudy import (
    CallFuture,
    Client,
    ClientSendHandle,
    Context,
    DurableFuture,
    DurablePromise,
    ObjectContext,
    ObjectSharedContext,
    RunOptions,
    SendHandle,
    Service,
    VirtualObject,
    Workflow,
    WorkflowContext,
    WorkflowSharedContext,
    as_completed,
    create_client,
    current_context,
    gather,
    select,
    wait_completed,
)

service = Service("Service")
counter = VirtualObject("Counter")
flow = Workflow("Flow")


@attrs.frozen
class Order:
    seats: list[str]


@attrs.frozen
class Receipt:
    total: float


@service.handler()
async def greet(ctx: Context, name: str) -> str:
    return name


@service.handler(name="named", idempotency_retention=timedelta(hours=1))
async def buy(ctx: Context, order: Order) -> Receipt:
    return Receipt(1.5)


@service.handler()
async def ping(ctx: Context) -> None: ...


@service.handler()
async def clock(ctx: Context) -> int:
    return 1


@counter.handler()
async def add(ctx: ObjectContext, amount: int) -> int:
    return amount


@counter.handler(kind="shared", enable_lazy_state=True)
async def names(ctx: ObjectSharedContext) -> list[str]:
    return []


@flow.main(workflow_retention=timedelta(days=1))
async def run(ctx: WorkflowContext, order: Order) -> Receipt | None:
    return None


@flow.handler()
async def approve(ctx: WorkflowSharedContext, ok: bool) -> bool:
    return ok


async def decorated_handlers_keep_their_types(ctx: Any) -> None:
    assert_type(await greet(ctx, "you"), str)
    assert_type(await add(ctx, 1), int)
    assert_type(await run(ctx, Order([])), Receipt | None)


async def calls(ctx: Context) -> None:
    assert_type(ctx.service_call(greet, "you"), CallFuture[str])
    assert_type(await ctx.service_call(greet, arg="you"), str)
    assert_type(await ctx.service_call(buy, Order([]), idempotency_key="k", headers={"a": "b"}), Receipt)
    assert_type(await ctx.service_call(ping, None), None)
    assert_type(await ctx.service_call(clock, None), int)
    assert_type(await ctx.object_call(add, key="k", arg=1), int)
    assert_type(await ctx.object_call(names, "k", None), list[str])
    assert_type(await ctx.workflow_call(run, "k", Order([])), Receipt | None)
    assert_type(await ctx.workflow_call(approve, key="k", arg=True), bool)
    assert_type(await ctx.generic_call("Service", "greet", b""), bytes)
    assert_type(await ctx.service_call(greet, "you").invocation_id(), str)


async def sends(ctx: Context) -> None:
    assert_type(ctx.service_send(greet, "you"), SendHandle)
    assert_type(ctx.object_send(add, key="k", arg=1, send_delay=timedelta(1)), SendHandle)
    assert_type(ctx.workflow_send(run, "k", Order([])), SendHandle)
    assert_type(await ctx.generic_send("Service", "greet", b"").invocation_id(), str)


def compute(left: int, right: int = 0) -> float:
    return left / right


async def fetch(url: str) -> Receipt:
    return Receipt(len(url))


def nothing() -> None: ...


async def runs(ctx: Context) -> None:
    assert_type(ctx.run_typed("sync", compute, RunOptions(max_attempts=3), 1, right=2), DurableFuture[float])
    assert_type(await ctx.run_typed("async", fetch, RunOptions(), "url"), Receipt)
    assert_type(await ctx.run_typed("lambda", lambda: 7), int)
    assert_type(await ctx.run_typed("nothing", nothing), None)
    assert_type(await ctx.run("sync", compute, args=(1,)), float)
    assert_type(await ctx.run("async", fetch, args=("url",)), Receipt)
    assert_type(await ctx.time(), float)
    assert_type(await ctx.sleep(timedelta(1)), None)


async def state(shared: ObjectSharedContext, exclusive: ObjectContext) -> None:
    assert_type(await shared.get("name"), Any)
    assert_type(await shared.get("name", type_hint=int), int | None)
    assert_type(await exclusive.get("order", type_hint=Order), Order | None)
    assert_type(await shared.state_keys(), list[str])
    assert_type(exclusive.key(), str)


async def promises_and_signals(ctx: WorkflowContext) -> None:
    assert_type(ctx.promise("p", type_hint=Receipt), DurablePromise[Receipt])
    assert_type(await ctx.promise("p", type_hint=int), int)
    assert_type(await ctx.promise("p", type_hint=int).value(), int)
    assert_type(await ctx.promise("p", type_hint=int).peek(), int | None)
    assert_type(ctx.awakeable(type_hint=str), tuple[str, DurableFuture[str]])
    assert_type(await ctx.signal("s", type_hint=Order), Order)
    assert_type(await ctx.attach_invocation("inv_1x", type_hint=int), int)
    assert_type(await ctx.attach_invocation("inv_1x"), Any)


async def combinators(ctx: ObjectContext) -> None:
    call, nap = ctx.object_call(add, "k", 1), ctx.sleep(timedelta(1))
    assert_type(await gather(call, nap), list[DurableFuture[Any]])
    assert_type(await select(call=call, nap=nap), list[Any])
    assert_type(await wait_completed(call, nap), tuple[list[DurableFuture[Any]], list[DurableFuture[Any]]])
    assert_type(as_completed(call, nap), AsyncIterator[DurableFuture[Any]])
    # What was waited for keeps its own type.
    assert_type(await call, int)


async def from_outside() -> None:
    async with create_client("http://localhost:8080", headers={"a": "b"}) as client:
        assert_type(client, Client)
        assert_type(await client.service_call(greet, "you"), str)
        assert_type(await client.service_call(ping, None), None)
        assert_type(await client.object_call(add, key="k", arg=1, idempotency_key="once"), int)
        assert_type(await client.workflow_call(run, "k", Order([])), Receipt | None)
        assert_type(await client.generic_call("Service", "greet", b""), bytes)
        assert_type(await client.object_send(add, "k", 1, send_delay=timedelta(1)), ClientSendHandle)


def extensions() -> None:
    assert_type(current_context(), Context | None)
