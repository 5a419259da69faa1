"""The services that show the effect of each setting."""

from __future__ import annotations

from datetime import timedelta

import trio
import understudy
from understudy import Context, ObjectContext, WorkflowContext

echo = understudy.Service("Echo")
box = understudy.VirtualObject("Box")
flow = understudy.Workflow("Flow")


@echo.handler("echo")
async def say(ctx: Context, text: str) -> str:
    return text


@echo.handler()
async def big(ctx: Context, length: int) -> str:
    return "x" * length


@echo.handler()
async def fail(ctx: Context, text: str) -> str:
    raise RuntimeError(text)


@echo.handler()
async def doze(ctx: Context, ms: int) -> None:
    await ctx.sleep(timedelta(milliseconds=ms))


@echo.handler()
async def hang(ctx: Context, text: str) -> None:
    """Deaf to the server: it can only be cut."""
    await trio.sleep_forever()


@box.handler()
async def put(ctx: ObjectContext, text: str) -> None:
    ctx.set("kept", text)


@box.handler()
async def call_itself(ctx: ObjectContext, text: str) -> None:
    """Wait for oneself, for ever."""
    await ctx.object_call(put, key=ctx.key(), arg=text)


@flow.main()
async def run(ctx: WorkflowContext, text: str) -> str:
    return text


app = understudy.app(services=[echo, box, flow])
