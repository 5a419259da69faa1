"""Every entry type: what it does when it is journaled."""

from __future__ import annotations

import pytest
from understudy.protocol import service_pb2 as pb
from understudy_runtime.machine.journal_entries import ENTRY_HANDLERS
from understudy_runtime.machine.promises import ALREADY_COMPLETED
from understudy_runtime.machine.validate import CHECKS
from understudy_runtime.model import ids
from understudy_runtime.model.actions import ArmTimer, Completed, Notify, StartAttempt
from understudy_runtime.model.commands import Callee, Finished, GaveUp, Suspend
from understudy_runtime.model.invocation import (
    Failure,
    HandlerType,
    ServiceType,
    Status,
    Success,
    Target,
)

from tests.runtime.machine.driver import OBJECT, RUN, Driver, M, entry, make_id, note, output, proposed


def value(content: bytes) -> pb.Value:
    return pb.Value(content=content)


def test_every_command_an_sdk_sends_has_a_handler_and_a_check() -> None:
    sent = {type_ for type_ in M if 0x0400 < type_ < 0x8000} | {M.PROPOSE_RUN_COMPLETION}
    assert set(ENTRY_HANDLERS) == sent == set(CHECKS)


@pytest.mark.parametrize(
    ("type_", "fields"),
    [
        (M.OUTPUT, {"value": value(b"x")}),
        (M.GET_EAGER_STATE, {"key": b"k", "value": value(b"v")}),
        (M.GET_EAGER_STATE_KEYS, {"value": pb.StateKeys(keys=[b"k"])}),
    ],
)
def test_some_entries_are_only_stored(type_: M, fields: dict[str, object]) -> None:
    driver = Driver()
    id_ = driver.invoke(OBJECT)
    assert driver.attempt(id_, proposed(type_, **fields)) == []
    assert driver.tables.journal(id_)[1] == entry(type_, **fields)
    assert driver.at(id_).open_completions == {}
    assert driver.at(id_).command_count == 2


def test_bytes_are_stored_as_they_were_sent() -> None:
    driver = Driver()
    id_ = driver.invoke()
    odd = entry(M.RUN, result_completion_id=1)
    odd = type(odd)(odd.type, odd.payload + b"\xfa\x7f\x01x")
    driver.attempt(id_, type(proposed(M.RUN))(odd))
    assert driver.tables.journal(id_)[1] == odd


@pytest.mark.parametrize("failed", [False, True])
def test_a_run_has_one_recorded_result(failed: bool) -> None:
    driver = Driver()
    id_ = driver.invoke()
    result = {"failure": pb.Failure(code=418, message="no")} if failed else {"value": b"r"}
    actions = driver.attempt(
        id_,
        proposed(M.RUN, result_completion_id=1, name="step"),
        proposed(M.PROPOSE_RUN_COMPLETION, result_completion_id=1, **result),
    )
    [notified] = actions
    assert isinstance(notified, Notify)
    type_, notification = note(notified.entry)
    assert (type_, notification.completion_id) == (M.RUN_COMPLETION, 1)
    assert notification.WhichOneof("result") == ("failure" if failed else "value")
    assert notification.failure.code == 418 * failed
    assert driver.tables.journal(id_)[-1] == notified.entry
    again = proposed(M.PROPOSE_RUN_COMPLETION, result_completion_id=1, value=b"second")
    assert driver.attempt(id_, again) == []
    assert len(driver.notes(id_)) == 1


def test_a_proposal_for_no_run_is_dropped() -> None:
    driver = Driver()
    id_ = driver.invoke()
    driver.attempt(id_, proposed(M.SLEEP, wake_up_time=9_000, result_completion_id=1))
    for completion_id in (1, 2):
        stray = proposed(M.PROPOSE_RUN_COMPLETION, result_completion_id=completion_id, value=b"x")
        assert driver.attempt(id_, stray) == []
    assert driver.notes(id_) == []


