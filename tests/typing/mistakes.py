"""Mistakes a type checker has to find: each line that says so, and no other (see `test_typing.py`)."""

from __future__ import annotations

from datetime import timedelta

from understudy import (
    Client,
    Context,
    ObjectSharedContext,
    RunOptions,
    Service,
    VirtualObject,
    Workflow,
    WorkflowContext,
    WorkflowSharedContext,
    as_completed,
    gather,
    select,
    wait_completed,
)

from tests.typing.checks import Order, Receipt, add, buy, compute, greet, run


def definitions() -> None:
    Service("S", enable_lazy_state=True)  # mistake
    VirtualObject("O", inactivity_timeout=3)  # mistake
    VirtualObject("O").handler(kind="other")  # mistake
    VirtualObject("O").handler(workflow_retention=timedelta(1))  # mistake
    Workflow("W").main(idempotency_retention=timedelta(1))  # mistake


async def calls(ctx: Context) -> None:
    ctx.service_call(greet, 1)  # mistake
    ctx.object_call(add, key="k", arg="1")  # mistake
    ctx.object_call(add, 1, 1)  # mistake
    ctx.service_call(greet)  # mistake
    wrong: int = await ctx.service_call(greet, "you")  # mistake
    ctx.service_send(buy, "order")  # mistake
    ctx.generic_call("Service", "greet", "text")  # mistake
    print(wrong)
    ctx.object_call(add, key="k", arg=None)  # mistake
    ctx.object_call(add, arg=1)  # mistake
    ctx.workflow_call(run, "k", Order)  # mistake
    ctx.workflow_call(run, "k", Order([]), send_delay=timedelta(1))  # mistake
    ctx.object_send(add, "k", 1, send_delay=3)  # mistake
    ctx.service_call(compute, 1)  # mistake
    ctx.service_call(greet, "you", headers={"a": 1})  # mistake
    ctx.scope("team").object_call(add, "k", "1")  # mistake
    optional: Receipt = await ctx.workflow_call(run, "k", Order([]))  # mistake
    sent: int = await ctx.object_send(add, "k", 1)  # mistake
    print(optional, sent)


async def runs(ctx: Context) -> None:
    ctx.run_typed("args", compute, RunOptions(), "one")  # mistake
    wrong: str = await ctx.run_typed("result", compute, RunOptions(), 1)  # mistake
    print(wrong)
    ctx.run_typed("keyword", compute, RunOptions(), 1, wrong=1)  # mistake
    ctx.run_typed("options", compute, 1)  # mistake
    ctx.run("name")  # mistake
    number: int = await ctx.run("result", lambda: "text")  # mistake
    ctx.sleep(1)  # mistake
    print(number)


async def workflows(ctx: WorkflowContext, shared: WorkflowSharedContext, plain: Context) -> None:
    wrong: str = await ctx.promise("p", type_hint=int)  # mistake
    value: str = await ctx.promise("p", type_hint=int).value()  # mistake
    await ctx.promise("p", type_hint=int).resolve("text")  # mistake
    await ctx.promise("p", type_hint=int).reject(500)  # mistake
    shared.set("name", 1)  # mistake
    plain.promise("p")  # mistake
    plain.get("name")  # mistake
    text, future = ctx.awakeable(type_hint=int)
    given: str = await future  # mistake
    ctx.resolve_awakeable(future, 1)  # mistake
    ctx.reject_awakeable(text, 500)  # mistake
    signal: str = await ctx.signal("s", type_hint=int)  # mistake
    ctx.resolve_signal("inv_1x", 1, "value")  # mistake
    ctx.cancel_invocation(future)  # mistake
    attached: str = await ctx.attach_invocation("inv_1x", type_hint=int)  # mistake
    print(wrong, value, given, signal, attached)


async def combinators(ctx: ObjectSharedContext) -> None:
    await gather(ctx.promise)  # mistake
    await select(ctx.sleep(timedelta(1)))  # mistake
    await wait_completed(greet(ctx, "you"))  # mistake
    for future in as_completed(ctx.sleep(timedelta(1))):  # mistake
        print(future)


async def others(ctx: ObjectSharedContext, client: Client) -> None:
    ctx.set("name", 1)  # mistake
    wrong: str | None = await ctx.get("name", type_hint=int)  # mistake
    number: str = await client.object_call(add, "k", 1)  # mistake
    await client.object_call(add, "k", "1")  # mistake
    await gather(ctx)  # mistake
    handle = await client.object_send(add, "k", 1)
    result: str = await client.attach(handle)  # mistake
    output: str = (await client.output(handle)).value  # mistake
    by_key: str = await client.attach(client.idempotent(add, "once", key="k"))  # mistake
    hinted: str = await client.attach("inv_1x", type_hint=int)  # mistake
    await client.attach(1)  # mistake
    await client.service_call(buy, "order")  # mistake
    await client.generic_call("Service", "greet", "text")  # mistake
    await client.resolve_awakeable(1, 1)  # mistake
    print(result, output, by_key, hinted)
    print(wrong, number)
