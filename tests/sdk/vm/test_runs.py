"""When a run that failed is tried again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MessageType as T
from understudy.vm import VM, Answer, InternalError, RunRetryPolicy
from understudy.vm.runs import RetryBase, next_delay_ms

from tests.sdk.fakes import completed, start

P = RunRetryPolicy


@pytest.mark.parametrize(
    ("policy", "base", "elapsed_ms", "fixed", "expected"),
    [
        (P(), RetryBase(), 0, None, 50),
        (P(), RetryBase(2), 0, None, 200),
        (P(), RetryBase(1_000_000), 0, None, 10_000),
        (P(initial_interval_ms=100), RetryBase(1), 0, None, 200),
        (P(interval_ms_max=150), RetryBase(3), 0, None, 150),
        (P(factor=1.0), RetryBase(9), 0, None, 50),
        (P(attempts_max=2), RetryBase(), 0, None, 50),
        (P(attempts_max=2), RetryBase(1), 0, None, None),
        (P(attempts_max=1), RetryBase(), 0, None, None),
        (P(duration_ms_max=100), RetryBase(1, 60), 39, None, 100),
        (P(duration_ms_max=100), RetryBase(1, 60), 40, None, None),
        (P(), RetryBase(5), 0, 7, 7),
        (P(attempts_max=2), RetryBase(1), 0, 7, None),
    ],
)
def test_the_pause_before_the_next_try(
    policy: P, base: RetryBase, elapsed_ms: int, fixed: int | None, expected: int | None
) -> None:
    assert next_delay_ms(policy, base, elapsed_ms, fixed) == expected


@given(st.integers(0, 10**9), st.integers(0, 10**12))
def test_the_pause_is_never_above_its_ceiling(count: int, elapsed_ms: int) -> None:
    delay_ms = next_delay_ms(P(), RetryBase(count), elapsed_ms)
    assert delay_ms is not None
    assert 50 <= delay_ms <= 10_000


def test_the_first_completion_of_an_awakeable_counts() -> None:
    """Also when both have come while the handler waited for something else."""
    vm = VM(6)
    vm.notify_input(start(b""))
    vm.sys_input()
    _, awakeable = vm.sys_awakeable()
    sleep = vm.sys_sleep(1_000)
    assert isinstance(sleep, int)
    for value in (b"first", b"second"):
        note = pb.Notification(signal_id=17, value=pb.Value(content=value))
        vm.notify_input([Frame(T.SIGNAL_NOTIFICATION, note.SerializeToString())])
    vm.notify_input([completed(T.SLEEP_COMPLETION, sleep)])
    assert vm.do_await(sleep) is Answer.COMPLETED
    assert vm.do_await(awakeable) is Answer.COMPLETED
    assert vm.take(awakeable) == ("value", b"first")


def test_signals_of_one_name_are_taken_one_by_one() -> None:
    """None is lost when several have come while the handler waited for something else."""
    vm = VM(6)
    vm.notify_input(start(b""))
    vm.sys_input()
    sleep = vm.sys_sleep(1_000)
    assert isinstance(sleep, int)
    for value in (b"1", b"2", b"3"):
        note = pb.Notification(signal_name="tick", value=pb.Value(content=value))
        vm.notify_input([Frame(T.SIGNAL_NOTIFICATION, note.SerializeToString())])
    vm.notify_input([completed(T.SLEEP_COMPLETION, sleep)])
    assert vm.do_await(sleep) is Answer.COMPLETED
    for value in (b"1", b"2", b"3"):
        tick = vm.sys_signal("tick")
        assert vm.do_await(tick) is Answer.COMPLETED
        assert vm.take(tick) == ("value", value)
        vm.give_back(tick, ("value", value))
        assert vm.take(tick) == ("value", value)
    assert vm.do_await(vm.sys_signal("tick")) is Answer.WAIT


def failed_run(*journal: Frame, retries: int, step_before: bool = False) -> VM:
    """A VM whose only run was just executed and failed."""
    vm = VM(6)
    vm.notify_input(
        start(b"", *journal, retry_count_since_last_stored_entry=retries, duration_since_last_stored_entry=1000)
    )
    vm.sys_input()
    if step_before:
        vm.sys_set_state(b"k", b"1")
    leaf = vm.sys_run("work")
    assert isinstance(leaf, int)
    assert vm.do_await(leaf) is Answer.EXECUTE
    assert vm.take_runs() == [leaf]
    vm.run_attempt_failed(leaf, InternalError("no"), P(attempts_max=3), elapsed_ms=5)
    return vm


RUN = Frame(T.RUN, pb.RunCommand(result_completion_id=1, name="work").SerializeToString())


def test_tries_of_a_recorded_run_are_those_the_server_counted() -> None:
    vm = failed_run(RUN, retries=2)
    assert [frame.type for frame in vm.take_output()] == [T.PROPOSE_RUN_COMPLETION]
    with pytest.raises(InternalError) as caught:
        failed_run(RUN, retries=1)
    assert caught.value.next_retry_delay_ms == 100


@pytest.mark.parametrize("step_before", [False, True])
def test_tries_of_a_new_run_begin_at_one(step_before: bool) -> None:
    with pytest.raises(InternalError) as caught:
        failed_run(retries=2, step_before=step_before)
    assert caught.value.next_retry_delay_ms == 50
    related = caught.value.related
    assert related is not None
    assert (related.index, related.type, related.name) == (1 + step_before, T.RUN, "work")
