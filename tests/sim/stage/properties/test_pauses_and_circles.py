"""What the claims make of pauses and of deadlocks: whose end they are, whose lease they end, what a leader looks at."""

from __future__ import annotations

import pytest
from understudy_runtime.model.actions import AbortAttempt, CheckDeadlock, Notify, StartAttempt
from understudy_runtime.model.commands import AttemptOutput, GaveUp, LeaderElected, Pause, Resume, Suspend
from understudy_runtime.model.events import AttemptEnded, AttemptStarted, LeadershipTaken
from understudy_runtime.model.invocation import Entry, Failure
from understudy_sim.stage.happenings import StepExecuted
from understudy_sim.stage.model_words import Effects
from understudy_sim.stage.properties.accepted_ends import AcceptedEnds
from understudy_sim.stage.properties.exactly_once import ExactlyOnce
from understudy_sim.stage.properties.outstanding import Outstanding
from understudy_sim.stage.properties.single_holder import SingleHolder

from tests.runtime.machine.driver import OBJECT, Driver
from tests.runtime.machine.test_waits import X, Y, calls
from tests.sim.stage.properties.stands import Stand

FIRST = "inv_14NAYWOkWeyC4HqaAv3eM70hJLaHxEfgB2"


def learned(driver: Driver) -> Stand:
    """A stand whose truth knows what *driver* did."""
    stand = Stand()
    for record in driver.records:
        stand.truth.learn(0, record)
    stand.truth.tables[0] = driver.tables
    return stand


# P5


@pytest.mark.parametrize("by", ["a policy", "an operator"])
def test_p5_takes_a_pause_for_an_end_only_where_it_was_declared(by: str) -> None:
    driver = Driver()
    id_ = driver.invoke(OBJECT)
    driver.do(Pause(id_)) if by == "an operator" else driver.attempt(id_, end=GaveUp(Failure(500, "x"), pause=True))
    checker = learned(driver).put(AcceptedEnds)
    assert len(checker.pending()) == 1
    checker.paused_is_terminal = True
    assert checker.pending() == []


@pytest.mark.parametrize("is_declared", [True, False])
def test_p5_takes_a_deadlock_for_an_end_only_where_it_was_declared(is_declared: bool) -> None:
    driver = Driver()
    a, b = driver.invoke(X), driver.invoke(Y)
    calls(driver, a, Y)
    calls(driver, b, X)
    behind = driver.invoke(X)
    moving = driver.invoke(OBJECT)
    stand = learned(driver)
    checker = stand.put(AcceptedEnds)
    checker.deadlocked_is_terminal = is_declared
    left = [inv.command.invocation_id for inv in checker.pending()]
    assert left == [moving] if is_declared else (behind in left and len(left) == 6)
    assert ("P5 deadlocks named" in stand.watch.hits) == is_declared
    checker.finish()
    assert any("a deadlock through" in text for text in stand.broken) is not is_declared


# P1


def test_p1_hears_nothing_of_an_attempt_that_was_paused() -> None:
    stand = Stand()
    stand.put(SingleHolder)
    stand.step(LeaderElected(1, 2))
    stand.invocation(FIRST)
    stand.start(FIRST)
    output = AttemptOutput(FIRST, 1, 1, 1)
    heard = (Notify(FIRST, 1, Entry(1, b"")),)
    stand.step(output, heard)
    assert stand.broken == []
    stand.step(Pause(FIRST), (AbortAttempt(FIRST, 1),))
    stand.step(output)
    assert (stand.broken, stand.watch.hits["P1 stale output refused"]) == ([], 1)
    stand.step(output, heard)
    assert "was heard" in stand.broken[0]


def test_p1_lets_who_was_resumed_speak_and_keeps_its_lock() -> None:
    stand = Stand()
    stand.put(SingleHolder)
    stand.step(LeaderElected(1, 2))
    other = "inv_14NAYWOkWeyC0aId9wdult2E9t1kvQgwtr"
    for id_ in (FIRST, other):
        stand.invocation(id_)
    stand.start(FIRST)
    stand.step(Pause(FIRST), (AbortAttempt(FIRST, 1),))
    stand.step(Resume(FIRST), (StartAttempt(FIRST, 2),))
    stand.step(AttemptOutput(FIRST, 1, 2, 1), (Notify(FIRST, 2, Entry(1, b"")),))
    assert stand.broken == []
    stand.step(Pause(FIRST), (AbortAttempt(FIRST, 2),))
    stand.start(other)
    assert "was started on Obj/k while" in stand.broken[0]


# P8


def test_p8_wants_waiting_calls_looked_at_under_the_policy_alone() -> None:
    driver = Driver()
    a = driver.invoke(X)
    callee = calls(driver, a, X)
    work = (CheckDeadlock(callee),)
    for policy in (True, False):
        for outstanding in (work, ()):
            stand = learned(driver)
            checker = stand.put(Outstanding)
            checker.checks_deadlocks = policy
            stand.watch.tell(LeadershipTaken(0, 1, 1, outstanding))
            assert (stand.broken == []) == (policy == bool(outstanding))


# P3


@pytest.mark.parametrize("is_heard", [True, False])
def test_p3_takes_an_end_that_came_too_late_for_an_interruption(is_heard: bool) -> None:
    """An operator paused the invocation before what its attempt said last was applied: it is done again."""
    stand = Stand()
    stand.invocation(FIRST)
    checker = stand.put(ExactlyOnce)
    stand.watch.tell(AttemptStarted(0, FIRST, 1, 1, 1))
    stand.watch.tell(StepExecuted(FIRST, "charge"))
    stand.watch.tell(AttemptEnded(0, FIRST, 1, 1, "suspended"))
    effects = Effects(invocations={FIRST: None}) if is_heard else Effects()
    stand.step(AttemptOutput(FIRST, 1, 1, 1, end=Suspend((1,), (1,))), effects=effects)
    stand.watch.tell(StepExecuted(FIRST, "charge"))
    checker.finish()
    assert bool(stand.broken) is is_heard
