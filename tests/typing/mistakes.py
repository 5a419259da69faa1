"""Mistakes a type checker has to find: each line that says so, and no other (see `test_typing.py`)."""

from __future__ import annotations

from datetime import timedelta

from understudy import Client, Context, ObjectSharedContext, RunOptions, Service, VirtualObject, Workflow, gather

from tests.typing.checks import add, buy, compute, greet


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


async def runs(ctx: Context) -> None:
    ctx.run_typed("args", compute, RunOptions(), "one")  # mistake
    wrong: str = await ctx.run_typed("result", compute, RunOptions(), 1)  # mistake
    print(wrong)


async def others(ctx: ObjectSharedContext, client: Client) -> None:
    ctx.set("name", 1)  # mistake
    wrong: str | None = await ctx.get("name", type_hint=int)  # mistake
    number: str = await client.object_call(add, "k", 1)  # mistake
    await client.object_call(add, "k", "1")  # mistake
    await gather(ctx)  # mistake
    print(wrong, number)
