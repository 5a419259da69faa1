"""Attempts through a whole node: retries, time-outs, slots, notifications, cuts."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import FLAG_REQUESTED_ACK, Frame
from understudy.protocol.messages import MessageType
from understudy_runtime.invoker.port import TransportError
from understudy_runtime.limits import Limits
from understudy_runtime.model.commands import Kill
from understudy_runtime.model.events import AttemptEnded, Event, RetryScheduled
from understudy_runtime.model.invocation import Failure, OnMaxAttempts, RetryPolicy, Status, Success, Target
from understudy_runtime.node import until

from tests.runtime.node.fakes import FakeWorld
from tests.runtime.node.stand import (
    END,
    Dialogue,
    error,
    output,
    propose,
    run,
    scripted,
    sleep,
    suspension,
)

ECHO = Target("Echo", "echo")
OTHER = Target("Echo", "other")
PLAIN = Limits(log_prewrite_bytes=0)


async def answer(d: Dialogue) -> None:
    await d.say(output(b"1"), END)


async def test_an_attempt_that_fails_is_tried_again_with_its_count(autojump_clock: MockClock) -> None:
    async def script(d: Dialogue) -> None:
        if len(transport.dialogues) < 3:
            await d.say(error("not yet"))
        else:
            await answer(d)

    events: list[Event] = []
    async with scripted(script, observe=events.append) as (client, transport):
        completed = await client.call(ECHO)
    assert completed.result == Success(b"1")
    assert [d.start.retry_count_since_last_stored_entry for d in transport.dialogues] == [0, 1, 2]
    assert [e.delay_ms // 500 for e in events if isinstance(e, RetryScheduled)] == [1, 2]
    assert [e.how for e in events if isinstance(e, AttemptEnded)] == ["failed", "failed", "finished"]


async def test_a_stored_command_starts_the_retry_count_anew_and_is_replayed(autojump_clock: MockClock) -> None:
    async def script(d: Dialogue) -> None:
        if len(transport.dialogues) == 1:
            await d.say(error("first"))
        elif len(transport.dialogues) == 2:
            await d.say(run(1), propose(1, b"x"), error("second"))
        else:
            await answer(d)

    async with scripted(script) as (client, transport):
        await client.call(ECHO)
    last = transport.dialogues[-1]
    assert last.start.retry_count_since_last_stored_entry == 1
    assert [frame.type for frame in last.known] == [MessageType.INPUT, MessageType.RUN, MessageType.RUN_COMPLETION]
    assert last.start.known_entries == 3


async def test_attempts_that_never_arrive_are_not_counted(autojump_clock: MockClock) -> None:
    async def script(d: Dialogue) -> None:
        if len(transport.dialogues) < 4:
            raise TransportError("refused", reached=False)
        await answer(d)

    async with scripted(script) as (client, transport):
        await client.call(ECHO)
    assert transport.dialogues[-1].start.retry_count_since_last_stored_entry == 0


async def test_a_delay_the_endpoint_asks_for_is_kept(autojump_clock: MockClock) -> None:
    async def script(d: Dialogue) -> None:
        if len(transport.dialogues) == 1:
            await d.say(error("later", next_retry_ms=12_345))
        elif len(transport.dialogues) == 2:
            raise TransportError("busy", reached=True, status=429, retry_after_ms=54_321)
        else:
            await answer(d)

    events: list[Event] = []
    async with scripted(script, observe=events.append) as (client, transport):
        before = trio.current_time()
        await client.call(ECHO)
        assert trio.current_time() - before == pytest.approx(66.666, abs=0.1)
    assert [e.delay_ms for e in events if isinstance(e, RetryScheduled)] == [12_345, 54_321]


@pytest.mark.parametrize("word", OnMaxAttempts)
async def test_a_policy_that_runs_out_pauses_or_kills(word: OnMaxAttempts, autojump_clock: MockClock) -> None:
    async def script(d: Dialogue) -> None:
        await d.say(error("never"))

    policy = RetryPolicy(1, 1000, 1, attempts_max=3, on_max_attempts=word)
    async with scripted(script, limits=attrs.evolve(PLAIN, retry_policy=policy)) as (client, transport):
        acked = await client.send(ECHO, key="k")
        await trio.sleep(10)
        known = client.node.known(acked.invocation_id)
        assert known is not None
        if word is OnMaxAttempts.PAUSE:
            assert known.status is Status.PAUSED
        else:
            assert known.result == Failure(500, "never")
        assert len(transport.dialogues) == 3
        assert client.node.invokers[0].job_count == 0


AWKWARD_MS = [ms for ms in range(1, 3000) if int(ms / 1000 * 1000) != ms]


async def test_back_offs_end_at_any_millisecond(autojump_clock: MockClock) -> None:
    """Times whose seconds, as a float, lie just below the millisecond: a floor would look again for ever."""
    delays = AWKWARD_MS[:5]
    assert delays, "there are such times"

    async def script(d: Dialogue) -> None:
        if len(transport.dialogues) <= len(delays):
            wanted_ms = delays[len(transport.dialogues) - 1]
            raise TransportError("busy", reached=True, retry_after_ms=wanted_ms - round(trio.current_time() * 1000))
        await answer(d)

    async with scripted(script) as (client, transport):
        await client.call(ECHO)
        assert round(trio.current_time() * 1000) == delays[-1]


async def test_a_stream_that_breaks_or_just_ends_is_tried_again(autojump_clock: MockClock) -> None:
    async def script(d: Dialogue) -> None:
        if len(transport.dialogues) == 1:
            raise TransportError("reset", reached=True)
        if len(transport.dialogues) == 3:
            await answer(d)

    events: list[Event] = []
    async with scripted(script, observe=events.append) as (client, transport):
        await client.call(ECHO)
    assert [e.how for e in events if isinstance(e, AttemptEnded)] == ["lost", "failed", "finished"]


async def test_a_stream_that_breaks_behind_the_end_does_not_matter(autojump_clock: MockClock) -> None:
    async def script(d: Dialogue) -> None:
        await answer(d)
        raise TransportError("reset", reached=True)

    events: list[Event] = []
    async with scripted(script, observe=events.append) as (client, transport):
        await client.call(ECHO)
        await trio.sleep(100)
        assert client.node.invokers[0].job_count == 0
    assert [e.how for e in events if isinstance(e, AttemptEnded)] == ["finished"]
    assert len(transport.dialogues) == 1


async def test_a_resume_waits_for_the_old_attempts_task(autojump_clock: MockClock) -> None:
    async def script(d: Dialogue) -> None:
        assert transport.running == 1, "one attempt at a time"
        if len(d.known) == 1:
            await d.say(run(1), propose(1, b"x"), suspension(1))
            await trio.sleep_forever()
        await answer(d)

    async with scripted(script) as (client, transport):
        before = trio.current_time()
        await client.call(ECHO)
        assert trio.current_time() - before < 1, "the old task was cut, not drained"


async def test_silence_closes_then_cuts_then_tries_again(autojump_clock: MockClock) -> None:
    times: list[float] = []

    async def script(d: Dialogue) -> None:
        if len(transport.dialogues) == 2:
            await answer(d)
            return
        await d.closed()
        times.append(trio.current_time())
        try:
            await trio.sleep_forever()
        finally:
            times.append(trio.current_time())

    limits = attrs.evolve(PLAIN, inactivity_timeout_ms=1_000, abort_timeout_ms=3_000)
    async with scripted(script, limits=limits) as (client, transport):
        before = trio.current_time()
        await client.call(ECHO)
    assert times == [pytest.approx(before + 1, abs=0.01), pytest.approx(before + 4, abs=0.01)]


async def test_notifications_are_sent_once_and_never_what_the_journal_had(autojump_clock: MockClock) -> None:
    async def script(d: Dialogue) -> None:
        if len(transport.dialogues) == 1:
            await d.say(run(1), propose(1, b"a"))
            await d.hear(1)
            await d.say(sleep(2, world.now_ms() + 100))
            await d.hear(2)
            await d.say(error("again"))
        else:
            await d.say(sleep(3, world.now_ms() + 100))
            await d.hear(1)
            await answer(d)

    world = FakeWorld()
    async with scripted(script, world=world) as (client, transport):
        await client.call(ECHO)
    first, second = transport.dialogues
    assert [f.type for f in first.heard] == [MessageType.RUN_COMPLETION, MessageType.SLEEP_COMPLETION]
    assert [f.type for f in second.known[1:]] == [
        MessageType.RUN,
        MessageType.RUN_COMPLETION,
        MessageType.SLEEP,
        MessageType.SLEEP_COMPLETION,
    ]
    assert [f.type for f in second.heard] == [MessageType.SLEEP_COMPLETION]


async def test_a_suspension_gives_the_slot_back_and_resumes_when_resolved(autojump_clock: MockClock) -> None:
    async def script(d: Dialogue) -> None:
        if len(d.known) == 1:
            await d.say(sleep(1, world.now_ms() + 60_000), suspension(1))
        else:
            await answer(d)

    world = FakeWorld()
    async with scripted(script, world=world) as (client, transport):
        before = trio.current_time()
        await client.call(ECHO)
        assert trio.current_time() - before >= 60
    assert len(transport.dialogues) == 2
    assert transport.dialogues[1].start.retry_count_since_last_stored_entry == 0


async def test_attempts_that_only_wait_make_room_for_others(autojump_clock: MockClock) -> None:
    async def script(d: Dialogue) -> None:
        if d.head.target == ECHO and len(d.known) == 1:
            await d.say(sleep(1, world.now_ms() + 10_000))
            await d.closed()
            await d.say(suspension(1))
        else:
            await answer(d)

    world = FakeWorld()
    async with scripted(script, world=world, limits=attrs.evolve(PLAIN, attempts_max=1)) as (client, _):
        await client.send(ECHO)
        before = trio.current_time()
        await client.call(OTHER)
        assert trio.current_time() - before < 1


async def test_another_attempts_time_out_does_not_make_who_waits_for_a_slot_forgotten(
    autojump_clock: MockClock,
) -> None:
    """The silent attempt is cut between the moment somebody waits for a slot and the moment to ask for one."""
    started_s: list[float] = []

    async def script(d: Dialogue) -> None:
        number = len(transport.dialogues)
        if number == 1:
            await trio.sleep_forever()
        elif number <= 3:
            for completion_id in (1, 2, 3):
                await trio.sleep(0.32)
                await d.say(sleep(completion_id, world.now_ms() + 100_000))
            await d.closed()
            await d.say(suspension(1))
        else:
            started_s.append(trio.current_time())
            await d.closed()
            await d.say(sleep(1, world.now_ms() + 100_000), suspension(1))

    world = FakeWorld()
    limits = attrs.evolve(PLAIN, attempts_max=3, inactivity_timeout_ms=400, abort_timeout_ms=600)
    async with scripted(script, world=world, limits=limits) as (client, transport):
        before = trio.current_time()
        for _ in range(3):
            await client.send(ECHO)
        await trio.sleep(0.98)
        for _ in range(2):
            await client.send(OTHER)
        await trio.sleep(0.3)
        assert [round(at - before, 2) for at in started_s] == [1.0, 1.03]


@pytest.mark.parametrize("linger_s", [0, 1])
@pytest.mark.parametrize("way", ["finished", "killed"])
async def test_an_id_lives_again_while_its_last_attempt_ends(
    autojump_clock: MockClock, way: str, linger_s: float
) -> None:
    """Its result is not kept, so the same request starts anew: at once, with the old attempt's task still there."""

    async def script(d: Dialogue) -> None:
        if len(transport.dialogues) > 1:
            await answer(d)
            return
        if way == "killed":
            client.node.propose(again.invocation_id, Kill(again.invocation_id))
        await answer(d)
        client.node.propose(again.invocation_id, again)
        with trio.CancelScope(shield=True):
            await trio.sleep(linger_s)

    async with scripted(script) as (client, transport):
        again = attrs.evolve(client.request(ECHO, key="k"), completion_retention_ms=0)
        await client.node.call(again)
        with trio.fail_after(60):
            await until(lambda: len(transport.dialogues) == 2 and not client.node.invokers[0].job_count)
        assert client.node.known(again.invocation_id) is None
        assert [len(d.known) for d in transport.dialogues] == [1, 1]