def test_state_is_written_read_and_cleared() -> None:
    driver = Driver()
    id_ = driver.invoke(OBJECT)
    driver.attempt(id_, *(proposed(M.SET_STATE, key=key, value=value(key * 2)) for key in (b"b", b"a", b"c")))
    assert driver.tables.state("Counter", "k1") == {b"a": b"aa", b"b": b"bb", b"c": b"cc"}
    driver.attempt(id_, proposed(M.CLEAR_STATE, key=b"a"), proposed(M.CLEAR_STATE, key=b"never"))
    driver.attempt(
        id_,
        proposed(M.GET_LAZY_STATE, key=b"b", result_completion_id=1),
        proposed(M.GET_LAZY_STATE, key=b"a", result_completion_id=2),
        proposed(M.GET_LAZY_STATE_KEYS, result_completion_id=3),
    )
    (one, two, three) = driver.notes(id_)
    assert one == (M.GET_LAZY_STATE_COMPLETION, pb.Notification(completion_id=1, value=value(b"bb")))
    assert two == (M.GET_LAZY_STATE_COMPLETION, pb.Notification(completion_id=2, void=pb.Void()))
    keys = pb.StateKeys(keys=[b"b", b"c"])
    assert three == (M.GET_LAZY_STATE_KEYS_COMPLETION, pb.Notification(completion_id=3, state_keys=keys))
    journal = [found.type for found in driver.tables.journal(id_)]
    assert journal[-6:] == [0x0402, 0x8002, 0x0402, 0x8002, 0x0406, 0x8006]
    driver.attempt(id_, proposed(M.CLEAR_ALL_STATE))
    assert driver.tables.state("Counter", "k1") == {}


def test_state_belongs_to_service_and_key() -> None:
    driver = Driver()
    driver.attempt(driver.invoke(OBJECT), proposed(M.SET_STATE, key=b"a", value=value(b"1")))
    assert driver.tables.state("Counter", "k2") == {}
    assert driver.tables.state("Other", "k1") == {}


@pytest.mark.parametrize("target", [Target("Counter", "get", "k1"), Target("Greeter", "greet")])
def test_a_shared_handler_writes_nothing(target: Target) -> None:
    driver = Driver()
    driver.attempt(driver.invoke(OBJECT), proposed(M.SET_STATE, key=b"a", value=value(b"1")))
    id_ = driver.invoke(target, handler_type=HandlerType.SHARED)
    driver.attempt(
        id_,
        proposed(M.SET_STATE, key=b"a", value=value(b"2")),
        proposed(M.CLEAR_STATE, key=b"a"),
        proposed(M.CLEAR_ALL_STATE),
        proposed(M.GET_LAZY_STATE, key=b"a", result_completion_id=1),
        proposed(M.GET_LAZY_STATE_KEYS, result_completion_id=2),
    )
    assert driver.tables.state("Counter", "k1") == {b"a": b"1"}
    (_, read), (_, keys) = driver.notes(id_)
    assert read.value.content == (b"1" if target.key else b"")
    assert list(keys.state_keys.keys) == ([b"a"] if target.key else [])


def test_a_workflows_run_writes_state() -> None:
    driver = Driver()
    driver.attempt(driver.invoke(RUN), proposed(M.SET_STATE, key=b"a", value=value(b"1")))
    assert driver.tables.state("Signup", "user") == {b"a": b"1"}


def test_promises_are_completed_once_and_wake_who_listens() -> None:
    driver = Driver()
    run = driver.invoke(RUN)
    other = driver.invoke(Target("Signup", "approve", "user"))
    driver.attempt(run, proposed(M.GET_PROMISE, key="p", result_completion_id=1), end=Suspend((1,), (1,)))
    assert driver.status(run) is Status.SUSPENDED
    driver.attempt(other, proposed(M.PEEK_PROMISE, key="p", result_completion_id=1))
    complete = {"key": "p", "completion_value": value(b"yes")}
    actions = driver.attempt(other, proposed(M.COMPLETE_PROMISE, result_completion_id=2, **complete))
    assert StartAttempt(run, 2) in actions
    second = {"key": "p", "completion_failure": pb.Failure(code=1, message="late")}
    driver.attempt(other, proposed(M.COMPLETE_PROMISE, result_completion_id=3, **second))
    driver.attempt(
        other,
        proposed(M.PEEK_PROMISE, key="p", result_completion_id=4),
        proposed(M.GET_PROMISE, key="p", result_completion_id=5),
    )
    assert driver.notes(run) == [(M.GET_PROMISE_COMPLETION, pb.Notification(completion_id=1, value=value(b"yes")))]
    peeked, completed, refused, peeked_again, got = driver.notes(other)
    assert peeked == (M.PEEK_PROMISE_COMPLETION, pb.Notification(completion_id=1, void=pb.Void()))
    assert completed == (M.COMPLETE_PROMISE_COMPLETION, pb.Notification(completion_id=2, void=pb.Void()))
    assert refused[1].failure.code == ALREADY_COMPLETED.code == 409
    assert peeked_again == (M.PEEK_PROMISE_COMPLETION, pb.Notification(completion_id=4, value=value(b"yes")))
    assert got == (M.GET_PROMISE_COMPLETION, pb.Notification(completion_id=5, value=value(b"yes")))


