"""The services of the recorded exchanges, with our SDK."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import understudy
from understudy import TerminalError
from understudy.endpoint import App

RAW = understudy.BytesSerde()
QUICK = understudy.InvocationRetryPolicy(
    initial_interval=timedelta(milliseconds=1), max_attempts=2, on_max_attempts="kill"
)


def recorded_app() -> App:
    """All of them."""
    return understudy.app(services=[greeter(), private(), counter(), flow(), kill_fast()])


def greeter() -> understudy.Service:
    greeter = understudy.Service("Greeter")

    @greeter.handler()
    async def greet(ctx: understudy.Context, name: Any) -> str:
        return f"hi {name}"

    @greeter.handler("greetTyped")
    async def greet_typed(ctx: understudy.Context, who: Any) -> dict[str, str]:
        if "name" not in who:
            raise TerminalError("name is missing")
        return {"greeting": f"hello {who['name']}"}

    @greeter.handler("failTerminal")
    async def fail_terminal(ctx: understudy.Context, code: Any) -> str:
        raise TerminalError("told to", status_code=code)

    @greeter.handler("failMeta")
    async def fail_meta(ctx: understudy.Context, code: Any) -> str:
        raise TerminalError("told to", status_code=code, metadata={"k": "v"})

    @greeter.handler()
    async def sleepy(ctx: understudy.Context, ms: Any) -> str:
        await ctx.sleep(timedelta(milliseconds=ms))
        return "slept"

    @greeter.handler("noInput")
    async def no_input(ctx: understudy.Context) -> str:
        return "none"

    @greeter.handler("noOutput")
    async def no_output(ctx: understudy.Context, arg: Any) -> None:
        return None

    @greeter.handler()
    async def headers(ctx: understudy.Context) -> dict[str, str]:
        return dict(ctx.request().headers)

    @greeter.handler()
    async def awk(ctx: understudy.Context, arg: Any) -> str:
        name, value = ctx.awakeable()
        ctx.service_send(greet, name)
        return json.dumps(await value)

    @greeter.handler(
        accept="application/octet-stream", content_type="application/octet-stream", input_serde=RAW, output_serde=RAW
    )
    async def raw(ctx: understudy.Context, data: bytes) -> bytes:
        return (data or b"")[::-1]

    return greeter


def private() -> understudy.Service:
    private = understudy.Service("Private", ingress_private=True)

    @private.handler()
    async def hidden(ctx: understudy.Context, arg: Any) -> str:
        return "hidden"

    return private


def kill_fast() -> understudy.Service:
    kill_fast = understudy.Service("KillFast", invocation_retry_policy=QUICK)

    @kill_fast.handler()
    async def boom(ctx: understudy.Context, arg: Any) -> str:
        raise RuntimeError("boom")

    return kill_fast


def counter() -> understudy.VirtualObject:
    counter = understudy.VirtualObject("Counter")

    @counter.handler()
    async def incr(ctx: understudy.ObjectContext, amount: Any) -> int:
        total = (await ctx.get("n", type_hint=int) or 0) + amount
        ctx.set("n", total)
        return total

    @counter.handler(kind="shared")
    async def peek(ctx: understudy.ObjectSharedContext) -> int:
        return await ctx.get("n", type_hint=int) or 0

    @counter.handler()
    async def key(ctx: understudy.ObjectContext) -> str:
        return ctx.key()

    return counter


def flow() -> understudy.Workflow:
    flow = understudy.Workflow("Flow")

    @flow.main()
    async def run(ctx: understudy.WorkflowContext, arg: Any) -> str:
        ctx.set("stage", "waiting")
        return f"{arg}:{await ctx.promise('signal', type_hint=str)}"

    @flow.handler()
    async def signal(ctx: understudy.WorkflowSharedContext, value: Any) -> None:
        await ctx.promise("signal", type_hint=str).resolve(value)

    @flow.handler()
    async def stage(ctx: understudy.WorkflowSharedContext) -> Any:
        return await ctx.get("stage", type_hint=str)

    return flow