async def test_slots_bound_the_attempts_that_run_at_once(autojump_clock: MockClock) -> None:
    most = 0

    async def script(d: Dialogue) -> None:
        nonlocal most
        most = max(most, transport.running)
        await trio.sleep(0.01)
        await answer(d)

    async with scripted(script, limits=attrs.evolve(PLAIN, attempts_max=3)) as (client, transport):
        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(client.call, ECHO)
    assert most == 3
    assert len(transport.dialogues) == 12


async def test_a_kill_cuts_the_attempt_and_its_retry(autojump_clock: MockClock) -> None:
    async def script(d: Dialogue) -> None:
        if d.head.target == OTHER:
            await d.say(error("wait", next_retry_ms=1_000))
            return
        await trio.sleep_forever()

    async with scripted(script) as (client, transport):
        for target in (ECHO, OTHER):
            acked = await client.send(target, key="k")
            await wait_all_tasks_blocked()
            answer = await client.node.request(Kill(acked.invocation_id))
            assert answer.outcome == "done"
            await wait_all_tasks_blocked()
            assert transport.running == 0
            known = client.node.known(acked.invocation_id)
            assert known is not None
            assert isinstance(known.result, Failure)
        await trio.sleep(100)
        assert len(transport.dialogues) == 2
        assert client.node.invokers[0].job_count == 0
        assert client.node.invokers[0].running_count == 0


