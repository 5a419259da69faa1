"""The command interpreter: an object that awaits awakeables, signals, sleeps and runs in every combination.

A command is ``{"type": name, …}``; the results of all are kept in the object's state, the last is the answer.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

from understudy import (
    DurableFuture,
    ObjectContext,
    ObjectSharedContext,
    TerminalError,
    VirtualObject,
    as_completed,
    gather,
    select,
    wait_completed,
)

from tests.interop.services.options import LAZY_STATE

Command = Mapping[str, Any]

command_interpreter = VirtualObject("VirtualObjectCommandInterpreter", enable_lazy_state=LAZY_STATE)


def slot(awakeable_key: str) -> str:
    """The state key that remembers an awakeable's id."""
    return f"awk-{awakeable_key}"


# --- what can be awaited ------------------------------------------------------------------------------------


def start(ctx: ObjectContext, command: Command) -> DurableFuture[Any]:
    """Start what *command* names; the future of it."""
    return STARTERS[command["type"]](ctx, command)


def create_awakeable(ctx: ObjectContext, command: Command) -> DurableFuture[Any]:
    awakeable_id, future = ctx.awakeable(type_hint=str)
    ctx.set(slot(command["awakeableKey"]), awakeable_id)
    return future


def create_signal(ctx: ObjectContext, command: Command) -> DurableFuture[Any]:
    return ctx.signal(command["signalName"], type_hint=str)


def sleep(ctx: ObjectContext, command: Command) -> DurableFuture[Any]:
    return ctx.sleep(timedelta(milliseconds=command["timeoutMillis"]))


def run_throw(ctx: ObjectContext, command: Command) -> DurableFuture[Any]:
    def throw() -> str:
        raise TerminalError(command["reason"])

    return ctx.run_typed("fails as commanded", throw)


def run_return(ctx: ObjectContext, command: Command) -> DurableFuture[Any]:
    return ctx.run_typed("returns as commanded", lambda: str(command["value"]))


STARTERS: Mapping[str, Callable[[ObjectContext, Command], DurableFuture[Any]]] = {
    "createAwakeable": create_awakeable,
    "createSignal": create_signal,
    "sleep": sleep,
    "runThrowTerminalException": run_throw,
    "runReturns": run_return,
}


async def outcome(future: DurableFuture[Any]) -> str:
    """The value of *future* as text; a sleep, which has none, is called by its name."""
    value = await future
    return "sleep" if value is None else str(value)


# --- how it is awaited --------------------------------------------------------------------------------------


async def await_one(ctx: ObjectContext, command: Command) -> str:
    return await outcome(start(ctx, command["command"]))


async def await_any(ctx: ObjectContext, command: Command) -> str:
    done, _ = await wait_completed(*[start(ctx, each) for each in command["commands"]])
    return await outcome(done[0])


async def await_any_successful(ctx: ObjectContext, command: Command) -> str:
    last: TerminalError | None = None
    async for future in as_completed(*[start(ctx, each) for each in command["commands"]]):
        try:
            return await outcome(future)
        except TerminalError as error:
            last = error
    raise last or TerminalError("there was nothing to await")


async def await_all_successful(ctx: ObjectContext, command: Command) -> str:
    futures = [start(ctx, each) for each in command["commands"]]
    await gather(*futures)
    return "|".join([await outcome(future) for future in futures])


async def await_all(ctx: ObjectContext, command: Command) -> str:
    futures = [start(ctx, each) for each in command["commands"]]
    await gather(*futures)
    told = []
    for future in futures:
        try:
            told.append(f"ok:{await outcome(future)}")
        except TerminalError as error:
            told.append(f"err:{error.message}")
    return "|".join(told)


async def await_awakeable_or_timeout(ctx: ObjectContext, command: Command) -> str:
    timeout = sleep(ctx, command)
    name, value = await select(awakeable=create_awakeable(ctx, command), timeout=timeout)
    if name == "timeout":
        raise TerminalError("await-timeout")
    return str(value)


async def complete_awakeable(ctx: ObjectContext, command: Command) -> str:
    awakeable_id = await ctx.get(slot(command["awakeableKey"]), type_hint=str)
    if awakeable_id is None:
        raise TerminalError(f"there is no awakeable {command['awakeableKey']!r}")
    if "reason" in command:
        ctx.reject_awakeable(awakeable_id, command["reason"])
    else:
        ctx.resolve_awakeable(awakeable_id, command["value"])
    return ""


async def get_env_variable(ctx: ObjectContext, command: Command) -> str:
    return await ctx.run_typed("environment", lambda: os.environ.get(command["envName"], ""))


COMMANDS: Mapping[str, Callable[[ObjectContext, Command], Awaitable[str]]] = {
    "awaitOne": await_one,
    "awaitAny": await_any,
    "awaitFirstCompleted": await_any,
    "awaitAnySuccessful": await_any_successful,
    "awaitFirstSucceededOrAllFailed": await_any_successful,
    "awaitAllSucceededOrFirstFailed": await_all_successful,
    "awaitAllCompleted": await_all,
    "awaitAwakeableOrTimeout": await_awakeable_or_timeout,
    "resolveAwakeable": complete_awakeable,
    "rejectAwakeable": complete_awakeable,
    "getEnvVariable": get_env_variable,
}


# --- handlers -----------------------------------------------------------------------------------------------


@command_interpreter.handler("interpretCommands")
async def interpret_commands(ctx: ObjectContext, request: dict[str, Any]) -> str:
    result = ""
    for command in request["commands"]:
        result = await COMMANDS[command["type"]](ctx, command)
        ctx.set("results", [*(await ctx.get("results", type_hint=list) or []), result])
    return result


@command_interpreter.handler("resolveAwakeable", kind="shared")
async def resolve_awakeable(ctx: ObjectSharedContext, command: dict[str, str]) -> None:
    await complete_awakeable(ctx, command)  # type: ignore[arg-type]


@command_interpreter.handler("rejectAwakeable", kind="shared")
async def reject_awakeable(ctx: ObjectSharedContext, command: dict[str, str]) -> None:
    await complete_awakeable(ctx, command)  # type: ignore[arg-type]


@command_interpreter.handler("hasAwakeable", kind="shared")
async def has_awakeable(ctx: ObjectSharedContext, awakeable_key: str) -> bool:
    return await ctx.get(slot(awakeable_key), type_hint=str) is not None


@command_interpreter.handler("getResults", kind="shared")
async def get_results(ctx: ObjectSharedContext) -> list[str]:
    return await ctx.get("results", type_hint=list) or []
