"""Claims about how things go on: nobody spins, wake-ups come at once, nothing fails or lives on without a reason."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from understudy.protocol.messages import MessageType
from understudy_runtime.limits import Limits
from understudy_runtime.model.actions import ArmTimer
from understudy_runtime.model.commands import (
    AttemptOutput,
    GaveUp,
    Refuse,
    TimerFired,
)
from understudy_runtime.model.events import AttemptEnded, AttemptStarted, LeadershipTaken, RetryScheduled
from understudy_runtime.model.invocation import Failure, HandlerType, RetryPolicy, Status, Success
from understudy_sim.kernel.loop import Budget, Ending, Loop
from understudy_sim.kernel.trace import Trace
from understudy_sim.stage.happenings import (
    Answered,
    Asking,
    AttemptWaits,
    BodyEnded,
    BodyStarted,
    ServerStopped,
    StepEnded,
    StepExecuted,
    Unanswered,
)
from understudy_sim.stage.history import Asked
from understudy_sim.stage.model_words import Effects, Invocation, Note
from understudy_sim.stage.properties.afterlife import Afterlife
from understudy_sim.stage.properties.causes import Causes
from understudy_sim.stage.properties.durable_answers import DurableAnswers
from understudy_sim.stage.properties.progress import LEASES_MAX, RECORDS_MAX, Progress
from understudy_sim.stage.properties.promptness import Promptness, is_over
from understudy_sim.stage.properties.refusals import Refusals
from understudy_sim.stage.properties.retries import Retries
from understudy_sim.stage.tally import Firing, Tally
from understudy_sim.stage.watch import Watch

from tests.sim.stage.properties.stands import FIRST, SECOND, Stand, answer, asked, two_invocations

# P16


def _taken_up(stand: Stand, times: int, *, grows: bool) -> None:
    inv = Invocation(stand.truth.commands[FIRST], Status.INVOKED, [], 1)
    stand.truth.models[0].invocations[FIRST] = inv
    for lease in range(1, times + 1):
        if grows:
            inv.journal.append((MessageType.SLEEP, b""))
        stand.start(FIRST, lease)


def test_p16_lets_an_invocation_be_taken_up_for_something() -> None:
    stand = two_invocations()
    stand.put(Progress).watches(Loop(Trace(), lambda _: 0, Budget(), 1))
    _taken_up(stand, 3 * LEASES_MAX, grows=True)
    assert stand.broken == []


def test_p16_calls_off_who_is_taken_up_for_nothing() -> None:
    stand = two_invocations()
    loop = Loop(Trace(), lambda _: 0, Budget(), 1)
    stand.put(Progress).watches(loop)
    _taken_up(stand, LEASES_MAX, grows=False)
    assert len(stand.broken) == 1
    assert "was taken up 8 times running" in stand.broken[0]
    assert loop.ending is Ending.SPINS


def test_p16_calls_off_records_that_move_nothing() -> None:
    stand = two_invocations()
    loop = Loop(Trace(), lambda _: 0, Budget(), 1)
    stand.put(Progress).watches(loop)
    for _ in range(RECORDS_MAX + 1):
        stand.step(TimerFired(1, 1))
    assert len(stand.broken) == 1
    assert "the last one a TimerFired" in stand.broken[0]


# P17


def _prompt(*manifests: dict[str, Any]) -> tuple[Stand, Loop, Promptness, Tally]:
    stand = two_invocations()
    loop, tally = Loop(Trace(), lambda _: 0, Budget(), 1), Tally()
    stand.watch = Watch(lambda: loop.now_ns)
    prompt = stand.put(Promptness)
    prompt.watches(loop, Limits(timer_recheck_ms=60_000), tally, lambda: loop.now_ns // 1_000_000, manifests)
    inv = Invocation(stand.truth.commands[FIRST], Status.INVOKED, [], 1)
    stand.truth.models[0].invocations[FIRST] = inv
    return stand, loop, prompt, tally


def _passes(loop: Loop, seconds: int) -> None:
    until_ns = loop.now_ns + seconds * 1_000_000_000
    loop.call_at(until_ns, lambda _: None)
    while loop.now_ns < until_ns:
        loop._advance()


def test_p17_accepts_what_follows_soon() -> None:
    stand, loop, _, _ = _prompt()
    stand.start(FIRST)
    _passes(loop, 1)
    stand.watch.tell(AttemptStarted(0, FIRST, 1, 1, 0))
    stand.watch.tell(AttemptWaits(3, FIRST, (1, (2, 17))))
    _passes(loop, 50)
    inv = stand.truth.models[0].invocations[FIRST]
    inv.journal.append(Note(MessageType.SLEEP_COMPLETION, 2, "void"))
    stand.step(stand.truth.commands[FIRST], effects=Effects(invocations={FIRST: None}))
    stand.watch.tell(AttemptWaits(3, FIRST, None))
    _passes(loop, 600)
    assert stand.broken == []
    assert stand.watch.hits["P17 waits that are over"] == 1


def test_p17_refuses_a_lease_without_an_attempt_and_a_timer_without_a_record() -> None:
    stand, loop, _, _ = _prompt()
    stand.start(FIRST)
    stand.step(stand.truth.commands[FIRST], (ArmTimer(60_000, 7),))
    _passes(loop, 58)
    assert len(stand.broken) == 1
    _passes(loop, 8)
    assert len(stand.broken) == 2
    assert "timer 7 of partition 0 was due" in stand.broken[1]


def test_p17_refuses_a_wait_for_what_has_come_and_a_step_that_ended_for_nothing() -> None:
    stand, loop, _, _ = _prompt()
    stand.watch.tell(AttemptStarted(0, FIRST, 1, 1, 0))
    stand.truth.models[0].invocations[FIRST].journal.append(Note(MessageType.SLEEP_COMPLETION, 2, "void"))
    stand.watch.tell(AttemptWaits(3, FIRST, 2))
    _passes(loop, 6)
    stand.watch.tell(AttemptWaits(3, FIRST, 5))
    stand.watch.tell(StepEnded(3, FIRST))
    _passes(loop, 6)
    assert [FIRST in what for what in stand.broken] == [True, True]


def test_p17_lets_trouble_explain_a_delay_but_no_longer() -> None:
    stand, loop, _, tally = _prompt()
    stand.start(FIRST)
    tally.firing(Firing("pause", "server", loop.now_ns, ("", 0), None, 20_000_000_000))
    _passes(loop, 24)
    assert stand.broken == []
    _passes(loop, 2)
    assert len(stand.broken) == 1


def test_p17_lets_a_connection_be_as_bad_as_the_trouble_it_has_seen() -> None:
    stand, loop, _, tally = _prompt()
    stand.watch.tell(AttemptStarted(0, FIRST, 1, 1, 0))
    tally.firing(Firing("half_open", "server", loop.now_ns, ("", 0)))
    _passes(loop, 60)
    stand.watch.tell(StepEnded(3, FIRST))
    _passes(loop, 60)
    assert stand.broken == []


def test_p17_expects_nothing_new_of_a_server_that_drains_but_soon_after() -> None:
    drain_s = Limits().drain_timeout_ms // 1000
    stand, loop, _, tally = _prompt()
    tally.firing(Firing("server_drain", "server", loop.now_ns, ("", 0)))
    _passes(loop, 1)
    stand.start(FIRST)
    _passes(loop, drain_s + 3)
    assert stand.broken == []
    _passes(loop, 2)
    assert len(stand.broken) == 1


def test_p17_gives_a_clock_that_was_wrong_the_time_to_be_noticed_and_no_more() -> None:
    stand, loop, _, tally = _prompt()
    command = stand.truth.commands[FIRST]
    stand.step(command, (ArmTimer(10_000, 7),))
    _passes(loop, 5)
    tally.firing(Firing("clock_drift", "server", loop.now_ns, ("", 0), None, 15_000_000_000))
    stand.step(command, (ArmTimer(30_000, 8),))
    _passes(loop, 78)
    assert stand.broken == []
    _passes(loop, 3)
    assert len(stand.broken) == 1
    assert "timer 7" in stand.broken[0]
    _passes(loop, 14)
    stand.step(command, (ArmTimer(110_000, 9),))
    _passes(loop, 16)
    assert [text.partition(" of partition")[0].rpartition(": ")[2] for text in stand.broken] == [
        "timer 7",
        "timer 8",
        "timer 9",
    ]


@pytest.mark.parametrize(("fires_s", "late"), [(60, False), (500, True)])
def test_p17_measures_by_a_clock_that_has_jumped_ahead_once_that_was_noticed(fires_s: int, late: bool) -> None:
    stand, loop, prompt, tally = _prompt()
    ahead_ms = 0
    prompt.watches(loop, Limits(timer_recheck_ms=60_000), tally, lambda: loop.now_ns // 1_000_000 + ahead_ms)
    stand.step(stand.truth.commands[FIRST], (ArmTimer(600_000, 7),))
    _passes(loop, 5)
    tally.firing(Firing("clock_jump", "server", loop.now_ns, ("", 0), None, 0))
    ahead_ms = 598_000
    _passes(loop, fires_s)
    stand.step(TimerFired(600_000, 7))
    assert len(stand.broken) == late
    assert all("ms late by a clock" in text for text in stand.broken)


def test_p17_expects_nothing_of_a_body_whose_successor_runs_and_all_of_that() -> None:
    stand, loop, _, _ = _prompt()
    stand.watch.tell(AttemptStarted(0, FIRST, 1, 1, 0))
    stand.watch.tell(BodyStarted(3, FIRST))
    stand.watch.tell(AttemptWaits(3, FIRST, 2))
    stand.watch.tell(BodyStarted(4, FIRST))
    stand.watch.tell(StepEnded(3, FIRST))
    stand.truth.models[0].invocations[FIRST].journal.append(Note(MessageType.SLEEP_COMPLETION, 2, "void"))
    stand.step(stand.truth.commands[FIRST], effects=Effects(invocations={FIRST: None}))
    _passes(loop, 6)
    assert stand.broken == []
    stand.watch.tell(StepEnded(4, FIRST))
    _passes(loop, 6)
    assert len(stand.broken) == 1


def test_p17_wants_who_only_waits_to_suspend_and_who_is_silent_to_be_cut() -> None:
    handlers = [{"name": "do", "inactivityTimeout": 10_000, "abortTimeout": 30_000}]
    stand, loop, _, _ = _prompt({"services": [{"name": "Obj", "handlers": handlers}]})
    stand.watch.tell(AttemptStarted(0, FIRST, 1, 1, 0))
    stand.watch.tell(AttemptWaits(3, FIRST, 2))
    _passes(loop, 14)
    assert stand.broken == []
    _passes(loop, 2)
    assert ["waits for longer" in what for what in stand.broken] == [True]
    _passes(loop, 28)
    assert len(stand.broken) == 1
    _passes(loop, 2)
    assert ["is silent" in what for what in stand.broken] == [False, True]


def test_p17_lets_who_has_a_step_under_way_wait_on_and_whoever_says_something_be_silent_anew() -> None:
    stand, loop, _, _ = _prompt(
        {"services": [{"name": "Obj", "inactivityTimeout": 10_000, "handlers": [{"name": "do"}]}]}
    )
    stand.watch.tell(AttemptStarted(0, FIRST, 1, 1, 0))
    stand.watch.tell(StepExecuted(FIRST, "slow", 3))
    stand.watch.tell(AttemptWaits(3, FIRST, 2))
    _passes(loop, 600)
    stand.step(AttemptOutput(FIRST, 1, 2, 3))
    _passes(loop, 612)
    stand.watch.tell(AttemptEnded(0, FIRST, 1, 1, "failed"))
    _passes(loop, 600)
    assert stand.broken == []
    assert stand.watch.hits["P17 time-outs"] == 1


@pytest.mark.parametrize(
    ("holder", "broken_s"),
    [("works", None), ("has a step under way", None), ("waits", 50), ("waits for what has come", None), ("ends", 30)],
)
def test_p17_lets_attempts_wait_for_slots_whose_holders_do_something(holder: str, broken_s: int | None) -> None:
    stand, loop, prompt, tally = _prompt()
    limits = Limits(attempts_max=1, inactivity_timeout_ms=900_000, abort_timeout_ms=900_000)
    prompt.watches(loop, limits, tally, lambda: loop.now_ns // 1_000_000)
    stand.watch.tell(AttemptStarted(0, FIRST, 1, 1, 0))
    if holder == "has a step under way":
        stand.watch.tell(StepExecuted(FIRST, "slow", 3))
    stand.start(SECOND)
    _passes(loop, 20)
    if holder == "ends":
        stand.watch.tell(AttemptEnded(0, FIRST, 1, 1, "finished"))
    elif holder != "works":
        stand.watch.tell(AttemptWaits(3, FIRST, 2))
    if holder == "waits for what has come":
        stand.truth.models[0].invocations[FIRST].journal.append(Note(MessageType.SLEEP_COMPLETION, 2, "void"))
    _passes(loop, 40)
    assert [SECOND in what for what in stand.broken] == ([] if broken_s is None else [True])
    if broken_s is not None:
        assert stand.watch.violations[0].at_ns <= broken_s * 1_000_000_000
        assert stand.watch.hits["P17 attempts that waited for a slot"] >= 1


def test_p17_wants_a_second_run_of_a_workflow_refused_at_once() -> None:
    stand, loop, _, _ = _prompt()
    stand.truth.commands[FIRST] = attrs.evolve(stand.truth.commands[FIRST], handler_type=HandlerType.WORKFLOW)
    _asks(stand)
    _passes(loop, 6)
    assert len(stand.broken) == 1


def _asks(stand: Stand, *, connected_ns: int = 0, **call: Any) -> Asked:
    question = attrs.evolve(asked(), invocation_id=FIRST)
    question.call = attrs.evolve(question.call, **call)
    stand.watch.tell(Asking(question, connected_ns))
    return question


def _ends(stand: Stand) -> None:
    stand.step(stand.truth.commands[FIRST], effects=Effects(completed={FIRST: Success(b"1")}))


def test_p17_accepts_clients_who_wait_are_told_or_hear_that_it_was_lost() -> None:
    stand, loop, _, _ = _prompt()
    question = _asks(stand)
    _passes(loop, 60)
    _ends(stand)
    stand.watch.tell(Answered(question, answer(FIRST)))
    _passes(loop, 60)
    question = _asks(stand)
    stand.watch.tell(Unanswered(question))
    _passes(loop, 60)
    _asks(stand)
    command = stand.truth.commands[FIRST]
    stand.step(command, effects=Effects(accepted=[command]))  # It was purged, and lives again.
    _passes(loop, 60)
    assert stand.broken == []
    assert stand.watch.hits["P17 clients to be answered"] == 3


@pytest.mark.parametrize("ended_before", [True, False])
def test_p17_refuses_silence_about_what_has_ended(ended_before: bool) -> None:
    stand, loop, _, _ = _prompt()
    if ended_before:
        _ends(stand)
    _asks(stand)
    _passes(loop, 60)
    assert len(stand.broken) == ended_before
    if not ended_before:
        _ends(stand)
    _passes(loop, 6)
    assert len(stand.broken) == 1
    assert "was to be answered" in stand.broken[0]


def test_p17_refuses_silence_about_what_is_only_sent_once_records_are_no_reason() -> None:
    stand, loop, _, _ = _prompt()
    _asks(stand, one_way=True)
    for _ in range(5):
        _passes(loop, 4)
        stand.step(TimerFired(1, 1))
    assert stand.broken == []
    _passes(loop, 6)
    assert len(stand.broken) == 1


def test_p17_expects_no_answer_by_a_connection_that_has_seen_trouble() -> None:
    stand, loop, _, tally = _prompt()
    _asks(stand)
    tally.firing(Firing("half_open", "server", loop.now_ns, ("", 0)))
    _ends(stand)
    _passes(loop, 60)
    assert stand.broken == []
    _asks(stand, connected_ns=loop.now_ns)
    _passes(loop, 6)
    assert len(stand.broken) == 1


@pytest.mark.parametrize(
    ("tree", "came", "over"),
    [
        (2, {2: True}, True),
        (2, {3: True}, False),
        (-1, {-1: False}, False),
        ((1, (2, 3)), {3: True}, True),
        ((2, (2, 3)), {3: True}, False),
        ((2, (2, 3)), {2: False, 3: True}, True),
        ((3, (2, 3)), {2: True}, False),
        ((3, (2, 3)), {2: False}, True),
        ((3, (2, 3)), {2: True, 3: True}, True),
        ((4, (2, 3)), {2: False}, False),
        ((4, (2, 3)), {2: True}, True),
        ((4, (2, 3)), {2: False, 3: False}, True),
        ((1, (2, (2, (3, 4)))), {3: False}, False),
        ((1, (2, (2, (3, 4)))), {3: False, 4: False}, True),
    ],
)
def test_p17_knows_when_a_wait_is_over(tree: Any, came: dict[int | str, bool], over: bool) -> None:
    assert is_over(tree, came) is over


# P18


def _refusal(stand: Stand, id_: str, message: str) -> None:
    command = Refuse(id_, Failure(409, message), 1)
    stand.step(command, effects=Effects(completed={id_: command.failure}))


def _accepted(stand: Stand, id_: str, time_ms: int) -> None:
    command = stand.truth.commands[id_]
    stand.truth.models[0].invocations[id_] = Invocation(command, Status.INBOXED, [], 1)
    stand.step(command, effects=Effects(accepted=[command]), time_ms=time_ms)


def test_p18_accepts_one_refusal_of_the_youngest() -> None:
    stand = two_invocations()
    stand.put(Refusals)
    _accepted(stand, FIRST, 1)
    _accepted(stand, SECOND, 2)
    _refusal(stand, SECOND, f"Obj/k/do ({SECOND}), which waits for Obj/k/do ({FIRST})")
    assert stand.broken == []
    assert stand.watch.hits["P18 refusals"] == 1


def test_p18_refuses_a_second_victim_and_an_older_one() -> None:
    stand = two_invocations()
    stand.put(Refusals)
    _accepted(stand, FIRST, 1)
    _accepted(stand, SECOND, 2)
    circle = f"Obj/k/do ({SECOND}), which waits for Obj/k/do ({FIRST})"
    _refusal(stand, FIRST, circle)
    assert len(stand.broken) == 1
    assert "was accepted later" in stand.broken[0]
    _refusal(stand, SECOND, circle)
    assert "ended when" in stand.broken[-1]


# P12, what the answers say


def test_p12_wants_a_failure_answered_with_its_code() -> None:
    stand = two_invocations()
    stand.put(DurableAnswers)
    stand.truth.endings[FIRST] = [Failure(402, "no money")]
    stand.watch.tell(Answered(asked(), answer(FIRST, status=402, source="invocation")))
    assert stand.broken == []
    stand.watch.tell(Answered(asked(), answer(FIRST, status=500, source="invocation")))
    assert len(stand.broken) == 1


def test_p12_lets_one_request_be_the_first() -> None:
    stand = two_invocations()
    stand.put(DurableAnswers)
    command = stand.truth.commands[FIRST]
    stand.step(command, effects=Effects(accepted=[command]))
    first, later = b'{"status": "Accepted"}', b'{"status":"PreviouslyAccepted"}'
    for body in (first, later, later):
        stand.watch.tell(Answered(asked(), answer(FIRST, body, status=202)))
    assert stand.broken == []
    stand.watch.tell(Answered(asked(), answer(FIRST, first, status=202)))
    assert len(stand.broken) == 1


# P19


def _calm(*, moved: bool = False, versions: bool = False, late: bool = False) -> tuple[Stand, Tally]:
    stand, tally = two_invocations(), Tally()
    stand.put(Causes).watches(tally, is_moved=moved, versions_differ=versions, may_miss=late)
    stand.watch.tell(BodyStarted(1, FIRST))
    return stand, tally


def test_p19_refuses_an_attempt_that_is_lost_on_a_calm_day() -> None:
    stand, _ = _calm()
    stand.watch.tell(AttemptEnded(0, FIRST, 1, 1, "finished"))
    assert stand.broken == []
    stand.watch.tell(AttemptEnded(0, FIRST, 1, 1, "lost", "the connection broke"))
    assert len(stand.broken) == 1


def test_p19_lets_a_connection_take_what_no_body_runs_for() -> None:
    stand, _ = _calm()
    stand.watch.tell(AttemptEnded(0, SECOND, 1, 1, "lost", "closed as the request left"))
    stand.watch.tell(BodyEnded(1))
    stand.watch.tell(AttemptEnded(0, FIRST, 1, 1, "lost", "closed as the last word arrived"))
    assert stand.broken == []
    stand.watch.tell(AttemptEnded(0, FIRST, 1, 1, "rejected"))
    assert len(stand.broken) == 1


def test_p19_lets_a_fault_a_stop_and_a_move_be_a_cause() -> None:
    stand, tally = _calm()
    tally.firing(Firing("partition", "server", 0, ("", 0)))
    stand.watch.tell(AttemptEnded(0, FIRST, 1, 1, "lost"))
    stopped, _ = _calm()
    stopped.watch.tell(ServerStopped(1, "crash"))
    stopped.watch.tell(AttemptEnded(0, FIRST, 1, 1, "rejected"))
    moved, _ = _calm(moved=True)
    moved.watch.tell(AttemptEnded(0, FIRST, 1, 1, "lost"))
    assert stand.broken == stopped.broken == moved.broken == []


def test_p19_lets_a_slow_network_explain_that_nobody_was_found_in_time_and_no_loss() -> None:
    slow, _ = _calm(late=True)
    slow.watch.tell(AttemptEnded(0, FIRST, 1, 1, "rejected", "no connection within 1 s"))
    assert slow.broken == []
    slow.watch.tell(AttemptEnded(0, FIRST, 1, 2, "lost"))
    assert len(slow.broken) == 1
    quick, _ = _calm()
    quick.watch.tell(AttemptEnded(0, FIRST, 1, 1, "rejected", "no connection within 1 s"))
    assert len(quick.broken) == 1


def test_p19_lets_nothing_but_another_version_explain_a_mismatch() -> None:
    stand, tally = _calm()
    tally.firing(Firing("partition", "server", 0, ("", 0)))
    stand.watch.tell(AttemptEnded(0, FIRST, 1, 1, "failed", "another step", 570))
    assert len(stand.broken) == 1
    other, _ = _calm(versions=True)
    other.watch.tell(AttemptEnded(0, FIRST, 1, 1, "failed", "another step", 570))
    assert other.broken == []


# P20


def test_p20_lets_steps_run_while_their_attempt_does_and_not_after() -> None:
    stand = two_invocations()
    stand.put(Afterlife)
    stand.watch.tell(BodyStarted(1, FIRST))
    stand.watch.tell(StepExecuted(FIRST, "charge", 1))
    stand.watch.tell(StepEnded(1, FIRST))
    stand.watch.tell(BodyEnded(1))
    assert stand.broken == []
    stand.watch.tell(StepEnded(1, FIRST))
    stand.watch.tell(StepExecuted(FIRST, "mail", 1))
    assert len(stand.broken) == 2


# P21


def _failing(times: int) -> Stand:
    stand = two_invocations()
    policy = RetryPolicy(delay_ms_first=100, factor_thousandths=2000, delay_ms_max=1000, attempts_max=3)
    stand.truth.commands[FIRST] = attrs.evolve(stand.truth.commands[FIRST], retry_policy=policy)
    stand.put(Retries)
    stand.watch.tell(LeadershipTaken(0, 1, 0, ()))
    for attempt in range(1, times + 1):
        stand.watch.tell(AttemptEnded(0, FIRST, 1, attempt, "failed"))
    return stand


def _gives_up(stand: Stand, epoch: int = 1) -> None:
    end = GaveUp(Failure(500, "again"), pause=False)
    stand.step(AttemptOutput(FIRST, epoch, 1, 3, end=end), effects=Effects(invocations={FIRST: None}))


def test_p21_accepts_back_offs_that_grow_and_an_end_in_time() -> None:
    stand = _failing(2)
    stand.watch.tell(RetryScheduled(0, FIRST, 1, 230, 2))
    stand.watch.tell(RetryScheduled(0, FIRST, 1, 7, 0))  # the endpoint asked for it
    stand.watch.tell(AttemptEnded(0, FIRST, 1, 3, "lost"))
    _gives_up(stand)
    assert stand.broken == []


def test_p21_refuses_tries_that_never_reached_an_endpoint_and_forgotten_ones() -> None:
    told = _failing(2)
    told.watch.tell(AttemptEnded(0, FIRST, 1, 3, "rejected"))
    told.watch.tell(AttemptStarted(0, FIRST, 1, 4, 0, retry_count=2))
    told.watch.tell(AttemptStarted(0, FIRST, 1, 4, 0, retry_count=1))
    assert told.broken == []
    told.watch.tell(AttemptStarted(0, FIRST, 1, 4, 0, retry_count=3))
    told.watch.tell(AttemptStarted(0, FIRST, 1, 4, 0, retry_count=0))
    assert len(told.broken) == 2


def test_p21_refuses_a_back_off_and_an_end_the_policy_does_not_know() -> None:
    early = _failing(2)
    early.watch.tell(RetryScheduled(0, FIRST, 1, 103, 2))
    early.watch.tell(RetryScheduled(0, FIRST, 1, 103, 1))
    _gives_up(early)
    assert len(early.broken) == 3
    restarted = _failing(3)
    restarted.watch.tell(LeadershipTaken(0, 2, 0, ()))
    _gives_up(restarted, epoch=2)
    assert "gave up after 0 failures" in restarted.broken[0]


def test_p21_counts_the_failures_of_the_leader_that_gave_up_also_where_the_next_one_finds_its_record() -> None:
    stand = _failing(3)
    stand.watch.tell(ServerStopped(1, "a sync failed"))
    _gives_up(stand)
    stand.watch.tell(LeadershipTaken(0, 2, 0, ()))
    assert stand.broken == []
    stand.watch.tell(RetryScheduled(0, FIRST, 1, 450, 3))
    assert "backs off for 3 failures, there were 0" in stand.broken[0]


def test_p21_counts_anew_in_the_next_life_of_an_id() -> None:
    stand = _failing(2)
    stand.step(stand.truth.commands[FIRST], effects=Effects(accepted=[stand.truth.commands[FIRST]]))
    stand.watch.tell(AttemptEnded(0, FIRST, 1, 1, "failed"))
    stand.watch.tell(RetryScheduled(0, FIRST, 1, 110, 1))
    assert stand.broken == []


def test_p21_lets_an_endpoint_ask_for_more_tries_than_the_policy_has() -> None:
    stand = _failing(4)
    stand.watch.tell(RetryScheduled(0, FIRST, 1, 1_000, 0))
    _gives_up(stand)
    assert stand.broken == []
