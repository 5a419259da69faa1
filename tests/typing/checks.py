"""What type checkers make of the SDK: never run, only checked (see `test_typing.py`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any, assert_type
from uuid import UUID

import attrs
from understudy import (
    BytesSerde,
    CallFuture,
    Client,
    ClientOutput,
    ClientSendHandle,
    ClientTarget,
    Context,
    DurableFuture,
    DurablePromise,
    JsonSerde,
    ObjectContext,
    ObjectSharedContext,
    RestateDurableCallFuture,
    RestateDurableFuture,
    RestateDurableSleepFuture,
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
from understudy.extensions import contextvar

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
    assert_type(await ctx.service_call(greet, "you").cancel_invocation(), None)
    assert_type(ctx.generic_call("Service", "greet", b"", key="k", headers={"a": "b"}), CallFuture[bytes])
    assert_type(ctx.workflow_call(run, "k", Order([]), idempotency_key="once"), CallFuture[Receipt | None])
    # Handlers of another module's making: anything that takes a context and perhaps an argument.
    assert_type(await ctx.object_call(undecorated, "k", 1), float)
    assert_type(await ctx.scope("team").object_call(add, "k", 1, limit_key="a"), int)
    assert_type(await ctx.scope("team").service_call(buy, Order([])), Receipt)


async def undecorated(ctx: ObjectContext, amount: int) -> float:
    return amount / 2


async def sends(ctx: Context) -> None:
    assert_type(ctx.service_send(ping, None, idempotency_key="once", headers={"a": "b"}), SendHandle)
    assert_type(ctx.workflow_send(approve, key="k", arg=True, send_delay=timedelta(1)), SendHandle)
    assert_type(ctx.generic_send("Service", "greet", b"", send_delay=timedelta(1)), SendHandle)
    assert_type(ctx.scope("team").object_send(add, "k", 1), SendHandle)
    assert_type(await ctx.service_send(greet, "you").cancel_invocation(), None)
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
    assert_type(await ctx.run_typed("options", compute, RunOptions(max_duration=timedelta(1)), 1), float)
    assert_type(await ctx.run_typed("serde", fetch, RunOptions(serde=JsonSerde[Receipt]()), "url"), Receipt)
    assert_type(ctx.run("future", fetch), DurableFuture[Receipt])
    assert_type(await ctx.run("lambda", lambda: "text"), str)
    assert_type(await ctx.run("sync", compute, args=(1,)), float)
    assert_type(await ctx.run("async", fetch, args=("url",)), Receipt)
    assert_type(await ctx.time(), float)
    assert_type(ctx.sleep(timedelta(1)), DurableFuture[None])
    assert_type(await ctx.sleep(timedelta(1), name="nap"), None)
    assert_type(ctx.random().random(), float)
    assert_type(ctx.uuid(), UUID)
    assert_type(ctx.request().headers, Mapping[str, str])
    assert_type(ctx.request().body, bytes)


async def state(shared: ObjectSharedContext, exclusive: ObjectContext) -> None:
    assert_type(await shared.get("name"), Any)
    assert_type(await shared.get("name", type_hint=int), int | None)
    assert_type(await exclusive.get("order", type_hint=Order), Order | None)
    assert_type(await shared.get("name", JsonSerde[Order]()), Order | None)
    assert_type(shared.get("name", type_hint=list[str]), DurableFuture[list[str] | None])
    assert_type(exclusive.set("name", Order([])), None)
    assert_type(await shared.state_keys(), list[str])
    assert_type(exclusive.key(), str)


async def promises_and_signals(ctx: WorkflowContext) -> None:
    assert_type(ctx.promise("p", type_hint=Receipt), DurablePromise[Receipt])
    assert_type(await ctx.promise("p", type_hint=int), int)
    assert_type(await ctx.promise("p", type_hint=int).value(), int)
    assert_type(await ctx.promise("p", type_hint=int).peek(), int | None)
    assert_type(ctx.promise("p"), DurablePromise[Any])
    assert_type(ctx.promise("p", JsonSerde[Receipt]()), DurablePromise[Receipt])
    assert_type(ctx.promise("p", type_hint=int).value(), DurableFuture[int])
    assert_type(await ctx.promise("p", type_hint=int).resolve(1), None)
    assert_type(await ctx.promise("p", type_hint=int).reject("no"), None)
    assert_type(ctx.awakeable(type_hint=str), tuple[str, DurableFuture[str]])
    assert_type(ctx.awakeable(), tuple[str, DurableFuture[Any]])
    assert_type(ctx.awakeable(BytesSerde()), tuple[str, DurableFuture[bytes]])
    assert_type(ctx.resolve_awakeable("sign_1x", Order([])), None)
    assert_type(ctx.resolve_signal("inv_1x", "s", Order([])), None)
    assert_type(ctx.signal("s"), DurableFuture[Any])
    assert_type(ctx.signal("s", JsonSerde[Order]()), DurableFuture[Order])
    assert_type(ctx.cancel_invocation("inv_1x"), None)
    assert_type(await ctx.attach_invocation("inv_1x", BytesSerde()), bytes)
    assert_type(await ctx.signal("s", type_hint=Order), Order)
    assert_type(await ctx.attach_invocation("inv_1x", type_hint=int), int)
    assert_type(await ctx.attach_invocation("inv_1x"), Any)


async def combinators(ctx: ObjectContext) -> None:
    call, nap = ctx.object_call(add, "k", 1), ctx.sleep(timedelta(1))
    assert_type(await gather(call, nap), list[DurableFuture[Any]])
    assert_type(await select(call=call, nap=nap), list[Any])
    assert_type(await wait_completed(call, nap), tuple[list[DurableFuture[Any]], list[DurableFuture[Any]]])
    assert_type(as_completed(call, nap), AsyncIterator[DurableFuture[Any]])
    async for future in as_completed(call, nap):
        assert_type(future, DurableFuture[Any])
    # What was waited for keeps its own type, and so does one of a kind that a combinator mixes.
    assert_type(await call, int)
    match await select(call=call, timeout=nap):
        case ["call", value]:
            assert_type(value, Any)


async def from_outside() -> None:
    async with create_client("http://localhost:8080", headers={"a": "b"}) as client:
        assert_type(client, Client)
        assert_type(await client.service_call(greet, "you"), str)
        assert_type(await client.service_call(ping, None), None)
        assert_type(await client.object_call(add, key="k", arg=1, idempotency_key="once"), int)
        assert_type(await client.workflow_call(run, "k", Order([])), Receipt | None)
        assert_type(await client.generic_call("Service", "greet", b""), bytes)
        handle = await client.object_send(add, "k", 1, send_delay=timedelta(1))
        assert_type(handle, ClientSendHandle[int])
        assert_type(await client.service_send(greet, "you"), ClientSendHandle[str])
        assert_type(await client.workflow_send(run, "k", Order([])), ClientSendHandle[Receipt | None])
        assert_type(await client.generic_send("Service", "greet", b""), ClientSendHandle[bytes])
        assert_type(await client.attach(handle), int)
        assert_type(await client.output(handle), ClientOutput[int])
        assert_type((await client.output(handle)).value, int | None)
        assert_type(client.idempotent(add, "once", key="k"), ClientTarget[int])
        assert_type(await client.attach(client.idempotent(greet, "once")), str)
        assert_type(await client.output(client.workflow_run(run, "k")), ClientOutput[Receipt | None])
        assert_type(await client.attach("inv_1x"), Any)
        assert_type(await client.attach("inv_1x", type_hint=Receipt), Receipt)
        assert_type(await client.output("inv_1x", BytesSerde()), ClientOutput[bytes])
        assert_type(await client.resolve_awakeable("sign_1x", Order([])), None)


@contextvar
@asynccontextmanager
async def connection(address: str) -> AsyncIterator[Order]:
    yield Order([])


def extensions() -> None:
    assert_type(current_context(), Context | None)
    assert_type(connection.value, Order)
    assert_type(connection("here"), AbstractAsyncContextManager[None])


async def older_names(ctx: ObjectContext) -> None:
    call: RestateDurableCallFuture[int] = ctx.object_call(add, "k", 1)
    futures: list[RestateDurableFuture[Any]] = [call, ctx.sleep(timedelta(1))]
    assert_type(await gather(*futures), list[DurableFuture[Any]])
    nap: RestateDurableSleepFuture = ctx.sleep(timedelta(1))
    assert_type(await nap, None)
