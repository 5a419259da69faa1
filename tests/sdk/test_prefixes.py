"""Journals of random programs from every prefix, damaged, lost and again and again: see `prefixes.py`."""

from __future__ import annotations

import gc
import random
import tracemalloc
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import anyio
import pytest
from understudy import Context, ObjectContext, VirtualObject, app, gather, select
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MessageType as T

from tests.sdk.fakes import FakeHost, FakeLink, completed, start
from tests.sdk.journals import Journal, Played, make, note
from tests.sdk.playing import output, play
from tests.sdk.prefixes import DAMAGES, Unclean, check_damaged, check_prefixes, run
from tests.sdk.programs import Program, Stamping, programs

EXAMPLES = 200
PROGRAM: Program = [
    ("set", "a", 1),
    ("get", "a"),
    ("call", "a", "x"),
    ("sleep", 1),
    ("run", "x", 0, "slow"),
    ("signal", "p"),
    ("as_completed", [0, 1, 2]),
    ("try", [("select", [0, 3])], [("send", "a", True)]),
    ("resolve", "q", 1),
    ("keys",),
    ("draw",),
]


def test_every_prefix_of_random_journals() -> None:
    hits = run(programs, EXAMPLES, 1)
    assert hits["journals"] == EXAMPLES
    assert hits["entries"] > 5 * EXAMPLES, "the programs are not all empty"
    for word in ("end", "suspension"):
        assert hits[f"prefix: {word}"] > EXAMPLES
    for damage in DAMAGES:
        assert any(count for name, count in hits.items() if name.startswith(f"{damage.__name__}: 57"))


async def many_replays(journals: list[Journal], rounds: int) -> None:
    for number in range(rounds):
        for journal in journals:
            await check_prefixes(Played(PROGRAM), journal, Counter())
            await check_damaged(Played(PROGRAM), journal, random.Random(number), Counter())


async def test_replays_keep_nothing() -> None:
    journals = [await make(Played(PROGRAM), seed) for seed in range(5)]
    assert sum(len(journal.entries) for journal in journals) > 60
    await many_replays(journals, 3)
    gc.collect()
    objects = len(gc.get_objects())
    tracemalloc.start()
    try:
        await many_replays(journals, 1)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        await many_replays(journals, 10)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000, "some hundred replays, not a byte for each"
    assert len(gc.get_objects()) - objects < 100


@pytest.mark.parametrize("at", [0, 2, 6, 8])
async def test_a_program_that_is_another_one_is_found(at: int) -> None:
    journal = await make(Played(PROGRAM), 1)
    changed = [*PROGRAM[:at], ("tell", "p"), *PROGRAM[at:]]
    with pytest.raises(Unclean, match=r"refused: 570|went on to"):
        await check_prefixes(Played(changed), journal, Counter())


# -- what was found --

UNFIT: dict[str, tuple[Callable[[ObjectContext], Any], Frame]] = {
    "sleep": (lambda ctx: ctx.sleep(timedelta(1)), note(T.SLEEP_COMPLETION, completion_id=1, value=b"1")),
    "state": (lambda ctx: ctx.get("k"), note(T.GET_LAZY_STATE_COMPLETION, completion_id=1, keys=[b"k"])),
    "keys": (lambda ctx: ctx.state_keys(), note(T.GET_LAZY_STATE_KEYS_COMPLETION, completion_id=1, void=True)),
    "id": (
        lambda ctx: ctx.generic_send("S", "h", b"").invocation_id(),
        note(T.CALL_INVOCATION_ID_COMPLETION, completion_id=1, value=b"1"),
    ),
    "id of a call": (
        lambda ctx: ctx.generic_call("S", "h", b""),
        note(T.CALL_INVOCATION_ID_COMPLETION, completion_id=1, failure=(500, "no")),
    ),
    "run": (
        lambda ctx: ctx.run("x", lambda: 1),
        note(T.RUN_COMPLETION, completion_id=1, invocation_id="inv_1x"),
    ),
}


@pytest.mark.parametrize("codec", [None, Stamping(0)], ids=["plain", "codec"])
@pytest.mark.parametrize("step", UNFIT)
async def test_a_result_of_a_kind_the_step_cannot_have_is_a_violation(step: str, codec: Stamping | None) -> None:
    take, answer = UNFIT[step]
    thing = VirtualObject("Thing")

    @thing.handler()
    async def handle(ctx: ObjectContext) -> None:
        await take(ctx)

    link = FakeLink(*start(partial_state=True), answer)
    application = app([thing], journal_value_codec=codec)
    await application.attempt(service="Thing", handler="handle", version=6, link=link, host=FakeHost())
    (error,) = [frame for frame in link.sent if frame.type == T.ERROR]
    message = pb.Error.FromString(error.payload)
    assert (message.code, link.sent[-1]) == (571, error)
    assert "expected" in message.message


async def test_a_run_that_has_not_begun_when_the_handler_ends_begins_no_more() -> None:
    executed: list[str] = []

    async def handler(ctx: Context) -> str:
        run = ctx.run("late", lambda: executed.append("late"))
        return str((await select(run=run, nap=ctx.sleep(timedelta(1))))[0])

    link = FakeLink(*start())
    link.on_send = lambda frame: link.push(completed(T.SLEEP_COMPLETION, 2)) if frame.type == T.SLEEP else None
    await play(handler, link=link)
    assert output(link) == "nap"
    assert executed == []


async def test_how_a_run_fails_that_the_end_of_the_handler_cuts_short_changes_nothing() -> None:
    async def failing() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("cut short")

    async def handler(ctx: Context) -> str:
        run = ctx.run("long", failing)
        nap = ctx.sleep(timedelta(1))
        await gather(nap)
        return str((await select(run=run, more=ctx.sleep(timedelta(1))))[0])

    link, host = FakeLink(*start()), FakeHost()
    sleeps = iter((2, 3))

    def answer(frame: Frame) -> None:
        if frame.type == T.SLEEP:
            link.push(completed(T.SLEEP_COMPLETION, next(sleeps)))

    link.on_send = answer
    await play(handler, link=link, host=host)
    assert output(link) == "more"
    assert host.hazards == []


async def test_a_run_whose_result_comes_while_it_executes_is_not_proposed() -> None:
    async def work() -> int:
        link.push(completed(T.RUN_COMPLETION, 1, b"7"))
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        return 8

    async def handler(ctx: Context) -> Any:
        run = ctx.run("work", work)
        return (await select(run=run, nap=ctx.sleep(timedelta(1))))[1]

    link = FakeLink(*start())
    await play(handler, link=link)
    assert output(link) == 7
    assert T.PROPOSE_RUN_COMPLETION not in link.types()
