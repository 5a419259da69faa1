"""Runs and combinators as a handler sees them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import anyio
import pytest
from understudy import (
    Context,
    ObjectContext,
    RetryableError,
    RunOptions,
    TerminalError,
    VirtualObject,
    as_completed,
    gather,
    select,
    wait_completed,
)
from understudy.api.regions import REGION
from understudy.protocol import service_pb2 as pb
from understudy.protocol.messages import MessageType as T

from tests.sdk.fakes import FakeLink, completed, start
from tests.sdk.playing import failure, output, play


@dataclass
class Seat:
    row: int


other = VirtualObject("Other")


@other.handler()
async def nothing(ctx: ObjectContext) -> None: ...


# -- runs --


async def test_runs_take_arguments_and_come_in_every_shape() -> None:
    class Adder:
        def __call__(self, a: int, b: int) -> int:
            return a + b

    async def slow(a: int, *, b: int) -> int:
        await anyio.lowlevel.checkpoint()
        return a + b

    async def handler(ctx: Context) -> list[Any]:
        return [
            await ctx.run_typed("sync", lambda a, b: a + b, RunOptions(), 1, 2),
            await ctx.run_typed("async", slow, RunOptions(), 1, b=3),
            await ctx.run_typed("object", Adder(), RunOptions(), 2, 3),
            await ctx.run_typed("lambda of async", lambda: slow(3, b=4)),
            await ctx.run("old", lambda a: a * 2, args=(4,)),
        ]

    assert output(await play(handler)) == [3, 4, 5, 7, 8]


async def test_a_runs_value_is_typed_by_its_function() -> None:
    def seat() -> Seat:
        return Seat(5)

    async def handler(ctx: Context) -> int:
        found = await ctx.run_typed("seat", seat)
        assert isinstance(found, Seat)
        hinted = await ctx.run_typed("hinted", lambda: {"row": 6}, RunOptions(type_hint=dict))
        assert hinted == {"row": 6}
        return found.row

    assert output(await play(handler)) == 5


async def test_a_runs_command_and_proposal_leave_in_one_flush() -> None:
    async def handler(ctx: ObjectContext) -> None:
        ctx.set("k", 1)
        await ctx.run_typed("one", lambda: 1)
        await ctx.run_typed("two", lambda: 2)

    link = await play(handler)
    assert [[T(frame.type) for frame in batch] for batch in link.batches] == [
        [T.SET_STATE, T.RUN, T.PROPOSE_RUN_COMPLETION],
        [T.RUN, T.PROPOSE_RUN_COMPLETION],
        [T.OUTPUT, T.END],
    ]


async def test_calls_start_before_a_run_that_follows_them_executes() -> None:
    seen: list[list[T]] = []

    async def handler(ctx: Context) -> None:
        ctx.object_send(nothing, "k", None)
        await ctx.run_typed("slow", lambda: seen.append(link.types()))

    link = FakeLink(*start())
    await play(handler, link=link)
    assert seen == [[T.ONE_WAY_CALL, T.RUN]]


async def test_a_run_nobody_awaits_is_not_executed() -> None:
    executed: list[int] = []

    async def handler(ctx: Context) -> None:
        ctx.run_typed("forgotten", lambda: executed.append(1))

    link = await play(handler)
    assert executed == []
    assert link.types() == [T.RUN, T.OUTPUT, T.END]


async def test_a_run_knows_its_region_and_leaves_it() -> None:
    seen: list[Any] = []

    async def look() -> None:
        seen.append(REGION.get())

    async def handler(ctx: Context) -> None:
        seen.append(REGION.get())
        await ctx.run_typed("inline", look)
        await gather(ctx.run_typed("a", look), ctx.run_typed("b", look))
        seen.append(REGION.get())

    await play(handler)
    assert seen == ["handler", "run", "run", "run", "handler"]
    assert REGION.get() is None


@pytest.mark.parametrize(
    "error",
    [
        TerminalError("no", 422),
        ExceptionGroup("several", [TerminalError("no", 422)]),
    ],
)
async def test_a_terminal_failure_of_a_run_is_recorded_and_raised(error: Exception) -> None:
    async def handler(ctx: Context) -> None:
        def fail() -> None:
            raise error

        await ctx.run_typed("work", fail)

    link = await play(handler)
    assert link.types() == [T.RUN, T.PROPOSE_RUN_COMPLETION, T.OUTPUT, T.END]
    assert failure(link) == (422, "no")


async def test_retries_of_a_run_say_when() -> None:
    async def handler(ctx: Context) -> None:
        def fail() -> None:
            raise RetryableError("busy", 503, retry_after=timedelta(seconds=3))

        await ctx.run_typed("work", fail)

    link = await play(handler)
    error = pb.Error.FromString(link.sent[-1].payload)
    assert (error.code, error.message, error.next_retry_delay) == (503, "busy", 3000)
    assert (error.related_command_name, error.related_command_type) == ("work", T.RUN)


async def test_a_value_without_a_form_is_a_failure_of_its_run() -> None:
    async def handler(ctx: Context) -> None:
        await ctx.run_typed("work", lambda: object())

    link = await play(handler)
    assert "no JSON form" in pb.Error.FromString(link.sent[-1].payload).message


# -- combinators --


async def test_as_completed_gives_all_in_the_order_of_the_journal() -> None:
    link = FakeLink(*start())
    link.on_send = lambda frame: (
        link.push(completed(T.SLEEP_COMPLETION, 2), completed(T.SLEEP_COMPLETION, 1))
        if frame.type == T.SLEEP and pb.SleepCommand.FromString(frame.payload).result_completion_id == 2
        else None
    )

    async def handler(ctx: Context) -> list[str]:
        naps = {name: ctx.sleep(timedelta(1), name=name) for name in ("a", "b")}
        order = []
        async for nap in as_completed(*naps.values()):
            order += [name for name, one in naps.items() if one is nap]
        return order

    await play(handler, link=link)
    assert output(link) == ["b", "a"]


async def test_wait_completed_returns_at_once_when_one_is_done() -> None:
    async def handler(ctx: Context) -> list[int]:
        done_run = ctx.run_typed("x", lambda: 1)
        await done_run
        nap = ctx.sleep(timedelta(1))
        done, pending = await wait_completed(nap, done_run)
        assert done == [done_run]
        assert pending == [nap]
        name, value = await select(nap=nap, run=done_run)
        assert (name, value) == ("run", 1)
        await gather(done_run)
        assert await wait_completed() == ([], [])
        return [len(done), len(pending)]

    assert output(await play(handler)) == [1, 1]


async def test_gather_raises_nothing_of_its_own() -> None:
    async def handler(ctx: Context) -> list[str]:
        def fail() -> str:
            raise TerminalError("no", 418)

        good, bad = ctx.run_typed("good", lambda: "yes"), ctx.run_typed("bad", fail)
        await gather(good, bad)
        with pytest.raises(TerminalError, match="no"):
            await bad
        with pytest.raises(TerminalError, match="no"):
            await bad
        return [await good]

    assert output(await play(handler)) == ["yes"]


async def test_only_durable_futures_of_one_context_are_waited_for() -> None:
    async def handler(ctx: Context) -> None:
        with pytest.raises(TerminalError, match="only durable futures"):
            await gather(anyio.Event())  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="at least one"):
            await select()

    await play(handler)
