"""The services the live tests run: a greeter, a counter, a slow one, an awakeable, a workflow."""

from __future__ import annotations

from datetime import timedelta

import understudy
from understudy import Context, ObjectContext, ObjectSharedContext, WorkflowContext, WorkflowSharedContext

greeter = understudy.Service("Greeter")
counter = understudy.VirtualObject("Counter")
flow = understudy.Workflow("Flow")


@greeter.handler()
async def greet(ctx: Context, name: str) -> str:
    return f"hi {name}"


@greeter.handler()
async def fail(ctx: Context, code: int) -> str:
    raise understudy.TerminalError("told to", status_code=code)


@greeter.handler()
async def doze(ctx: Context, ms: int) -> str:
    await ctx.sleep(timedelta(milliseconds=ms))
    return "rested"


@greeter.handler()
async def wait_for(ctx: Context, key: str) -> str:
    name, future = ctx.awakeable(type_hint=str)
    ctx.object_send(keep, key=key, arg=name)
    return await future


@counter.handler()
async def keep(ctx: ObjectContext, name: str) -> None:
    ctx.set("kept", name)


@counter.handler()
async def add(ctx: ObjectContext, n: int) -> int:
    value = (await ctx.get("n", type_hint=int) or 0) + n
    ctx.set("n", value)
    return value


@counter.handler(kind="shared")
async def kept(ctx: ObjectSharedContext) -> str | None:
    return await ctx.get("kept", type_hint=str)


@flow.main()
async def run(ctx: WorkflowContext, word: str) -> str:
    return f"{word} {await ctx.promise('word', type_hint=str).value()}"


@flow.handler()
async def say(ctx: WorkflowSharedContext, word: str) -> None:
    await ctx.promise("word", type_hint=str).resolve(word)


app = understudy.app(services=[greeter, counter, flow])
not_an_app = 1