def test_a_promise_can_be_rejected_and_belongs_to_its_workflow() -> None:
    driver = Driver()
    run, elsewhere = driver.invoke(RUN), driver.invoke(Target("Signup", "run", "other"))
    failure = pb.Failure(code=400, message="no", metadata=[pb.FailureMetadata(key="a", value="b")])
    driver.attempt(run, proposed(M.COMPLETE_PROMISE, key="p", completion_failure=failure, result_completion_id=1))
    driver.attempt(run, proposed(M.GET_PROMISE, key="p", result_completion_id=2))
    assert driver.notes(run)[1][1].failure == failure
    driver.attempt(elsewhere, proposed(M.PEEK_PROMISE, key="p", result_completion_id=1))
    assert driver.notes(elsewhere)[0][1].HasField("void")


def test_promise_commands_outside_workflows_do_nothing() -> None:
    driver = Driver()
    id_ = driver.invoke(OBJECT)
    driver.attempt(
        id_,
        proposed(M.GET_PROMISE, key="p", result_completion_id=1),
        proposed(M.PEEK_PROMISE, key="p", result_completion_id=2),
        proposed(M.COMPLETE_PROMISE, key="p", completion_value=value(b""), result_completion_id=3),
    )
    assert driver.notes(id_) == []
    assert driver.tables.promises("Counter", "k1") == {}


def test_a_sleep_is_a_timer() -> None:
    driver = Driver()
    id_ = driver.invoke()
    sleep = proposed(M.SLEEP, wake_up_time=9_000, result_completion_id=1)
    assert driver.attempt(id_, sleep, end=Suspend((1,), (1,))) == [ArmTimer(9_000, 1)]
    assert driver.fire(1) == [StartAttempt(id_, 2)]
    assert driver.notes(id_) == [(M.SLEEP_COMPLETION, pb.Notification(completion_id=1, void=pb.Void()))]
    assert driver.tables.timers == {}


def test_a_call_tells_the_callees_id_then_its_result() -> None:
    driver = Driver()
    caller, callee = driver.invoke(), driver.id()
    resolved = Callee(
        callee,
        ServiceType.VIRTUAL_OBJECT,
        HandlerType.EXCLUSIVE,
        completion_retention_ms=7_000,
        random_seed=3,
        schema_revision=2,
    )
    call = proposed(
        M.CALL,
        resolved,
        service_name="Counter",
        handler_name="add",
        key="k9",
        parameter=b"arg",
        headers=[pb.Header(key="h", value="v")],
        idempotency_key="idem",
        invocation_id_notification_idx=1,
        result_completion_id=2,
    )
    actions = driver.attempt(caller, call)
    [told, started] = actions
    assert isinstance(told, Notify)
    assert note(told.entry) == (
        M.CALL_INVOCATION_ID_COMPLETION,
        pb.Notification(completion_id=1, invocation_id=callee),
    )
    assert started == StartAttempt(callee, 1)
    invocation = driver.at(callee)
    assert invocation.target == Target("Counter", "add", "k9")
    assert (invocation.idempotency_key, invocation.completion_retention_ms) == ("idem", 7_000)
    assert (invocation.random_seed, invocation.schema_revision) == (3, 2)
    headers = [pb.Header(key="h", value="v")]
    assert driver.tables.journal(callee) == [entry(M.INPUT, headers=headers, value=value(b"arg"))]
    driver.suspend(caller, 2)
    assert StartAttempt(caller, 2) in driver.finish(callee, b"sum")
    assert driver.notes(caller)[1] == (M.CALL_COMPLETION, pb.Notification(completion_id=2, value=value(b"sum")))


