"""Who may speak for an invocation, suspension and resumption, and what an attempt is told."""

from __future__ import annotations

import pytest
from understudy.protocol import service_pb2 as pb
from understudy_runtime.machine.apply import RULES_CURRENT
from understudy_runtime.model.actions import Completed, Notify, StartAttempt
from understudy_runtime.model.commands import (
    AttemptOutput,
    Callee,
    Cancel,
    Complete,
    Finished,
    GaveUp,
    Kill,
    LeaderElected,
    Purge,
    Signal,
    Suspend,
)
from understudy_runtime.model.invocation import Failure, Status, Success

from tests.runtime.machine.driver import OBJECT, Driver, M, entry, output, proposed


@pytest.mark.parametrize("change", [{"epoch": 2}, {"epoch": 0}, {"lease": 2}, {"lease": 0}, {"attempt": 2}])
def test_only_the_attempt_in_charge_is_heard(change: dict[str, int]) -> None:
    driver = Driver()
    id_ = driver.invoke()
    driver.attempt(id_, attempt=3)
    assert driver.attempt(id_, output(b"x"), end=Finished(), **{"attempt": 3, **change}) == []
    assert driver.status(id_) is Status.INVOKED
    assert len(driver.tables.journal(id_)) == 1
    assert driver.attempt(id_, output(b"x"), end=Finished(), attempt=3) == [Completed(id_, Success(b"x"), 0)]


def test_a_suspended_or_paused_invocation_is_not_spoken_for() -> None:
    driver = Driver()
    id_ = driver.invoke()
    driver.suspend(id_, signals=(17,))
    assert driver.attempt(id_, output(b"x"), end=Finished()) == []
    assert driver.status(id_) is Status.SUSPENDED


def test_a_forgotten_invocation_is_not_spoken_for() -> None:
    driver = Driver()
    id_ = driver.invoke()
    driver.finish(id_)
    assert driver.status(id_) is Status.FREE
    assert driver.do(AttemptOutput(id_, 1, 1, 1, (output(b"y"),), Finished())) == []


def test_a_new_leader_counts_attempts_from_one() -> None:
    driver = Driver()
    id_ = driver.invoke()
    driver.attempt(id_, attempt=5)
    driver.do(LeaderElected(2, RULES_CURRENT))
    assert driver.attempt(id_, output(b"old"), attempt=5) == []
    driver.epoch = 2
    driver.attempt(id_, output(b"new"), attempt=1)
    assert [found.type for found in driver.tables.journal(id_)] == [M.INPUT, M.OUTPUT]
    driver.attempt(id_, attempt=3)
    assert driver.attempt(id_, output(b"late"), attempt=2) == []
    assert len(driver.tables.journal(id_)) == 2


def test_the_deployment_is_pinned_by_the_first_entry() -> None:
    driver = Driver()
    id_ = driver.invoke()
    driver.suspend(id_, signals=(17,))
    assert driver.at(id_).deployment_id == ""
    driver.do(Signal(id_, 17))
    driver.attempt(id_, proposed(M.RUN, result_completion_id=1), deployment_id="dp_2", protocol_version=5)
    driver.attempt(id_, output(b""), deployment_id="dp_3", protocol_version=6)
    assert (driver.at(id_).deployment_id, driver.at(id_).protocol_version) == ("dp_2", 5)


def test_suspension_waits_for_any_of_what_it_lists() -> None:
    for woken_by in (1, 2):
        driver = Driver()
        id_ = driver.invoke()
        sleeps = [proposed(M.SLEEP, wake_up_time=n * 5_000, result_completion_id=n) for n in (1, 2, 3)]
        driver.attempt(id_, *sleeps)
        driver.suspend(id_, 1, 2)
        assert driver.fire(3) == []
        assert driver.status(id_) is Status.SUSPENDED
        assert driver.fire(woken_by) == [StartAttempt(id_, 2)]
        assert driver.at(id_).awaiting is None


