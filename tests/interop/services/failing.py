"""Services that fail: for good, for a while, and because what they do differs between attempts.

How often something ran is counted in this process, outside the journal, on purpose.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

from understudy import InvocationRetryPolicy, ObjectContext, RunOptions, TerminalError, VirtualObject

from tests.interop.services.objects import add, get_count, reset

failing = VirtualObject("Failing")
# Every await ends the attempt, the second attempt differs, and nobody tries a third time.
non_deterministic = VirtualObject(
    "NonDeterministic",
    inactivity_timeout=timedelta(0),
    invocation_retry_policy=InvocationRetryPolicy(max_attempts=1, on_max_attempts="kill"),
)

SUCCEEDS_AT_ATTEMPT = 4
PAUSE = timedelta(milliseconds=100)


class Executions:
    """How often each thing ran in this process."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def one_more(self, name: str) -> int:
        """Count one more *name*; how many that makes."""
        self._counts[name] += 1
        return self._counts[name]


EXECUTIONS = Executions()


def failure(request: dict[str, Any]) -> TerminalError:
    """The error a request asks for."""
    return TerminalError(request["errorMessage"], metadata=request.get("metadata"))


@failing.handler("terminallyFailingCall")
async def terminally_failing_call(ctx: ObjectContext, request: dict[str, Any]) -> None:
    raise failure(request)


@failing.handler("callTerminallyFailingCall")
async def call_terminally_failing_call(ctx: ObjectContext, request: dict[str, Any]) -> str:
    await ctx.object_call(terminally_failing_call, key=str(ctx.uuid()), arg=request)
    raise AssertionError("the call above fails for good")


@failing.handler("failingCallWithEventualSuccess")
async def failing_call_with_eventual_success(ctx: ObjectContext) -> int:
    attempt = EXECUTIONS.one_more(f"call {ctx.key()}")
    if attempt < SUCCEEDS_AT_ATTEMPT:
        raise ValueError(f"attempt {attempt} fails")
    return attempt


@failing.handler("terminallyFailingSideEffect")
async def terminally_failing_side_effect(ctx: ObjectContext, request: dict[str, Any]) -> None:
    def fail() -> None:
        raise failure(request)

    await ctx.run_typed("fails for good", fail)
    raise AssertionError("the run above fails for good")


def attempts(count: int) -> RunOptions[int]:
    """At most *count* executions, one right after the other."""
    return RunOptions(max_attempts=count, initial_retry_interval=timedelta(milliseconds=1), retry_interval_factor=1.0)


@failing.handler("sideEffectSucceedsAfterGivenAttempts")
async def side_effect_succeeds_after_given_attempts(ctx: ObjectContext, minimum_attempts: int) -> int:
    def succeed_at_last() -> int:
        execution = EXECUTIONS.one_more(f"succeeds {ctx.request().id}")
        if execution < minimum_attempts:
            raise ValueError(f"execution {execution} fails")
        return execution

    return await ctx.run_typed("succeeds at last", succeed_at_last, attempts(minimum_attempts + 1))


@failing.handler("sideEffectFailsAfterGivenAttempts")
async def side_effect_fails_after_given_attempts(ctx: ObjectContext, attempts_max: int) -> int:
    name = f"fails {ctx.key()}"

    def fail() -> int:
        raise ValueError(f"execution {EXECUTIONS.one_more(name)} fails")

    try:
        await ctx.run_typed("fails every time", fail, attempts(attempts_max))
    except TerminalError:
        return EXECUTIONS.one_more(name) - 1
    raise AssertionError("the run above runs out of attempts")


# --- not the same in every attempt --------------------------------------------------------------------------


def is_odd_attempt(ctx: ObjectContext) -> bool:
    """Whether this is the first, third, … attempt that asks."""
    return EXECUTIONS.one_more(f"attempt {ctx.key()}") % 2 == 1


async def tell(ctx: ObjectContext) -> None:
    """Wait (which ends the attempt), then count one: the counter shows whether a wrong replay came this far."""
    await ctx.sleep(PAUSE)
    ctx.object_send(add, key=ctx.key(), arg=1)


@non_deterministic.handler("setDifferentKey")
async def set_different_key(ctx: ObjectContext) -> None:
    ctx.set("a" if is_odd_attempt(ctx) else "b", "my-state")
    await tell(ctx)


@non_deterministic.handler("backgroundInvokeWithDifferentTargets")
async def background_invoke_with_different_targets(ctx: ObjectContext) -> None:
    ctx.object_send(get_count if is_odd_attempt(ctx) else reset, key="abc", arg=None)
    await tell(ctx)


@non_deterministic.handler("callDifferentMethod")
async def call_different_method(ctx: ObjectContext) -> None:
    await ctx.object_call(get_count if is_odd_attempt(ctx) else reset, key="abc", arg=None)
    await tell(ctx)


@non_deterministic.handler("eitherSleepOrCall")
async def either_sleep_or_call(ctx: ObjectContext) -> None:
    if is_odd_attempt(ctx):
        await ctx.sleep(PAUSE)
    else:
        await ctx.object_call(get_count, key="abc", arg=None)
    await tell(ctx)
