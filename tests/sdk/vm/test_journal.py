"""The replay cursor: what counts as the same step, and how a difference is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MESSAGES
from understudy.protocol.messages import MessageType as T
from understudy.vm import VM, Answer, CallTarget, Failure, JournalMismatch, UnsupportedFeature, VmError
from understudy.vm.states import State

from tests.sdk.fakes import completed, start

Step = Callable[[VM], object]

STEPS: dict[str, tuple[Step, Step]] = {
    "set key": (lambda vm: vm.sys_set_state(b"k", b"1"), lambda vm: vm.sys_set_state(b"l", b"1")),
    "set value": (lambda vm: vm.sys_set_state(b"k", b"1"), lambda vm: vm.sys_set_state(b"k", b"2")),
    "get key": (lambda vm: vm.sys_get_state(b"k"), lambda vm: vm.sys_get_state(b"l")),
    "clear": (lambda vm: vm.sys_clear_state(b"k"), lambda vm: vm.sys_clear_state(b"l")),
    "clear all": (lambda vm: vm.sys_clear_all_state(), lambda vm: vm.sys_clear_state(b"l")),
    "keys": (lambda vm: vm.sys_get_state_keys(), lambda vm: vm.sys_get_state(b"k")),
    "run name": (lambda vm: vm.sys_run("a"), lambda vm: vm.sys_run("b")),
    "sleep name": (lambda vm: vm.sys_sleep(5, "a"), lambda vm: vm.sys_sleep(5, "b")),
    "call": (
        lambda vm: vm.sys_call(CallTarget("S", "h"), b"1"),
        lambda vm: vm.sys_call(CallTarget("S", "g"), b"1"),
    ),
    "call parameter": (
        lambda vm: vm.sys_call(CallTarget("S", "h"), b"1"),
        lambda vm: vm.sys_call(CallTarget("S", "h"), b"2"),
    ),
    "call headers": (
        lambda vm: vm.sys_call(CallTarget("S", "h", headers=(("a", "1"), ("b", "2"))), b""),
        lambda vm: vm.sys_call(CallTarget("S", "h", headers=(("b", "2"), ("a", "1"))), b""),
    ),
    "send key": (
        lambda vm: vm.sys_one_way_call(CallTarget("S", "h", "k"), b"1"),
        lambda vm: vm.sys_one_way_call(CallTarget("S", "h", "l"), b"1"),
    ),
    "awakeable": (
        lambda vm: vm.sys_complete_awakeable("sign_1x", b"1"),
        lambda vm: vm.sys_complete_awakeable("sign_1x", Failure(500, "no")),
    ),
    "signal": (
        lambda vm: vm.sys_send_signal("inv_1x", "go", b"1"),
        lambda vm: vm.sys_send_signal("inv_1x", "no", b"1"),
    ),
    "cancel": (lambda vm: vm.sys_cancel_invocation("inv_1x"), lambda vm: vm.sys_cancel_invocation("inv_1y")),
    "promise": (lambda vm: vm.sys_get_promise("p"), lambda vm: vm.sys_peek_promise("p")),
    "complete promise": (
        lambda vm: vm.sys_complete_promise("p", b"1"),
        lambda vm: vm.sys_complete_promise("p", b"2"),
    ),
    "attach": (
        lambda vm: vm.sys_attach_invocation("inv_1x"),
        lambda vm: vm.sys_attach_invocation("inv_1y"),
    ),
    "output of": (
        lambda vm: vm.sys_get_invocation_output("inv_1x"),
        lambda vm: vm.sys_attach_invocation("inv_1x"),
    ),
    "output": (lambda vm: vm.sys_output(b"1"), lambda vm: vm.sys_output(b"2")),
    "output failure": (
        lambda vm: vm.sys_output_failure(Failure(409, "a")),
        lambda vm: vm.sys_output_failure(Failure(410, "a")),
    ),
}


def fresh(*journal: Frame, version: int = 6, partial_state: bool = False) -> VM:
    vm = VM(version)
    vm.notify_input(start(b"", *journal, partial_state=partial_state))
    vm.sys_input()
    return vm


def recorded(step: Step) -> Frame:
    vm = fresh()
    step(vm)
    (frame,) = vm.take_output()
    return frame


@pytest.mark.parametrize("name", STEPS)
def test_the_same_step_replays_in_silence(name: str) -> None:
    step, _ = STEPS[name]
    vm = fresh(recorded(step))
    assert vm.is_replaying
    step(vm)
    assert vm.state is State.PROCESSING
    assert vm.take_output() == []


@pytest.mark.parametrize("name", STEPS)
def test_another_step_is_a_mismatch_that_names_both(name: str) -> None:
    step, other = STEPS[name]
    vm = fresh(recorded(step))
    with pytest.raises(JournalMismatch) as caught:
        other(vm)
    error = caught.value
    attempted = recorded(other)
    assert error.related is not None
    assert (error.related.index, error.related.type) == (1, attempted.type)
    assert "step 1" in error.message
    assert T(recorded(step).type).name.lower() in error.message
    assert T(attempted.type).name.lower() in error.message
    (frame,) = vm.take_output()
    message = pb.Error.FromString(frame.payload)
    assert (message.code, message.related_command_index) == (570, 1)


def test_a_step_of_another_type_is_a_mismatch() -> None:
    vm = fresh(recorded(lambda vm: vm.sys_run("a")))
    with pytest.raises(JournalMismatch) as caught:
        vm.sys_call(CallTarget("S", "h"), b"")
    assert caught.value.related is not None
    assert caught.value.related.type == T.CALL


def test_clock_fields_are_not_compared() -> None:
    fresh(recorded(lambda vm: vm.sys_sleep(5))).sys_sleep(99)
    target = CallTarget("S", "h")
    fresh(recorded(lambda vm: vm.sys_one_way_call(target, b"", 5))).sys_one_way_call(target, b"", 99)


def test_reads_take_the_recorded_value_however_they_were_made() -> None:
    eager = pb.GetEagerStateCommand(key=b"k", value=pb.Value(content=b"old"))
    vm = fresh(Frame(T.GET_EAGER_STATE, eager.SerializeToString()))
    leaf = vm.sys_get_state(b"k")
    assert vm.do_await(leaf) is Answer.COMPLETED
    assert vm.take(leaf) == ("value", b"old")

    lazy = pb.GetLazyStateCommand(key=b"k", result_completion_id=1)
    vm = fresh(Frame(T.GET_LAZY_STATE, lazy.SerializeToString()), completed(T.GET_LAZY_STATE_COMPLETION, 1, b"older"))
    leaf = vm.sys_get_state(b"k")
    assert vm.do_await(leaf) is Answer.COMPLETED
    assert vm.take(leaf) == ("value", b"older")


def test_an_await_the_journal_went_past_is_a_mismatch() -> None:
    vm = fresh(recorded(lambda vm: vm.sys_sleep(5)))
    _, leaf = vm.sys_awakeable()
    with pytest.raises(JournalMismatch, match="went on to sleep") as caught:
        vm.do_await(leaf)
    assert caught.value.related is None


def test_a_run_that_lost_its_result_names_itself() -> None:
    run, sleep = recorded(lambda vm: vm.sys_run("a")), recorded(lambda vm: vm.sys_sleep(5))
    vm = fresh(run, sleep)
    leaf = vm.sys_run("a")
    with pytest.raises(JournalMismatch) as caught:
        vm.do_await(leaf)
    assert caught.value.related is not None
    assert caught.value.related.name == "a"


def test_an_end_before_the_journals_end_is_a_mismatch() -> None:
    vm = fresh(recorded(lambda vm: vm.sys_sleep(5)))
    with pytest.raises(JournalMismatch):
        vm.sys_output(b"1")


def test_eager_reads_use_up_a_completion_id() -> None:
    vm = fresh()
    assert vm.sys_get_state(b"k") == 1
    assert vm.sys_get_state_keys() == 2
    assert vm.sys_sleep(5) == 3
    assert vm.sys_call(CallTarget("S", "h"), b"") == (4, 5)


def test_races_have_one_winner_whatever_is_known() -> None:
    """Both completions are in the journal, in an order the server chose: the first one wins, alone."""
    sleeps = [recorded(lambda vm: vm.sys_sleep(5)), None]
    second = pb.SleepCommand(wake_up_time=6, result_completion_id=2)
    sleeps[1] = Frame(T.SLEEP, second.SerializeToString())
    journal = [sleeps[0], sleeps[1], completed(T.SLEEP_COMPLETION, 2), completed(T.SLEEP_COMPLETION, 1)]
    from understudy.vm import Combinator, Node

    vm = fresh(*[frame for frame in journal if frame is not None])
    first, other = vm.sys_sleep(5), vm.sys_sleep(6)
    assert vm.do_await(Node(Combinator.FIRST_COMPLETED, (first, other))) is Answer.COMPLETED
    assert vm.is_ready(other)
    assert not vm.is_ready(first)


def test_metadata_of_a_failure_needs_version_6() -> None:
    with pytest.raises(UnsupportedFeature) as caught:
        fresh(version=5).sys_output_failure(Failure(500, "no", (("k", "v"),)))
    assert caught.value.code == 573


def test_an_empty_idempotency_key_is_refused() -> None:
    with pytest.raises(VmError, match="empty idempotency key"):
        fresh().sys_call(CallTarget("S", "h", idempotency_key=""), b"")


@pytest.mark.parametrize("type_", [T.RUN_COMPLETION, T.SIGNAL_NOTIFICATION, T.CALL_COMPLETION])
@pytest.mark.parametrize("payload", [b"", b"\xff", b"\x08\x01", b"\x22\x00"])
def test_a_notification_without_id_or_result_is_an_error(type_: int, payload: bytes) -> None:
    with pytest.raises(VmError) as caught:
        fresh().notify_input([Frame(type_, payload)])
    assert caught.value.code == 500


def test_every_message_type_has_a_class() -> None:
    assert set(MESSAGES) == set(T)
