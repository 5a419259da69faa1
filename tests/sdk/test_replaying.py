"""A cold replay: real handlers, journals made by hand, no scheduler."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import trio
from google.protobuf.message import Message
from understudy import (
    JournalValueCodec,
    RetryableError,
    Service,
    TerminalError,
    VirtualObject,
    Workflow,
    app,
    gather,
    select,
)
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MessageType as T
from understudy.replaying import (
    STEPS_MAX,
    Awaited,
    Ended,
    ForeignAwait,
    Mismatch,
    NotHere,
    Raised,
    Recorded,
    Replayed,
    raw_id,
    replay,
)

from tests.sdk.fakes import cancel_signal, completed

ID = "inv_14NAYWOkWeyC4HqaAv3eM70hJLaHxEfgB2"
Handler = Callable[[Any], Awaitable[Any]]


def frame(type_: T, message: Message) -> Frame:
    return Frame(type_, message.SerializeToString())


INPUT = frame(T.INPUT, pb.InputCommand(value=pb.Value(content=b'"ann"')))


def run(cid: int, name: str) -> Frame:
    return frame(T.RUN, pb.RunCommand(result_completion_id=cid, name=name))


def sleep(cid: int, at: int = 99) -> Frame:
    return frame(T.SLEEP, pb.SleepCommand(wake_up_time=at, result_completion_id=cid))


def played(handler: Handler, *journal: Frame, codec: JournalValueCodec | None = None, **fields: Any) -> Replayed:
    """What comes of *handler*, of an object, with Input and *journal*."""
    thing = VirtualObject("Thing")

    async def handle(ctx: Any) -> Any:
        return await handler(ctx)

    thing.handler("handle")(handle)
    recorded = Recorded("Thing", "handle", ID, (INPUT, *journal), key="k", **fields)
    return replay(app([thing], journal_value_codec=codec), recorded)


async def never() -> int:
    raise AssertionError("no closure is executed")


async def three_steps(ctx: Any) -> str:
    a = await ctx.run("first", never)
    ctx.set("seen", a)
    await ctx.sleep(timedelta(seconds=5))
    return f"done {a}"


def test_it_stops_where_the_journal_does() -> None:
    found = played(three_steps)
    assert [one.words for one in found.commands] == ["run 'first'"]
    assert found.commands[0].index == 1
    assert found.fate == Awaited((1,), ("the result of step 1, run 'first'",))
    assert found.fits
    assert found.hazards == ()


def test_it_goes_on_from_recorded_results() -> None:
    found = played(three_steps, run(1, "first"), completed(T.RUN_COMPLETION, 1, b"7"))
    assert [(one.index, one.words) for one in found.commands] == [(2, "set state 'seen' to 7"), (3, "sleep")]
    assert pb.SleepCommand.FromString(found.commands[1].payload).wake_up_time == 5000
    assert found.fate == Awaited((2,), ("the result of step 3, sleep",))


def test_a_whole_journal_ends() -> None:
    seen = frame(T.SET_STATE, pb.SetStateCommand(key=b"seen", value=pb.Value(content=b"7")))
    journal = (run(1, "first"), completed(T.RUN_COMPLETION, 1, b"7"), seen, sleep(2), completed(T.SLEEP_COMPLETION, 2))
    found = played(three_steps, *journal)
    assert found.fate == Ended(b'"done 7"')
    assert [one.words for one in found.commands] == ['return "done 7"']
    output = frame(T.OUTPUT, pb.OutputCommand(value=pb.Value(content=b'"done 7"')))
    assert played(three_steps, *journal, output) == Replayed((), Ended(b'"done 7"'))


def test_a_mismatch_has_both_sides() -> None:
    found = played(three_steps, run(1, "other"), completed(T.RUN_COMPLETION, 1, b"7"))
    assert not found.fits
    mismatch = found.fate
    assert isinstance(mismatch, Mismatch)
    assert (mismatch.code, mismatch.index) == (570, 1)
    assert mismatch.recorded is not None
    assert mismatch.recorded.words == "run 'other'"
    assert mismatch.replayed is not None
    assert mismatch.replayed.words == "run 'first'"
    assert found.commands == ()


def test_an_await_that_is_new_is_a_mismatch() -> None:
    found = played(three_steps, run(1, "first"), sleep(2)).fate
    assert isinstance(found, Mismatch)
    assert (found.code, found.index) == (570, 2)
    assert found.recorded is not None
    assert found.recorded.words == "sleep"
    assert found.replayed is None
    assert "await was added" in found.message


def test_an_end_before_the_journal_is_a_mismatch() -> None:
    async def ends(ctx: Any) -> None:
        return None

    found = played(ends, sleep(1)).fate
    assert isinstance(found, Mismatch)
    assert found.replayed is not None
    assert found.replayed.words == "return nothing"


def test_a_journal_that_cannot_be_read_is_a_mismatch() -> None:
    found = played(three_steps, run(1, "first"), Frame(T.RUN_COMPLETION, b"\xff")).fate
    assert isinstance(found, Mismatch)
    assert found.code == 500
    assert "cannot be decoded" in found.message
    unknown = played(three_steps, Frame(T.SUSPENSION, b"")).fate
    assert isinstance(unknown, Mismatch)
    assert unknown.code == 571


def test_runs_in_a_combinator_are_waited_for_together() -> None:
    async def race(ctx: Any) -> Any:
        return await select(a=ctx.run("a", never), b=ctx.run("b", never), c=ctx.sleep(timedelta(1)))

    found = played(race)
    assert [one.words for one in found.commands] == ["run 'a'", "run 'b'", "sleep"]
    assert isinstance(found.fate, Awaited)
    assert found.fate.keys == (1, 2, 3)


def test_only_what_is_left_is_awaited() -> None:
    async def both(ctx: Any) -> Any:
        return await gather(ctx.sleep(timedelta(1)), ctx.sleep(timedelta(1)))

    found = played(both, sleep(1), sleep(2), completed(T.SLEEP_COMPLETION, 1)).fate
    assert isinstance(found, Awaited)
    assert found.keys == (2,)


def test_a_handler_that_raises_may_be_tried_again() -> None:
    async def raises(ctx: Any) -> None:
        await ctx.sleep(timedelta(1))
        raise RetryableError("later")

    found = played(raises, sleep(1), completed(T.SLEEP_COMPLETION, 1))
    assert isinstance(found.fate, Raised)
    assert found.fate.message == "later"
    assert found.fits, "the journal is used up: this may be what the code always does"
    too_early = played(raises, sleep(1), completed(T.SLEEP_COMPLETION, 1), sleep(2))
    assert isinstance(too_early.fate, Raised)
    assert [one.index for one in too_early.fate.left] == [2]
    assert not too_early.fits


def test_a_failure_for_good_is_an_end() -> None:
    async def fails(ctx: Any) -> None:
        raise TerminalError("no", 418)

    found = played(fails)
    assert isinstance(found.fate, Ended)
    assert found.fate.failure is not None
    assert found.fate.failure.code == 418
    assert [one.words for one in found.commands] == ["end with failure 418: no"]


def test_what_ends_a_process_ends_a_replay_only() -> None:
    async def exits(ctx: Any) -> None:
        ctx.set("a", 1)
        sys.exit(3)

    found = played(exits)
    assert isinstance(found.fate, Raised)
    assert "SystemExit" in found.fate.message


@pytest.mark.parametrize(
    "foreign",
    [partial(asyncio.sleep, 0), partial(asyncio.sleep, 1), partial(trio.sleep, 1), trio.lowlevel.checkpoint],
    ids=["asyncio yields", "asyncio waits", "trio waits", "trio yields"],
)
def test_a_foreign_await_is_a_finding(foreign: Callable[[], Awaitable[None]]) -> None:
    async def waits(ctx: Any) -> None:
        ctx.set("a", 1)
        await foreign()
        ctx.set("b", 1)

    found = played(waits)
    assert isinstance(found.fate, ForeignAwait)
    assert found.fate.site.filename == __file__
    assert not found.fits


async def test_a_foreign_await_is_a_finding_under_a_scheduler() -> None:
    async def waits(ctx: Any) -> None:
        ctx.set("a", 1)
        with trio.move_on_after(1):
            await trio.sleep(1)

    found = played(waits)
    assert isinstance(found.fate, ForeignAwait)
    assert [one.words for one in found.commands] == ["set state 'a' to 1"]
    assert [one.kind for one in found.hazards] == ["foreign-await"]
    await trio.lowlevel.checkpoint()


def test_a_handler_that_awaits_on_its_way_out_is_let_go() -> None:
    async def clings(ctx: Any) -> None:
        try:
            await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)

    assert isinstance(played(clings).fate, ForeignAwait)


def test_a_handler_that_swallows_its_end_is_reported() -> None:
    async def swallows(ctx: Any) -> str:
        with suppress(BaseException):
            await ctx.sleep(timedelta(1))
        return "what"

    found = played(swallows)
    assert isinstance(found.fate, Awaited)
    assert [one.kind for one in found.hazards] == ["swallowed-end"]


def test_a_handler_that_never_waits_comes_to_an_end() -> None:
    async def loops(ctx: Any) -> None:
        while True:
            ctx.set("a", 1)

    found = played(loops)
    assert len(found.commands) == STEPS_MAX
    assert isinstance(found.fate, Raised)


class Sealed(JournalValueCodec):
    """Every encoding differs; decoding may wait for something."""

    def __init__(self, wait: Callable[[], Awaitable[None]] | None = None) -> None:
        self._count = 0
        self._wait = wait

    def encode(self, value: bytes) -> bytes:
        self._count += 1
        return b"%d|%b" % (self._count, value)

    async def decode(self, value: bytes) -> bytes:
        if self._wait is not None:
            await self._wait()
        return value.partition(b"|")[2]


async def sets(ctx: Any) -> None:
    ctx.set("a", await ctx.run("draw", never))


def test_a_codec_is_used_and_its_values_are_not_compared() -> None:
    sealed_input = frame(T.INPUT, pb.InputCommand())
    recorded_set = frame(T.SET_STATE, pb.SetStateCommand(key=b"a", value=pb.Value(content=b"77|9")))
    thing = VirtualObject("Thing")
    thing.handler("sets")(sets)
    journal = (sealed_input, run(1, "draw"), completed(T.RUN_COMPLETION, 1, b"5|9"), recorded_set)
    recorded = Recorded("Thing", "sets", ID, journal, key="k")
    found = replay(app([thing], journal_value_codec=Sealed()), recorded)
    assert isinstance(found.fate, Ended)
    assert not replay(app([thing]), with_frames(recorded, *journal[:3], recorded_set)).fits


def test_a_codec_that_waits_is_a_finding() -> None:
    thing = VirtualObject("Thing")
    thing.handler("sets")(sets)
    recorded = Recorded("Thing", "sets", ID, (INPUT, run(1, "draw"), completed(T.RUN_COMPLETION, 1, b"5|9")), key="k")
    found = replay(app([thing], journal_value_codec=Sealed(partial(asyncio.sleep, 0))), recorded)
    assert isinstance(found.fate, ForeignAwait)
    assert "codec" in found.fate.detail


def with_frames(recorded: Recorded, *frames: Frame) -> Recorded:
    return Recorded(recorded.service, recorded.handler, recorded.invocation_id, frames, key=recorded.key)


def test_state_is_what_is_told() -> None:
    async def reads(ctx: Any) -> Any:
        return [await ctx.get("a"), await ctx.get("b"), await ctx.state_keys()]

    found = played(reads, state=((b"a", b"1"),), state_complete=True)
    assert found.fate == Ended(b'[1, null, ["a"]]')
    lazy = played(reads, state=((b"a", b"1"),))
    assert isinstance(lazy.fate, Awaited)
    assert [one.words for one in lazy.commands] == ["get state 'a'", "get state 'b'"]


def test_a_cancel_is_passed_on_as_in_an_attempt() -> None:
    async def cleans_up(ctx: Any) -> None:
        call = ctx.generic_call("Other", "work", b"1")
        try:
            await call
        except TerminalError:
            ctx.clear("cart")

    call = frame(
        T.CALL,
        pb.CallCommand(
            service_name="Other",
            handler_name="work",
            parameter=b"1",
            invocation_id_notification_idx=1,
            result_completion_id=2,
        ),
    )
    waits = played(cleans_up, call, cancel_signal())
    assert waits.fate == Awaited((1,), ("the invocation id of step 1, call Other/work with 1",))
    child = frame(T.CALL_INVOCATION_ID_COMPLETION, pb.Notification(completion_id=1, invocation_id=ID))
    found = played(cleans_up, call, child, cancel_signal())
    assert [one.words for one in found.commands] == [f"cancel {ID}", "clear state 'cart'", "return nothing"]


def test_ids_and_randomness_are_those_of_the_invocation() -> None:
    async def draws(ctx: Any) -> Any:
        return [ctx.awakeable()[0], ctx.random().random(), ctx.request().id, ctx.key()]

    found = played(draws, random_seed=5).fate
    assert isinstance(found, Ended)
    assert found.value is not None
    assert ID.encode() in found.value
    assert found == played(draws, random_seed=5).fate
    assert found != played(draws, random_seed=6).fate


def test_who_is_not_there_is_told() -> None:
    service = Service("Other")
    recorded = Recorded("Thing", "handle", ID, (INPUT,))
    assert isinstance(replay(app([service]), recorded).fate, NotHere)
    other = Recorded("Other", "handle", ID, (INPUT,), protocol_version=4)

    @service.handler()
    async def handle(ctx: Any) -> None: ...

    assert isinstance(replay(app([service]), other).fate, NotHere)


def test_workflows_are_replayed_too() -> None:
    flow = Workflow("Flow")

    @flow.main()
    async def main(ctx: Any) -> Any:
        return await ctx.promise("approved").value()

    found = replay(app([flow]), Recorded("Flow", "main", ID, (INPUT,), key="k"))
    assert found.fate == Awaited((1,), ("the result of step 1, wait for promise 'approved'",))


def test_what_is_no_journal_is_refused() -> None:
    with pytest.raises(ValueError, match="does not begin"):
        replay(app([]), Recorded("A", "b", ID, (sleep(1),)))
    with pytest.raises(ValueError, match="no invocation id"):
        replay(app([]), Recorded("A", "b", "inv_2", (INPUT,)))
    with pytest.raises(ValueError, match="base 62"):
        replay(app([]), Recorded("A", "b", ID[:-1] + "_", (INPUT,)))


def test_raw_ids_are_those_of_the_server() -> None:
    assert raw_id(ID).hex() == "4a6c6e32e26ce837e0f69135fdfcd0f2fc92e513455e709a"