def test_a_suspension_whose_completion_is_there_runs_again_at_once() -> None:
    driver = Driver()
    id_ = driver.invoke()
    driver.attempt(id_, proposed(M.SLEEP, wake_up_time=5_000, result_completion_id=1))
    driver.fire(1)
    assert driver.suspend(id_, 1) == [StartAttempt(id_, 2)]
    assert driver.status(id_) is Status.INVOKED


def test_a_run_and_its_suspension_in_one_flush() -> None:
    driver = Driver()
    id_ = driver.invoke()
    actions = driver.attempt(
        id_,
        proposed(M.RUN, result_completion_id=1),
        proposed(M.PROPOSE_RUN_COMPLETION, result_completion_id=1, value=b"r"),
        end=Suspend((1,), (1,)),
    )
    assert actions == [StartAttempt(id_, 2)]


def test_waiting_for_an_own_run_never_suspends() -> None:
    driver = Driver()
    id_ = driver.invoke()
    run = proposed(M.RUN, result_completion_id=1)
    assert driver.attempt(id_, run, end=Suspend((1,), (1,))) == [StartAttempt(id_, 2)]


def test_waiting_for_a_completion_never_issued_suspends() -> None:
    driver = Driver()
    id_ = driver.invoke()
    assert driver.suspend(id_, 1) == []
    assert driver.status(id_) is Status.SUSPENDED
    assert driver.do(Cancel(id_)) == [StartAttempt(id_, 2)]


@pytest.mark.parametrize("signal", [Signal("", 17), Signal("", 0, "go")])
def test_a_signal_before_anyone_waits_is_kept(signal: Signal) -> None:
    driver = Driver()
    id_ = driver.invoke()
    signal = Signal(id_, signal.index, signal.name)
    [told] = driver.do(signal)
    assert isinstance(told, Notify)
    awaited = Suspend((), (17,), ("go",))
    assert driver.attempt(id_, end=awaited) == [StartAttempt(id_, 2)]


@pytest.mark.parametrize("signal", [Signal("", 17), Signal("", 0, "go")])
def test_a_signal_that_was_seen_does_not_wake_again_but_the_next_one_does(signal: Signal) -> None:
    """A handler that waits for two signals of one name and has one must not run again and again until the second."""
    driver = Driver()
    id_ = driver.invoke()
    signal = Signal(id_, signal.index, signal.name)
    awaited = Suspend((), (17,), ("go",))
    driver.attempt(id_, end=awaited)
    assert driver.do(signal) == [StartAttempt(id_, 2)]
    assert driver.attempt(id_, end=awaited) == []
    assert driver.status(id_) is Status.SUSPENDED
    assert driver.do(signal) == [StartAttempt(id_, 3)]


def test_a_signal_not_waited_for_does_not_wake() -> None:
    driver = Driver()
    id_ = driver.invoke()
    driver.attempt(id_, end=Suspend((), (17,), ("go",)))
    assert driver.do(Signal(id_, 18)) == []
    assert driver.do(Signal(id_, 0, "stop")) == []
    assert driver.status(id_) is Status.SUSPENDED
    assert driver.do(Signal(id_, 0, "go")) == [StartAttempt(id_, 2)]


def test_signals_reach_who_has_not_started() -> None:
    driver = Driver()
    driver.invoke(OBJECT)
    inboxed, scheduled = driver.invoke(OBJECT), driver.invoke(execution_time_ms=9_000)
    for id_ in (inboxed, scheduled):
        assert driver.do(Signal(id_, 17)) == []
        assert len(driver.notes(id_)) == 1


def test_a_consumed_cancel_does_not_wake_again_but_a_second_one_does() -> None:
    driver = Driver()
    id_ = driver.invoke()
    driver.suspend(id_, signals=(17, 1))
    assert driver.do(Cancel(id_)) == [StartAttempt(id_, 2)]
    compensation = proposed(M.SLEEP, wake_up_time=50_000, result_completion_id=1)
    driver.attempt(id_, compensation, end=Suspend((1,), (1,)))
    assert driver.status(id_) is Status.SUSPENDED
    assert driver.do(Cancel(id_)) == [StartAttempt(id_, 3)]