def test_a_failing_callee_fails_the_call() -> None:
    driver = Driver()
    caller, callee = driver.invoke(), driver.id()
    names = {"service_name": "Greeter", "handler_name": "greet"}
    driver.attempt(
        caller,
        proposed(M.CALL, Callee(callee), invocation_id_notification_idx=1, result_completion_id=2, **names),
    )
    failure = pb.Failure(code=418, message="teapot", metadata=[pb.FailureMetadata(key="a", value="b")])
    actions = driver.attempt(callee, proposed(M.OUTPUT, failure=failure), end=Finished())
    assert driver.notes(caller)[1] == (M.CALL_COMPLETION, pb.Notification(completion_id=2, failure=failure))
    assert Completed(callee, Failure(418, "teapot", (("a", "b"),)), 0) in actions


def test_a_plain_service_is_called_without_a_key() -> None:
    driver = Driver()
    caller, plain, keyed = driver.invoke(), driver.id(), driver.id()
    names = {"service_name": "X", "handler_name": "h", "invocation_id_notification_idx": 1}
    driver.attempt(
        caller,
        proposed(M.CALL, Callee(plain), result_completion_id=2, **names),
        proposed(M.CALL, Callee(keyed, ServiceType.VIRTUAL_OBJECT), result_completion_id=3, **names),
    )
    assert driver.at(plain).target.key is None
    assert driver.at(keyed).target.key == ""


def test_a_workflows_run_ignores_the_idempotency_key() -> None:
    driver = Driver()
    caller, callee = driver.invoke(), driver.id()
    resolved = Callee(callee, ServiceType.WORKFLOW, HandlerType.WORKFLOW)
    names = {"service_name": "Signup", "handler_name": "run", "key": "u", "idempotency_key": "i"}
    driver.attempt(
        caller, proposed(M.CALL, resolved, invocation_id_notification_idx=1, result_completion_id=2, **names)
    )
    assert driver.at(callee).idempotency_key is None


def test_a_one_way_call_can_wait_and_answers_only_with_the_id() -> None:
    driver = Driver()
    caller, now, later = driver.invoke(), driver.id(), driver.id()
    names = {"service_name": "Greeter", "handler_name": "greet"}
    actions = driver.attempt(
        caller,
        proposed(M.ONE_WAY_CALL, Callee(now), invocation_id_notification_idx=1, **names),
        proposed(M.ONE_WAY_CALL, Callee(later), invocation_id_notification_idx=2, invoke_time=5_000, **names),
    )
    assert StartAttempt(now, 1) in actions
    assert (driver.status(later), driver.at(later).execution_time_ms) == (Status.SCHEDULED, 5_000)
    assert [found[1].invocation_id for found in driver.notes(caller)] == [now, later]
    driver.finish(now)
    assert len(driver.notes(caller)) == 2


def test_calls_of_one_flush_reach_an_object_in_order() -> None:
    driver = Driver()
    caller = driver.invoke()
    callees = [driver.id() for _ in range(3)]
    names = {"service_name": "Counter", "handler_name": "add", "key": "k1"}
    driver.attempt(
        caller,
        *(
            proposed(
                M.ONE_WAY_CALL,
                Callee(callee, ServiceType.VIRTUAL_OBJECT, HandlerType.EXCLUSIVE),
                invocation_id_notification_idx=number,
                **names,
            )
            for number, callee in enumerate(callees, start=1)
        ),
    )
    assert driver.tables.lock_holder("Counter", "k1") == callees[0]
    assert list(driver.tables.inbox("Counter", "k1")) == callees[1:]


@pytest.mark.parametrize("type_", [M.ATTACH_INVOCATION, M.GET_INVOCATION_OUTPUT])
@pytest.mark.parametrize("state", ["unknown", "running", "completed"])
def test_attach_waits_and_output_does_not(type_: M, state: str) -> None:
    driver = Driver()
    asking = driver.invoke()
    target = driver.id() if state == "unknown" else driver.invoke(completion_retention_ms=60_000)
    if state == "completed":
        driver.finish(target, b"r")
    driver.attempt(asking, proposed(type_, Callee(target), invocation_id=target, result_completion_id=1))
    if state == "running" and type_ is M.ATTACH_INVOCATION:
        assert driver.notes(asking) == []
        driver.finish(target, b"r")
    [(answered, notification)] = driver.notes(asking)
    assert answered == type_ - 0x0400 + 0x8000
    if state == "unknown":
        assert notification.failure.code == 404
    elif state == "running" and type_ is M.GET_INVOCATION_OUTPUT:
        assert notification.HasField("void")
    else:
        assert notification.value.content == b"r"


