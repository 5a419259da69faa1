"""Requests: deduplication, schedules, locks and inboxes."""

from __future__ import annotations

from understudy_runtime.machine.expiry import EXPIRY_TIMER
from understudy_runtime.machine.invoke import ALREADY_INVOKED
from understudy_runtime.model.actions import ArmTimer, Completed, InvokeAcked, Send, StartAttempt
from understudy_runtime.model.commands import Callee, Caller, Complete, Delivered, Invoke, Kill, Purge, Suspend
from understudy_runtime.model.invocation import HandlerType, ServiceType, Status, Success, Target

from tests.runtime.machine.driver import OBJECT, RUN, Driver, M, entry, make_id, proposed


def test_a_request_starts_with_its_input_journaled() -> None:
    driver = Driver()
    command = driver.request(headers=(("k", "v"), ("empty", "")), request_id=7, random_seed=5)
    actions = driver.do(command)
    id_ = command.invocation_id
    assert actions == [StartAttempt(id_, 1), InvokeAcked(7, id_, True, 0)]
    headers = [{"key": "k", "value": "v"}, {"key": "empty"}]
    assert driver.tables.journal(id_) == [entry(M.INPUT, headers=headers, value={"content": b"in"})]
    invocation = driver.at(id_)
    assert (invocation.command_count, invocation.random_seed, invocation.created_ms) == (1, 5, 1_000)


def test_without_a_request_id_nobody_is_told() -> None:
    driver = Driver()
    command = driver.request()
    assert driver.do(command) == [StartAttempt(command.invocation_id, 1)]


def test_a_repeated_request_joins_the_first() -> None:
    driver = Driver()
    first = driver.request(idempotency_key="k", completion_retention_ms=60_000)
    driver.do(first)
    repeat = driver.request(invocation_id=first.invocation_id, payload=b"other", request_id=2)
    assert driver.do(repeat) == [InvokeAcked(2, first.invocation_id, False, 0)]
    assert len(driver.tables.journal(first.invocation_id)) == 1
    driver.finish(first.invocation_id, b"done")
    answers = driver.do(driver.request(invocation_id=first.invocation_id, request_id=3))
    assert answers == [
        InvokeAcked(3, first.invocation_id, False, 0),
        Completed(first.invocation_id, Success(b"done"), 61_000),
    ]
    assert driver.do(driver.request(invocation_id=first.invocation_id)) == []


def test_a_repeated_call_is_answered_with_the_result() -> None:
    driver = Driver()
    callee = driver.invoke(idempotency_key="k", completion_retention_ms=60_000)
    early, late = driver.invoke(), driver.invoke()
    for caller in (early, late):
        driver.at(caller).open_completions[2] = M.CALL_COMPLETION
        driver.at(caller).completion_id_last = 2
    driver.do(driver.request(invocation_id=callee, caller=Caller(early, 2)))
    assert driver.notes(early) == []
    driver.finish(callee, b"done")
    driver.do(driver.request(invocation_id=callee, caller=Caller(late, 2)))
    for caller in (early, late):
        [(type_, notification)] = driver.notes(caller)
        assert type_ is M.CALL_COMPLETION
        assert (notification.completion_id, notification.value.content) == (2, b"done")


def test_a_workflow_runs_once() -> None:
    driver = Driver()
    run = driver.invoke(RUN, completion_retention_ms=60_000)
    for _ in range(2):
        repeat = driver.request(RUN, invocation_id=run, request_id=4)
        assert driver.do(repeat) == [InvokeAcked(4, run, False, 0, conflict=True)]
        caller = driver.invoke()
        driver.at(caller).open_completions[2] = M.CALL_COMPLETION
        driver.do(driver.request(RUN, invocation_id=run, caller=Caller(caller, 2)))
        [(_, notification)] = driver.notes(caller)
        assert notification.failure.code == ALREADY_INVOKED.code == 409
        if driver.status(run) is Status.INVOKED:
            driver.finish(run)
    assert driver.at(run).callers == []


def test_a_future_start_is_scheduled_and_a_past_one_is_now() -> None:
    driver = Driver()
    command = driver.request(execution_time_ms=5_000, request_id=9)
    id_ = command.invocation_id
    assert driver.do(command) == [ArmTimer(5_000, 1), InvokeAcked(9, id_, True, 5_000)]
    assert driver.status(id_) is Status.SCHEDULED
    assert driver.fire(1) == [StartAttempt(id_, 1)]
    assert driver.status(id_) is Status.INVOKED
    assert driver.tables.timers == {}
    past = driver.request(execution_time_ms=4_999)
    assert driver.do(past) == [StartAttempt(past.invocation_id, 1)]


