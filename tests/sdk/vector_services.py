"""The handlers the recorded exchanges were made with, in this SDK's words."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import understudy
from understudy import (
    Context,
    ObjectContext,
    ObjectSharedContext,
    RetryableError,
    RunOptions,
    Service,
    TerminalError,
    VirtualObject,
    Workflow,
    WorkflowContext,
    WorkflowSharedContext,
)


def ms(number: int) -> timedelta:
    return timedelta(milliseconds=number)


def build_app(version: int) -> understudy.App:
    """Fresh services: some handlers behave differently in each attempt on purpose."""
    attempts: Counter[str] = Counter()
    obj, wf = VirtualObject("Obj"), Workflow("Wf")
    svc = Service("Vec")
    _plain_handlers(svc)
    _waiting_handlers(svc)
    _misbehaving_handlers(svc, attempts, version)
    _calling_handlers(svc, obj)
    _object_handlers(obj)
    _workflow_handlers(wf)
    return understudy.app(services=[svc, obj, wf])


def _plain_handlers(svc: Service) -> None:
    @svc.handler()
    async def echo(ctx: Context, name: str) -> str:
        return "hello " + name

    @svc.handler()
    async def runner(ctx: Context) -> str:
        return await ctx.run_typed("work", lambda: "done")

    @svc.handler()
    async def rnd(ctx: Context) -> list[Any]:
        return [str(ctx.uuid()), ctx.random().random(), ctx.request().id]

    @svc.handler()
    async def attacher(ctx: Context, id_: str) -> str:
        return await ctx.attach_invocation(id_, type_hint=str)

    @svc.handler()
    async def canceller(ctx: Context, id_: str) -> None:
        ctx.cancel_invocation(id_)

    @svc.handler()
    async def rejecter(ctx: Context, id_: str) -> None:
        ctx.reject_awakeable(id_, "nope", 418)

    @svc.handler()
    async def resolver(ctx: Context, id_: str) -> None:
        ctx.resolve_awakeable(id_, "awk-value")

    @svc.handler()
    async def sigsend(ctx: Context, id_: str) -> None:
        ctx.resolve_signal(id_, "go", "now")


def _waiting_handlers(svc: Service) -> None:
    @svc.handler()
    async def awk(ctx: Context) -> str:
        id_, future = ctx.awakeable(type_hint=str)
        await ctx.run_typed("publish", lambda: id_)
        return await future

    @svc.handler()
    async def sigwait(ctx: Context) -> str:
        return await ctx.signal("go", type_hint=str)

    @svc.handler()
    async def longwait(ctx: Context) -> str:
        await ctx.sleep(timedelta(hours=1))
        return "never"

    @svc.handler()
    async def sleepy(ctx: Context, duration_ms: int) -> str:
        await ctx.sleep(ms(duration_ms), name="nap")
        return "slept"

    @svc.handler()
    async def cleanup(ctx: Context) -> str:
        try:
            await ctx.sleep(timedelta(hours=1))
        except TerminalError as error:
            await ctx.run_typed("compensate", lambda: "undone")
            await ctx.sleep(ms(1300))
            raise TerminalError(f"cleaned up after {error.status_code}", 410) from None
        return "never"

    @svc.handler()
    async def many(ctx: Context) -> str:
        one = await ctx.run_typed("one", lambda: 1)
        await ctx.sleep(ms(1300))
        two = await ctx.run_typed("two", lambda: 2)
        return str(one + two)

    @svc.handler()
    async def race_replay(ctx: Context) -> str:
        _, awakened = ctx.awakeable(type_hint=str)
        short = ctx.sleep(ms(200))
        long = ctx.sleep(ms(900))
        who, _ = await understudy.select(awk=awakened, short=short, long=long)
        await ctx.run_typed("after", lambda: who)
        await long
        await ctx.sleep(ms(1300))
        return str(who)

    @svc.handler()
    async def selecting(ctx: Context) -> str:
        _, awakened = ctx.awakeable(type_hint=str)
        match await understudy.select(result=awakened, timeout=ctx.sleep(ms(300))):
            case ["result", value]:
                return str(value)
            case _:
                return "timed out"


def _misbehaving_handlers(svc: Service, attempts: Counter[str], version: int) -> None:
    @svc.handler()
    async def crash(ctx: Context) -> str:
        attempts["crash"] += 1
        if attempts["crash"] == 1:
            raise RuntimeError("oops")
        return "recovered"

    @svc.handler()
    async def retryable(ctx: Context) -> str:
        attempts["retryable"] += 1
        if attempts["retryable"] == 1:
            raise RetryableError("later", retry_after=ms(200))
        return "fine"

    @svc.handler()
    async def terminal(ctx: Context) -> str:
        raise TerminalError("bad thing", 422, metadata={"k": "v"} if version >= 6 else None)

    @svc.handler()
    async def runexhaust(ctx: Context) -> str:
        def fail() -> str:
            raise ValueError("always")

        options = RunOptions[str](max_attempts=2, initial_retry_interval=ms(50))
        return await ctx.run_typed("never", fail, options)

    @svc.handler()
    async def runfail(ctx: Context) -> str:
        attempts["runfail"] += 1

        def flaky() -> str:
            if attempts["runfail"] <= 2:
                raise ValueError(f"boom {attempts['runfail']}")
            return "ok"

        return await ctx.run_typed("flaky", flaky, RunOptions(max_attempts=5, initial_retry_interval=ms(100)))

    @svc.handler()
    async def mismatch(ctx: Context) -> str:
        attempts["mismatch"] += 1
        await ctx.run_typed("first" if attempts["mismatch"] == 1 else "renamed", lambda: 1)
        await ctx.sleep(ms(1200))
        return "x"

    @svc.handler()
    async def mismatch_await(ctx: Context) -> str:
        attempts["mismatch_await"] += 1
        _, awakened = ctx.awakeable(type_hint=str)
        if attempts["mismatch_await"] > 1:
            await awakened
        await ctx.sleep(ms(1200))
        return "x"


def _calling_handlers(svc: Service, obj: VirtualObject) -> None:
    echo, longwait = svc.handlers["echo"].function, svc.handlers["longwait"].function
    attempts: Counter[str] = Counter()

    @svc.handler()
    async def caller(ctx: Context, name: str) -> str:
        return str(await ctx.service_call(echo, name, headers={"x-h": "v"}))

    @svc.handler()
    async def parent(ctx: Context) -> str:
        return str(await ctx.service_call(longwait, None))

    @svc.handler()
    async def sender(ctx: Context, name: str) -> str:
        return await ctx.service_send(echo, name, send_delay=ms(1500)).invocation_id()

    @svc.handler()
    async def gathering(ctx: Context) -> str:
        a = ctx.service_call(echo, "a")
        b = ctx.service_call(echo, "b")
        c = ctx.run_typed("c", lambda: "C")
        await understudy.gather(a, b, c)
        return ",".join([str(await a), str(await b), await c])

    @svc.handler()
    async def mismatch_type(ctx: Context) -> str:
        attempts["mismatch_type"] += 1
        if attempts["mismatch_type"] == 1:
            await ctx.run_typed("first", lambda: 1)
            await ctx.sleep(ms(1200))
        else:
            await ctx.service_call(echo, "z")
        return "x"

    @obj.handler()
    async def add(ctx: ObjectContext, number: int) -> int:
        total = (await ctx.get("count", type_hint=int) or 0) + number
        ctx.set("count", total)
        return total

    @svc.handler()
    async def objcaller(ctx: Context, key: str) -> int:
        return await ctx.object_call(add, key, 5, idempotency_key="idem-1")


def _object_handlers(obj: VirtualObject) -> None:
    @obj.handler()
    async def small(ctx: ObjectContext) -> int:
        count = await ctx.get("count", type_hint=int) or 0
        ctx.set("count", count + 1)
        await ctx.run_typed("side", lambda: "r")
        await ctx.sleep(ms(1300))
        return count + 1

    @obj.handler()
    async def lots(ctx: ObjectContext) -> list[Any]:
        a = await ctx.get("x", type_hint=int)
        ctx.set("x", 1)
        b = await ctx.get("x", type_hint=int)
        ctx.clear("x")
        c = await ctx.get("x", type_hint=int)
        ctx.set("y", 2)
        ctx.set("a", 3)
        keys = await ctx.state_keys()
        ctx.clear_all()
        return [a, b, c, keys, await ctx.state_keys()]

    @obj.handler(enable_lazy_state=True)
    async def lazy(ctx: ObjectContext) -> list[Any]:
        present = await ctx.get("count", type_hint=int)
        missing = await ctx.get("missing", type_hint=int)
        return [present, missing, await ctx.state_keys()]

    @obj.handler(kind="shared")
    async def peek(ctx: ObjectSharedContext) -> int:
        return await ctx.get("count", type_hint=int) or 0


def _workflow_handlers(wf: Workflow) -> None:
    @wf.main()
    async def run(ctx: WorkflowContext, text: str) -> str:
        ctx.set("st", text)
        return await ctx.promise("p", type_hint=str).value()

    @wf.handler()
    async def approve(ctx: WorkflowSharedContext, value: str) -> str:
        before = await ctx.promise("p", type_hint=str).peek()
        await ctx.promise("p", type_hint=str).resolve(value)
        return str(before)

    @wf.handler()
    async def again(ctx: WorkflowSharedContext, value: str) -> str:
        try:
            await ctx.promise("p", type_hint=str).resolve(value)
        except TerminalError as error:
            return f"{error.status_code} {error.message}"
        return "ok"