@pytest.mark.parametrize("kind", ["void", "value", "failure"])
@pytest.mark.parametrize("by", ["index", "name"])
def test_a_signal_reaches_its_target(kind: str, by: str) -> None:
    driver = Driver()
    sender, target = driver.invoke(), driver.invoke()
    awaited = Suspend((), (1, 20)) if by == "index" else Suspend((), (1,), ("go",))
    driver.attempt(target, end=awaited)
    results = {"void": pb.Void(), "value": value(b"v"), "failure": pb.Failure(code=500, message="x")}
    which = {"idx": 20} if by == "index" else {"name": "go"}
    send = proposed(M.SEND_SIGNAL, target_invocation_id=target, **which, **{kind: results[kind]})
    assert StartAttempt(target, 2) in driver.attempt(sender, send)
    expected = {"signal_id": 20} if by == "index" else {"signal_name": "go"}
    assert driver.notes(target) == [(M.SIGNAL_NOTIFICATION, pb.Notification(**expected, **{kind: results[kind]}))]


@pytest.mark.parametrize("kind", ["value", "failure"])
def test_an_awakeable_is_a_signal_by_its_id(kind: str) -> None:
    driver = Driver()
    sender, target = driver.invoke(), driver.invoke()
    driver.suspend(target, signals=(17, 1))
    results = {"value": value(b"v"), "failure": pb.Failure(code=500, message="x")}
    complete = proposed(M.COMPLETE_AWAKEABLE, awakeable_id=ids.awakeable_id(target, 17), **{kind: results[kind]})
    assert StartAttempt(target, 2) in driver.attempt(sender, complete)
    assert driver.notes(target) == [(M.SIGNAL_NOTIFICATION, pb.Notification(signal_id=17, **{kind: results[kind]}))]


def test_an_awakeable_of_an_old_protocol_is_taken_and_wakes_nobody() -> None:
    driver = Driver()
    sender, target = driver.invoke(), driver.invoke()
    driver.suspend(target, signals=(17, 1))
    legacy = ids.awakeable_id(target, 17).replace("sign_1", "prom_1")
    assert driver.attempt(sender, proposed(M.COMPLETE_AWAKEABLE, awakeable_id=legacy, value=value(b"v"))) == []
    assert [entry.type for entry in driver.tables.journal(sender)] == [M.INPUT, M.COMPLETE_AWAKEABLE]
    assert driver.notes(target) == []


def test_a_signal_to_nobody_is_dropped() -> None:
    driver = Driver()
    sender = driver.invoke()
    send = proposed(M.SEND_SIGNAL, target_invocation_id=make_id(99), idx=17, void=pb.Void())
    assert driver.attempt(sender, send) == []


def test_the_last_output_is_the_result() -> None:
    driver = Driver()
    id_ = driver.invoke()
    actions = driver.attempt(id_, output(b"first"), output(b"last"), end=Finished())
    assert actions == [Completed(id_, Success(b"last"), 0)]


def test_an_end_without_output_is_a_failure() -> None:
    driver = Driver()
    id_ = driver.invoke()
    [completed] = driver.attempt(id_, end=Finished())
    assert isinstance(completed, Completed)
    assert isinstance(completed.result, Failure)
    assert completed.result.code == 500


@pytest.mark.parametrize("pause", [True, False])
def test_an_exhausted_policy_pauses_or_fails(pause: bool) -> None:
    driver = Driver()
    id_ = driver.invoke(OBJECT, completion_retention_ms=1_000)
    actions = driver.attempt(id_, end=GaveUp(Failure(500, "again and again"), pause))
    if pause:
        assert actions == []
        assert driver.status(id_) is Status.PAUSED
        assert driver.tables.lock_holder("Counter", "k1") == id_
    else:
        assert driver.at(id_).result == Failure(500, "again and again")
        assert driver.tables.lock_holder("Counter", "k1") is None
