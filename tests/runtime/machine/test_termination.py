"""Cancel, kill and purge in every status, and what they spread to."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from understudy.protocol import service_pb2 as pb
from understudy_runtime.model.actions import AbortAttempt, Completed, DisarmTimer, RequestAcked, StartAttempt
from understudy_runtime.model.commands import Callee, Cancel, GaveUp, Kill, Purge, Resume, Signal, Suspend
from understudy_runtime.model.invocation import Failure, HandlerType, ServiceType, Status, Target

from tests.runtime.machine.driver import OBJECT, RUN, Driver, M, make_id, proposed


def unknown(driver: Driver) -> str:
    return make_id(999)


def scheduled(driver: Driver) -> str:
    return driver.invoke(OBJECT, execution_time_ms=90_000)


def inboxed(driver: Driver) -> str:
    driver.invoke(OBJECT)
    return driver.invoke(OBJECT)


def invoked(driver: Driver) -> str:
    return driver.invoke(OBJECT)


def suspended(driver: Driver) -> str:
    id_ = driver.invoke(OBJECT)
    driver.suspend(id_, signals=(17, 1))
    return id_


def paused(driver: Driver) -> str:
    id_ = driver.invoke(OBJECT)
    driver.attempt(id_, end=GaveUp(Failure(500, "x"), pause=True))
    return id_


def completed(driver: Driver) -> str:
    id_ = driver.invoke(OBJECT, completion_retention_ms=60_000)
    driver.finish(id_)
    return id_


Make = Callable[[Driver], str]
STATUSES = {
    unknown: Status.FREE,
    scheduled: Status.SCHEDULED,
    inboxed: Status.INBOXED,
    invoked: Status.INVOKED,
    suspended: Status.SUSPENDED,
    paused: Status.PAUSED,
    completed: Status.COMPLETED,
}
CANCEL = ["not_found", "done", "done", "accepted", "accepted", "accepted", "already_completed"]
KILL = ["not_found", "done", "done", "done", "done", "done", "already_completed"]
PURGE = ["not_found", "not_completed", "not_completed", "not_completed", "not_completed", "not_completed", "done"]
RESUME = ["not_found", "not_started", "not_started", "done", "done", "done", "already_completed"]
MOVE = ["not_found", "not_started", "not_started", "not_movable", "not_movable", "not_movable", "already_completed"]
SIGNAL = ["not_found", "accepted", "accepted", "accepted", "accepted", "accepted", "already_completed"]


def acked(driver: Driver, command: Cancel | Kill | Purge | Resume | Signal) -> str:
    acks = [action for action in driver.do(command) if isinstance(action, RequestAcked)]
    [ack] = acks
    assert (ack.request_id, ack.invocation_id) == (command.request_id, command.invocation_id)
    return ack.outcome


def test_the_table_covers_every_status() -> None:
    for make, status in STATUSES.items():
        driver = Driver()
        assert driver.status(make(driver)) is status
    assert set(STATUSES.values()) == set(Status)


@pytest.mark.parametrize(("make", "outcome"), list(zip(STATUSES, CANCEL, strict=True)))
@pytest.mark.parametrize("as_signal", [True, False])
def test_cancel(make: Make, outcome: str, as_signal: bool) -> None:
    driver = Driver()
    id_ = make(driver)
    leases = 0 if driver.tables.invocation(id_) is None else driver.at(id_).lease
    assert acked(driver, Signal(id_, 1, request_id=5) if as_signal else Cancel(id_, 5)) == outcome
    if outcome == "done":
        assert driver.status(id_) is Status.FREE
    if outcome == "accepted":
        assert driver.status(id_) is Status.INVOKED
        assert driver.notes(id_) == [(M.SIGNAL_NOTIFICATION, pb.Notification(signal_id=1, void=pb.Void()))]
        assert driver.at(id_).lease == leases + (make is not invoked)
    assert driver.tables.timers == {}
    assert (driver.tables.expiries.due_ms is not None) == (make is completed)


@pytest.mark.parametrize(("make", "outcome"), list(zip(STATUSES, KILL, strict=True)))
def test_kill(make: Make, outcome: str) -> None:
    driver = Driver()
    id_ = make(driver)
    assert acked(driver, Kill(id_, 5)) == outcome
    if outcome == "done":
        assert driver.status(id_) is Status.FREE
        assert driver.tables.timers == {}
        holder = driver.tables.lock_holder("Counter", "k1")
        assert (holder is None) == (make is not inboxed)
        assert list(driver.tables.inbox("Counter", "k1")) == []


@pytest.mark.parametrize(("make", "outcome"), list(zip(STATUSES, PURGE, strict=True)))
def test_purge(make: Make, outcome: str) -> None:
    driver = Driver()
    id_ = make(driver)
    before = driver.status(id_)
    assert acked(driver, Purge(id_, 5)) == outcome
    assert driver.status(id_) is (Status.FREE if outcome == "done" else before)
    if outcome == "done":
        assert driver.tables.timers == {}


@pytest.mark.parametrize(("make", "outcome"), list(zip(STATUSES, SIGNAL, strict=True)))
def test_signal(make: Make, outcome: str) -> None:
    driver = Driver()
    id_ = make(driver)
    before = driver.status(id_)
    assert acked(driver, Signal(id_, 18, request_id=5)) == outcome
    assert driver.status(id_) is before
    assert len(driver.notes(id_)) == (outcome == "accepted")


def test_without_a_request_nobody_is_told() -> None:
    for command in (Cancel(make_id(9)), Kill(make_id(9)), Purge(make_id(9)), Signal(make_id(9), 17)):
        assert Driver().do(command) == []


def test_a_killed_attempt_is_cut_before_the_lock_moves_on() -> None:
    driver = Driver()
    holder, waiter = driver.invoke(OBJECT), driver.invoke(OBJECT)
    actions = driver.do(Kill(holder))
    assert actions[0] == AbortAttempt(holder, 1)
    assert StartAttempt(waiter, 1) in actions
    [done] = [action for action in actions if isinstance(action, Completed)]
    assert isinstance(done.result, Failure)
    assert done.result.code == 409


def test_a_killed_inboxed_invocation_gets_no_lock_later() -> None:
    driver = Driver()
    holder, killed, waiter = (driver.invoke(OBJECT) for _ in range(3))
    driver.do(Kill(killed))
    assert list(driver.tables.inbox("Counter", "k1")) == [waiter]
    assert StartAttempt(waiter, 1) in driver.finish(holder)


def test_a_kill_takes_sleeps_along() -> None:
    driver = Driver()
    id_ = driver.invoke()
    sleeps = [proposed(M.SLEEP, wake_up_time=9_000, result_completion_id=n) for n in (1, 2)]
    driver.attempt(id_, *sleeps, end=Suspend((1, 2), (1,)))
    actions = driver.do(Kill(id_))
    assert [DisarmTimer(1), DisarmTimer(2)] == [action for action in actions if isinstance(action, DisarmTimer)]
    assert driver.tables.timers == {}


def test_a_kill_reaches_calls_and_sends_and_theirs() -> None:
    driver = Driver()
    top, called, sent, below = (driver.id() for _ in range(4))
    driver.do(driver.request(invocation_id=top))
    names = {"service_name": "Greeter", "handler_name": "greet", "invocation_id_notification_idx": 1}
    driver.attempt(
        top,
        proposed(M.CALL, Callee(called), result_completion_id=2, **names),
        proposed(M.ONE_WAY_CALL, Callee(sent), **{**names, "invocation_id_notification_idx": 3}),
    )
    driver.attempt(called, proposed(M.CALL, Callee(below), result_completion_id=2, **names))
    driver.do(Kill(top))
    assert [driver.status(id_) for id_ in (top, called, sent, below)] == [Status.FREE] * 4


def test_a_long_chain_of_calls_can_be_killed() -> None:
    driver = Driver()
    names = {"service_name": "Greeter", "handler_name": "greet", "invocation_id_notification_idx": 1}
    chain = [driver.invoke()]
    for _ in range(2_000):
        callee = driver.id()
        driver.attempt(chain[-1], proposed(M.CALL, Callee(callee), result_completion_id=2, **names))
        chain.append(callee)
    driver.do(Kill(chain[0]))
    assert not list(driver.tables.live())


def test_who_waits_for_a_killed_invocation_is_told() -> None:
    driver = Driver()
    caller, callee = driver.invoke(), driver.id()
    names = {"service_name": "Counter", "handler_name": "add", "key": "k1"}
    driver.invoke(OBJECT)
    resolved = Callee(callee, ServiceType.VIRTUAL_OBJECT, HandlerType.EXCLUSIVE)
    driver.attempt(
        caller, proposed(M.CALL, resolved, invocation_id_notification_idx=1, result_completion_id=2, **names)
    )
    assert driver.status(callee) is Status.INBOXED
    driver.suspend(caller, 2)
    assert StartAttempt(caller, 2) in driver.do(Cancel(callee))
    assert driver.notes(caller)[1][1].failure.code == 409


def test_a_purged_workflow_takes_its_state_and_promises_along() -> None:
    driver = Driver()
    run = driver.invoke(RUN, completion_retention_ms=60_000)
    driver.attempt(
        run,
        proposed(M.SET_STATE, key=b"a", value=pb.Value(content=b"1")),
        proposed(M.COMPLETE_PROMISE, key="p", completion_value=pb.Value(), result_completion_id=1),
    )
    shared = driver.invoke(Target("Signup", "approve", "user"))
    driver.finish(shared)
    driver.finish(run)
    assert driver.tables.state("Signup", "user") == {b"a": b"1"}
    assert list(driver.tables.promises("Signup", "user")) == ["p"]
    driver.do(Purge(run))
    assert driver.tables.state("Signup", "user") == {}
    assert driver.tables.promises("Signup", "user") == {}


@pytest.mark.parametrize("retention_ms", [0, 60_000])
def test_a_purged_workflow_tells_who_waits_for_its_promises(retention_ms: int) -> None:
    driver = Driver()
    run = driver.invoke(RUN, completion_retention_ms=retention_ms)
    first, second = (driver.invoke(Target("Signup", "approve", "user")) for _ in range(2))
    driver.attempt(first, proposed(M.GET_PROMISE, key="b", result_completion_id=1), end=Suspend((1,), (1,)))
    driver.attempt(second, proposed(M.GET_PROMISE, key="a", result_completion_id=1), end=Suspend((1,), (1,)))
    actions = driver.finish(run)
    if retention_ms:
        driver.flush()
        driver.tables.objects.evict()
        actions = driver.do(Purge(run))
    assert [action for action in actions if isinstance(action, StartAttempt)] == [
        StartAttempt(second, 2),
        StartAttempt(first, 2),
    ]
    for id_ in (first, second):
        assert [found.failure.code for _, found in driver.notes(id_)] == [410]
    assert driver.tables.promises("Signup", "user") == {}


def test_an_objects_state_outlives_its_invocations() -> None:
    driver = Driver()
    id_ = driver.invoke(OBJECT)
    driver.attempt(id_, proposed(M.SET_STATE, key=b"a", value=pb.Value(content=b"1")))
    driver.finish(id_)
    assert driver.tables.state("Counter", "k1") == {b"a": b"1"}


@pytest.mark.parametrize(("make", "outcome", "moved"), list(zip(STATUSES, RESUME, MOVE, strict=True)))
def test_resume(make: Make, outcome: str, moved: str) -> None:
    driver = Driver()
    id_ = make(driver)
    before = driver.status(id_)
    assert acked(driver, Resume(id_, 5, "dp_2")) == moved
    assert driver.status(id_) is before
    actions = driver.do(Resume(id_, 6))
    assert actions[-1] == RequestAcked(6, id_, outcome)
    if before is Status.PAUSED:
        assert actions[0] == StartAttempt(id_, driver.at(id_).lease, driver.at(id_).birth)
        assert driver.status(id_) is Status.INVOKED
    else:
        assert driver.status(id_) is before
        assert len(actions) == 1


def test_a_paused_invocation_with_a_journal_moves() -> None:
    driver = Driver()
    id_ = driver.invoke(OBJECT)
    driver.attempt(id_, proposed(M.SLEEP, wake_up_time=5_000, result_completion_id=1))
    driver.attempt(id_, end=GaveUp(Failure(500, "x"), pause=True))
    assert driver.at(id_).deployment_id == "dp_1"
    assert acked(driver, Resume(id_, 5, "dp_2")) == "done"
    assert (driver.at(id_).deployment_id, driver.status(id_)) == ("dp_2", Status.INVOKED)
    driver.flush()
    driver.tables = driver.reload()
    assert driver.at(id_).deployment_id == "dp_2"
