"""What operators do to an invocation of a live node: pause, resume, move, restart as new."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import understudy
from trio.testing import MockClock, wait_all_tasks_blocked
from understudy.protocol.messages import MessageType
from understudy_runtime.limits import Limits
from understudy_runtime.machine.waits import Wait, WaitKind
from understudy_runtime.model import ids
from understudy_runtime.model.commands import Cancel, Pause, RestartAsNew, Resume, Signal
from understudy_runtime.model.events import AttemptEnded, Event
from understudy_runtime.model.invocation import Failure, OnMaxAttempts, RetryPolicy, Status, Success, Target
from understudy_runtime.node import Deployment, Node

from tests.runtime.node.fakes import FakeWorld
from tests.runtime.node.manifests import manifest
from tests.runtime.node.stand import (
    END,
    Client,
    Dialogue,
    Script,
    ScriptedTransport,
    error,
    hosted,
    ignore,
    output,
    propose,
    run,
    scripted,
    sleep,
    suspension,
)

PLAIN = Limits(log_prewrite_bytes=0)
HOUR_LATER = attrs.evolve(PLAIN, retry_policy=RetryPolicy(3_600_000, 1000, 3_600_000))
ECHO = Target("Echo", "echo")
ADD = Target("Counter", "add", "k")
M = MessageType


def status(client: Client, invocation_id: str) -> Status:
    known = client.node.known(invocation_id)
    return Status.FREE if known is None else known.status


async def told(client: Client, command: Pause | Resume | Cancel | RestartAsNew | Signal) -> str:
    return (await client.node.request(command)).outcome


async def test_a_pause_cuts_the_attempt_and_a_resume_goes_on_where_it_was(autojump_clock: MockClock) -> None:
    async def script(d: Dialogue) -> None:
        if len(d.known) == 1:
            await d.say(run(1), propose(1, b"x"))
            await trio.sleep_forever()
        await d.say(output(b"1"), END)

    events: list[Event] = []
    limits = attrs.evolve(PLAIN, attempts_max=1)
    async with scripted(script, limits=limits, observe=events.append) as (client, transport):
        asked = await client.send(ADD, key="i")
        waiter = await client.send(ADD, key="j")
        await wait_all_tasks_blocked()
        assert await told(client, Pause(asked.invocation_id)) == "done"
        await wait_all_tasks_blocked()
        assert (transport.running, client.node.invokers[0].job_count) == (0, 0)
        assert (status(client, asked.invocation_id), status(client, waiter.invocation_id)) == (
            Status.PAUSED,
            Status.INBOXED,
        )
        assert client.node.waits(asked.invocation_id) == (Wait(WaitKind.RESUME),)
        assert await told(client, Pause(asked.invocation_id)) == "already_paused"
        assert await told(client, Resume(asked.invocation_id)) == "done"
        assert (await client.call(ADD, key="i")).result == Success(b"1")
    assert [frame.type for frame in transport.dialogues[1].known] == [M.INPUT, M.RUN, M.RUN_COMPLETION]
    assert [e.how for e in events if isinstance(e, AttemptEnded)][:2] == ["aborted", "finished"]


async def test_what_an_attempt_says_while_it_is_cut_does_not_count(autojump_clock: MockClock) -> None:
    async def script(d: Dialogue) -> None:
        if len(transport.dialogues) > 1:
            await d.say(output(b"second"), END)
        try:
            await trio.sleep_forever()
        finally:
            await d.say(output(b"first"), END)

    async with scripted(script) as (client, transport):
        asked = await client.send(ECHO, key="i")
        await wait_all_tasks_blocked()
        assert await told(client, Pause(asked.invocation_id)) == "done"
        await wait_all_tasks_blocked()
        assert status(client, asked.invocation_id) is Status.PAUSED
        await told(client, Resume(asked.invocation_id))
        assert (await client.call(ECHO, key="i")).result == Success(b"second")


async def test_a_paused_sleeper_sleeps_on_until_somebody_resumes_it(autojump_clock: MockClock) -> None:
    world = FakeWorld()

    async def script(d: Dialogue) -> None:
        if len(d.known) == 1:
            await d.say(sleep(1, world.now_ms() + 1_000), suspension(1))
        elif [frame.type for frame in d.known][-1] == M.SLEEP_COMPLETION:
            await d.say(output(b"1"), END)

    async with scripted(script, world=world) as (client, transport):
        asked = await client.send(ECHO, key="i")
        await wait_all_tasks_blocked()
        assert await told(client, Pause(asked.invocation_id)) == "done"
        await trio.sleep(10)
        assert (status(client, asked.invocation_id), len(transport.dialogues)) == (Status.PAUSED, 1)
        await told(client, Resume(asked.invocation_id))
        assert (await client.call(ECHO, key="i")).result == Success(b"1")


async def test_a_pause_outlives_the_server(autojump_clock: MockClock) -> None:
    world = FakeWorld()

    async def script(d: Dialogue) -> None:
        await d.hear(1)
        await d.say(output(b"1"), END)

    async with scripted(script, world=world, limits=attrs.evolve(PLAIN, flush_rows=1)) as (client, _):
        asked = await client.send(ADD, key="i")
        await wait_all_tasks_blocked()
        await told(client, Pause(asked.invocation_id))
    world.disk.power_cut()
    async with scripted(script, world=world) as (client, transport):
        await wait_all_tasks_blocked()
        assert (status(client, asked.invocation_id), transport.dialogues) == (Status.PAUSED, [])
        assert await told(client, Cancel(asked.invocation_id)) == "accepted"
        await wait_all_tasks_blocked()
        (dialogue,) = transport.dialogues
        assert [frame.type for frame in dialogue.known] == [M.INPUT, M.SIGNAL_NOTIFICATION]


async def test_who_waits_for_a_slot_is_paused_without_an_attempt(autojump_clock: MockClock) -> None:
    async def script(d: Dialogue) -> None:
        await d.hear(1)
        await d.say(output(b"1"), END)

    async with scripted(script, limits=attrs.evolve(PLAIN, attempts_max=1)) as (client, transport):
        first, second = await client.send(ECHO, key="i"), await client.send(ECHO, key="j")
        await wait_all_tasks_blocked()
        before = client.node.partitions[0].tables.invocation(second.invocation_id)
        assert before is not None
        assert await told(client, Resume(second.invocation_id)) == "done"
        assert before.lease == 1, "its turn comes, a resume does not send it to the end of the queue"
        assert await told(client, Pause(second.invocation_id)) == "done"
        assert await told(client, Pause(first.invocation_id)) == "done"
        await wait_all_tasks_blocked()
        assert (len(transport.dialogues), client.node.invokers[0].job_count) == (1, 0)


async def test_a_resume_of_what_runs_does_nothing(autojump_clock: MockClock) -> None:
    async def script(d: Dialogue) -> None:
        await d.hear(1)
        await d.say(output(b"1"), END)

    async with scripted(script) as (client, transport):
        asked = await client.send(ECHO, key="i")
        await wait_all_tasks_blocked()
        assert await told(client, Resume(asked.invocation_id)) == "done"
        assert await told(client, Resume(asked.invocation_id, deployment_id="dp_2a")) == "not_movable"
        await told(client, Signal(asked.invocation_id, 17))
        assert (await client.call(ECHO, key="i")).result == Success(b"1")
    assert len(transport.dialogues) == 1


async def test_a_resume_of_what_backs_off_tries_again_at_once_and_counts_anew(autojump_clock: MockClock) -> None:
    async def script(d: Dialogue) -> None:
        if len(transport.dialogues) == 1:
            await d.say(error("not yet"))
        else:
            await d.say(output(b"1"), END)

    async with scripted(script, limits=HOUR_LATER) as (client, transport):
        asked = await client.send(ECHO, key="i")
        await trio.sleep(1)
        assert client.node.waits(asked.invocation_id) == (Wait(WaitKind.RETRY, detail="not yet"),)
        assert await told(client, Resume(asked.invocation_id)) == "done"
        assert (await client.call(ECHO, key="i")).result == Success(b"1")
        assert trio.current_time() < 60
    assert transport.dialogues[1].start.retry_count_since_last_stored_entry == 0


async def test_a_suspended_invocation_can_be_run_at_once(autojump_clock: MockClock) -> None:
    world = FakeWorld()

    async def script(d: Dialogue) -> None:
        if len(d.known) == 1:
            await d.say(sleep(1, world.now_ms() + 3_600_000))
        await d.say(suspension(1))

    async with scripted(script, world=world) as (client, transport):
        asked = await client.send(ECHO, key="i")
        await wait_all_tasks_blocked()
        assert await told(client, Resume(asked.invocation_id)) == "done"
        await wait_all_tasks_blocked()
        assert (len(transport.dialogues), status(client, asked.invocation_id)) == (2, Status.SUSPENDED)


@asynccontextmanager
async def two_deployments(
    old: Script, new: Script, world: FakeWorld
) -> AsyncIterator[tuple[Client, ScriptedTransport, ScriptedTransport]]:
    """A node whose services all lie on two deployments; the newer one takes what is not pinned."""
    transports = ScriptedTransport(old), ScriptedTransport(new)
    places = [Deployment(id_, one, manifest()) for id_, one in zip(("dp_1a", "dp_2a"), transports, strict=True)]
    node = Node(world, HOUR_LATER, deployments=places, observe=ignore)
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        yield Client(node), *transports
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("way", ["backing off", "suspended", "paused"])
async def test_whoever_does_not_run_is_moved_to_another_deployment(way: str, autojump_clock: MockClock) -> None:
    world = FakeWorld()

    async def old(d: Dialogue) -> None:
        await d.say(run(1), propose(1, b"x"))
        if way == "backing off":
            await d.say(error("broken code"))
        else:
            await d.say(sleep(2, world.now_ms() + 3_600_000), suspension(2))

    async def new(d: Dialogue) -> None:
        await d.say(output(b"mended"), END)

    async with scripted(old, world=world, limits=HOUR_LATER) as (client, _):
        asked = await client.send(ECHO, key="i")
        await trio.sleep(1)
        if way == "paused":
            await told(client, Pause(asked.invocation_id))
    async with two_deployments(old, new, world) as (client, _, mended):
        await trio.sleep(1)
        assert mended.dialogues == [], "it is pinned"
        assert await told(client, Resume(asked.invocation_id, deployment_id="dp_2a")) == "done"
        assert (await client.call(ECHO, key="i")).result == Success(b"mended")
        (dialogue,) = mended.dialogues
        assert [frame.type for frame in dialogue.known][:3] == [M.INPUT, M.RUN, M.RUN_COMPLETION]


async def test_restart_as_new_replays_the_part_that_is_kept(autojump_clock: MockClock) -> None:
    """Our SDK replays it: steps of the part are not executed again, those behind it are."""
    executed: list[str] = []
    shop = understudy.VirtualObject("Shop")

    @shop.handler("buy")
    async def buy(ctx: understudy.ObjectContext, name: str) -> str:
        await ctx.run("reserve", lambda: executed.append("reserve"))
        await ctx.run("charge", lambda: executed.append("charge"))
        if name == "fail":
            raise understudy.TerminalError("declined")
        return f"{name} {ctx.uuid()}"

    limits = attrs.evolve(PLAIN, journal_retention_ms=60_000)
    async with hosted(understudy.app(services=[shop]), world=FakeWorld(), limits=limits) as client:
        first = await client.call(Target("Shop", "buy", "k"), b'"book"', key="i")
        journal = [entry.type for entry in client.node.partitions[0].tables.journal(first.invocation_id)]
        assert journal == [M.INPUT, M.RUN, M.RUN_COMPLETION, M.RUN, M.RUN_COMPLETION, M.OUTPUT]
        wanted = {0: ["reserve", "charge"], 1: ["charge"], 2: ["charge"], 3: [], 4: []}
        for number, (from_index, again) in enumerate(wanted.items()):
            executed.clear()
            new_id = ids.invocation_id_beside(first.invocation_id, client.node.now_ms(), bytes((number,) * 12))
            restart = RestartAsNew(first.invocation_id, new_id, from_index=from_index, random_seed=number + 1)
            assert await told(client, restart) == "done"
            done = await client.node.result(new_id)
            assert done is not None
            assert executed == again
            assert isinstance(done.result, Success)
            assert (done.result == first.result) == (from_index > 0), "the seed is kept with the steps that used it"
        restart = RestartAsNew(first.invocation_id, new_id, from_index=5)
        assert await told(client, restart) == "bad_prefix"


async def test_a_failed_invocation_is_restarted_too(autojump_clock: MockClock) -> None:
    async def script(d: Dialogue) -> None:
        await d.say(error("x")) if len(transport.dialogues) == 1 else await d.say(output(b"1"), END)

    policy = RetryPolicy(1, 1000, 1, 1, OnMaxAttempts.KILL)
    limits = attrs.evolve(PLAIN, journal_retention_ms=60_000, retry_policy=policy)
    async with scripted(script, limits=limits) as (client, transport):
        failed = await client.call(ECHO, key="i")
        assert failed.result == Failure(500, "x")
        new_id = ids.invocation_id_beside(failed.invocation_id, 5, bytes(12))
        assert await told(client, RestartAsNew(failed.invocation_id, new_id)) == "done"
        done = await client.node.result(new_id)
        assert done is not None
        assert done.result == Success(b"1")
        assert (await client.call(ECHO, key="i")).result == Failure(500, "x"), "the key still means the old one"