async def test_a_violation_fails_the_attempt_and_keeps_what_came_before(autojump_clock: MockClock) -> None:
    async def script(d: Dialogue) -> None:
        if len(transport.dialogues) == 1:
            await d.say(run(1), END)
            await d.closed()
        else:
            await answer(d)

    async with scripted(script) as (client, transport):
        await client.call(ECHO)
    assert [f.type for f in transport.dialogues[1].known] == [MessageType.INPUT, MessageType.RUN]


async def test_an_endpoint_that_does_not_leave_is_cut(autojump_clock: MockClock) -> None:
    async def script(d: Dialogue) -> None:
        await answer(d)
        await trio.sleep_forever()

    async with scripted(script) as (client, transport):
        await client.call(ECHO)
        assert transport.running == 1
        await trio.sleep(6)
        assert transport.running == 0
        assert client.node.invokers[0].job_count == 0


async def test_a_fast_endpoint_waits_while_the_log_is_behind(autojump_clock: MockClock) -> None:
    async def script(d: Dialogue) -> None:
        for cid in range(1, 40):
            await d.say(run(cid))
            lengths.append(client.node.partitions[0].queue_length)
        await answer(d)

    lengths: list[int] = []
    limits = attrs.evolve(PLAIN, queue_commands_max=2, batch_commands_max=1)
    async with scripted(script, limits=limits) as (client, _):
        await client.call(ECHO)
    assert max(lengths) <= 2