def test_a_cancel_that_comes_before_the_pause_is_not_lost() -> None:
    """It was accepted while the last attempt failed: no attempt may have seen it."""
    driver = Driver()
    id_ = driver.invoke()
    driver.do(Cancel(id_))
    gave_up = GaveUp(Failure(500, "no"), pause=True)
    assert driver.attempt(id_, end=gave_up) == [StartAttempt(id_, 2)]
    assert driver.attempt(id_, end=gave_up) == []
    assert driver.status(id_) is Status.PAUSED
    assert driver.do(Cancel(id_)) == [StartAttempt(id_, 3)]


def test_a_cancel_that_comes_while_it_runs_is_not_lost() -> None:
    driver = Driver()
    id_ = driver.invoke()
    [told] = driver.do(Cancel(id_))
    assert isinstance(told, Notify)
    assert told.entry == entry(M.SIGNAL_NOTIFICATION, signal_id=1, void=pb.Void())
    assert driver.suspend(id_, signals=(17, 1)) == [StartAttempt(id_, 2)]
    assert driver.suspend(id_, signals=(17, 1)) == []


def test_an_attempt_that_has_ended_is_told_nothing() -> None:
    driver = Driver()
    id_ = driver.invoke(OBJECT)
    read = proposed(M.GET_LAZY_STATE, key=b"a", result_completion_id=1)
    assert driver.attempt(id_, read, end=Suspend((9,), (1,))) == []
    assert len(driver.notes(id_)) == 1


def test_a_running_attempt_is_told_in_journal_order() -> None:
    driver = Driver()
    id_ = driver.invoke(OBJECT)
    reads = [proposed(M.GET_LAZY_STATE, key=b"a", result_completion_id=n) for n in (1, 2)]
    told = driver.attempt(id_, *reads)
    assert [action.entry for action in told if isinstance(action, Notify)] == [
        found for found in driver.tables.journal(id_) if found.type >= 0x8000
    ]
    assert all(action.lease == 1 for action in told if isinstance(action, Notify))


def test_a_completion_answered_twice_counts_once() -> None:
    driver = Driver()
    caller, callee = driver.invoke(), driver.id()
    names = {"service_name": "Greeter", "handler_name": "greet"}
    call = proposed(M.CALL, Callee(callee), invocation_id_notification_idx=1, result_completion_id=2, **names)
    driver.attempt(caller, call)
    driver.finish(callee)
    assert driver.do(Complete(caller, 2, Success(b"again"))) == []
    assert driver.do(Complete(caller, 77, Success(b"unknown"))) == []
    assert len(driver.notes(caller)) == 2


def test_leases_grow_and_starts_are_numbered() -> None:
    driver = Driver()
    first, second = driver.invoke(), driver.invoke()
    driver.suspend(first, signals=(17,))
    driver.do(Signal(first, 17))
    assert (driver.at(first).lease, driver.at(second).lease) == (2, 1)
    assert driver.at(second).start_sequence < driver.at(first).start_sequence
    assert driver.at(first).lease_entries == 2


def test_an_attempt_does_not_speak_for_a_later_life_of_its_id() -> None:
    driver = Driver()
    command = driver.request(idempotency_key="k", completion_retention_ms=60_000)
    id_ = command.invocation_id
    driver.do(command)
    early = driver.at(id_).birth
    driver.do(Kill(id_))
    driver.do(Purge(id_))
    driver.do(command)
    assert driver.at(id_).lease == 1
    assert driver.attempt(id_, output(b"early"), end=Finished(), birth=early) == []
    assert driver.status(id_) is Status.INVOKED
    driver.attempt(id_, output(b"late"), end=Finished(), birth=driver.at(id_).birth)
    assert driver.at(id_).result == Success(b"late")