def test_exclusive_handlers_wait_in_order_for_the_lock() -> None:
    driver = Driver()
    first, second, third = (driver.invoke(OBJECT) for _ in range(3))
    assert [driver.status(id_) for id_ in (first, second, third)] == [Status.INVOKED, Status.INBOXED, Status.INBOXED]
    assert driver.tables.lock_holder("Counter", "k1") == first
    assert list(driver.tables.inbox("Counter", "k1")) == [second, third]
    actions = driver.finish(first)
    assert StartAttempt(second, 1) in actions
    assert driver.tables.lock_holder("Counter", "k1") == second
    assert list(driver.tables.inbox("Counter", "k1")) == [third]
    driver.finish(second)
    driver.finish(third)
    assert driver.tables.lock_holder("Counter", "k1") is None
    assert dict(driver.tables.objects.busy()) == {}


def test_the_lock_is_held_through_suspension_and_pause() -> None:
    driver = Driver()
    holder, waiter = driver.invoke(OBJECT), driver.invoke(OBJECT)
    driver.attempt(holder, end=Suspend((), (17,)))
    assert driver.status(holder) is Status.SUSPENDED
    assert driver.status(waiter) is Status.INBOXED
    assert driver.tables.lock_holder("Counter", "k1") == holder


def test_other_keys_services_and_shared_handlers_do_not_wait() -> None:
    driver = Driver()
    driver.invoke(OBJECT)
    for target, handler_type in (
        (Target("Counter", "add", "k2"), HandlerType.EXCLUSIVE),
        (Target("Other", "add", "k1"), HandlerType.EXCLUSIVE),
        (Target("Counter", "get", "k1"), HandlerType.SHARED),
    ):
        assert driver.status(driver.invoke(target, handler_type=handler_type)) is Status.INVOKED


def test_a_scheduled_exclusive_handler_queues_when_it_is_due() -> None:
    driver = Driver()
    scheduled = driver.invoke(OBJECT, execution_time_ms=2_000)
    holder = driver.invoke(OBJECT)
    assert driver.status(holder) is Status.INVOKED
    assert driver.fire(1) == []
    assert driver.status(scheduled) is Status.INBOXED
    assert StartAttempt(scheduled, 1) in driver.finish(holder)


def test_a_purged_id_is_free_again() -> None:
    driver = Driver()
    id_ = driver.invoke(idempotency_key="k", completion_retention_ms=10)
    driver.finish(id_)
    driver.fire(EXPIRY_TIMER)
    assert driver.status(id_) is Status.FREE
    again = driver.request(invocation_id=id_, request_id=5)
    assert driver.do(again) == [StartAttempt(id_, 1), InvokeAcked(5, id_, True, 0)]


def test_an_answer_to_an_earlier_life_of_an_id_is_not_for_the_later_one() -> None:
    """The answer is on its way from another partition while its caller is killed, purged and asked for anew."""
    driver = Driver(partition=0, count=2)
    callee = Callee(make_id(9, 1, 2), ServiceType.SERVICE, HandlerType.SHARED)
    call = proposed(
        M.CALL, callee, service_name="A", handler_name="b", invocation_id_notification_idx=1, result_completion_id=2
    )
    command = driver.request(idempotency_key="k", completion_retention_ms=60_000)
    id_ = command.invocation_id
    driver.do(command)
    [early] = [action.message for action in driver.attempt(id_, call) if isinstance(action, Send)]
    driver.do(Kill(id_))
    driver.do(Purge(id_))
    driver.do(command)
    [late] = [action.message for action in driver.attempt(id_, call) if isinstance(action, Send)]
    for sequence, invoke, value in ((1, early, b"early"), (2, late, b"late")):
        assert isinstance(invoke, Invoke)
        assert invoke.caller is not None
        answer = Complete(id_, 2, Success(value), invoke.caller.birth)
        driver.do(Delivered(1, sequence, answer))
    answered = [found.value.content for type_, found in driver.notes(id_) if type_ is M.CALL_COMPLETION]
    assert answered == [b"late"]
    assert driver.reload().journal(id_) == driver.tables.journal(id_)


def test_who_asks_says_which_life_of_its_id_asks() -> None:
    driver = Driver(partition=0, count=2)
    id_ = driver.invoke(RUN)
    callee = Callee(make_id(9, 1, 2), ServiceType.SERVICE, HandlerType.SHARED)
    birth = driver.at(id_).birth
    actions = driver.attempt(
        id_,
        proposed(M.ATTACH_INVOCATION, callee, invocation_id=callee.invocation_id, result_completion_id=3),
        proposed(M.GET_INVOCATION_OUTPUT, callee, invocation_id=callee.invocation_id, result_completion_id=4),
        proposed(M.GET_PROMISE, key="p", result_completion_id=5),
    )
    asked = [action.message.caller for action in actions if isinstance(action, Send)]
    assert asked == [Caller(id_, 3, birth), Caller(id_, 4, birth)]
    driver.flush()
    tables = driver.reload()
    assert tables.promises("Signup", "user")["p"].listeners == (Caller(id_, 5, birth),)
    found = tables.invocation(id_)
    assert found is not None
    assert found.birth == birth > 0