async def test_the_pin_goes_with_the_first_entry(autojump_clock: MockClock) -> None:
    async def script(d: Dialogue) -> None:
        if len(transport.dialogues) == 1:
            await d.say(error("no entry yet"))
        elif len(transport.dialogues) == 2:
            await d.say(run(1), error("pinned now"))
        else:
            await trio.sleep_forever()

    async with scripted(script) as (client, transport):
        acked = await client.send(ECHO)
        await wait_all_tasks_blocked()
        invocation = client.node.partitions[0].tables.invocation(acked.invocation_id)
        assert invocation is not None
        assert invocation.deployment_id == ""
        await trio.sleep(20)
        assert (invocation.deployment_id, invocation.protocol_version) == ("dp_1a", 6)


async def test_a_command_that_asks_is_acknowledged_once_it_is_stored(autojump_clock: MockClock) -> None:
    """Only those that ask, by their index among the commands, whatever was stored before this attempt."""

    def asking(frame: Frame) -> Frame:
        return Frame(frame.type, frame.payload, FLAG_REQUESTED_ACK)

    async def script(d: Dialogue) -> None:
        if len(transport.dialogues) == 1:
            await d.say(run(1), propose(1, b"x"), error("again"))
            return
        await d.say(run(2), asking(run(3)), propose(2, b"y"))
        await d.hear(2)
        await d.say(asking(sleep(4, 2**40)), run(5))
        await d.hear(3)
        await d.say(asking(output(b"1")), END)

    async with scripted(script) as (client, transport):
        await client.call(ECHO)
    heard = transport.dialogues[-1].heard
    acks = [pb.CommandAck.FromString(one.payload).command_index for one in heard if one.type == MessageType.COMMAND_ACK]
    assert acks == [3, 4]
    assert [one.type for one in heard][:2] == [MessageType.COMMAND_ACK, MessageType.RUN_COMPLETION]
    assert all(one.type != MessageType.COMMAND_ACK for one in transport.dialogues[0].heard)


async def test_no_command_of_a_killed_invocation_is_acknowledged(autojump_clock: MockClock) -> None:
    async def script(d: Dialogue) -> None:
        client.node.propose(d.head.invocation_id, Kill(d.head.invocation_id))
        await d.say(Frame(run(1).type, run(1).payload, FLAG_REQUESTED_ACK))
        await d.closed()

    async with scripted(script) as (client, transport):
        completed = await client.call(ECHO)
        await wait_all_tasks_blocked()
    assert completed.result == Failure(409, "killed")
    assert transport.dialogues[0].heard == []
