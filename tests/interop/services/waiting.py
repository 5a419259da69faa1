"""Services that wait, are cancelled and are killed: an awakeable's holder, a workflow's promise, two call trees."""

from __future__ import annotations

from datetime import timedelta

from understudy import (
    ObjectContext,
    TerminalError,
    VirtualObject,
    Workflow,
    WorkflowContext,
    WorkflowSharedContext,
)

from tests.interop.services.options import LAZY_STATE

awakeable_holder = VirtualObject("AwakeableHolder", enable_lazy_state=LAZY_STATE)
block_and_wait = Workflow("BlockAndWaitWorkflow", enable_lazy_state=LAZY_STATE)
cancel_runner = VirtualObject("CancelTestRunner", enable_lazy_state=LAZY_STATE)
cancel_blocking = VirtualObject("CancelTestBlockingService")
kill_runner = VirtualObject("KillTestRunner")
kill_singleton = VirtualObject("KillTestSingleton")

CANCELLED = 409
FOR_EVER = timedelta(days=1024)
PROMISE = "durable-promise"


# --- awakeables ---------------------------------------------------------------------------------------------


@awakeable_holder.handler("hold")
async def hold(ctx: ObjectContext, awakeable_id: str) -> None:
    ctx.set("id", awakeable_id)


@awakeable_holder.handler("hasAwakeable")
async def has_awakeable(ctx: ObjectContext) -> bool:
    return await ctx.get("id", type_hint=str) is not None


@awakeable_holder.handler("unlock")
async def unlock(ctx: ObjectContext, payload: str) -> None:
    awakeable_id = await ctx.get("id", type_hint=str)
    if awakeable_id is None:
        raise TerminalError("no awakeable is held")
    ctx.resolve_awakeable(awakeable_id, payload)


# --- promises -----------------------------------------------------------------------------------------------


@block_and_wait.main("run")
async def run(ctx: WorkflowContext, text: str) -> str:
    ctx.set("my-state", text)
    output = await ctx.promise(PROMISE, type_hint=str).value()
    if await ctx.promise(PROMISE, type_hint=str).peek() is None:
        raise TerminalError("the promise was awaited but peeks as pending")
    return output


@block_and_wait.handler("unblock")
async def unblock(ctx: WorkflowSharedContext, output: str) -> None:
    await ctx.promise(PROMISE, type_hint=str).resolve(output)


@block_and_wait.handler("getState")
async def get_state(ctx: WorkflowSharedContext) -> str | None:
    return await ctx.get("my-state", type_hint=str)


# --- cancelling ---------------------------------------------------------------------------------------------


@cancel_blocking.handler("block")
async def block(ctx: ObjectContext, operation: str) -> None:
    awakeable_id, unlocked = ctx.awakeable(type_hint=str)
    await ctx.object_call(hold, key=ctx.key(), arg=awakeable_id)
    await unlocked
    if operation == "CALL":
        await ctx.object_call(block, key=ctx.key(), arg=operation)
    elif operation == "SLEEP":
        await ctx.sleep(FOR_EVER)
    elif operation == "AWAKEABLE":
        _, never = ctx.awakeable()
        await never


@cancel_blocking.handler("isUnlocked")
async def is_unlocked(ctx: ObjectContext) -> None:
    return None


@cancel_runner.handler("startTest")
async def start_test(ctx: ObjectContext, operation: str) -> None:
    try:
        await ctx.object_call(block, key=ctx.key(), arg=operation)
    except TerminalError as error:
        if error.status_code != CANCELLED:
            raise
        ctx.set("state", True)


@cancel_runner.handler("verifyTest")
async def verify_test(ctx: ObjectContext) -> bool:
    return await ctx.get("state", type_hint=bool) or False


# --- killing ------------------------------------------------------------------------------------------------


@kill_singleton.handler("recursiveCall")
async def recursive_call(ctx: ObjectContext) -> None:
    awakeable_id, unlocked = ctx.awakeable(type_hint=str)
    ctx.object_send(hold, key=ctx.key(), arg=awakeable_id)
    await unlocked
    await ctx.object_call(recursive_call, key=ctx.key(), arg=None)


@kill_singleton.handler("isUnlocked")
async def is_singleton_unlocked(ctx: ObjectContext) -> None:
    return None


@kill_runner.handler("startCallTree")
async def start_call_tree(ctx: ObjectContext) -> None:
    await ctx.object_call(recursive_call, key=ctx.key(), arg=None)
