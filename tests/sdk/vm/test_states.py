"""The table of an attempt's states, walked over the full product of states and events."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MessageType as T
from understudy.vm import TRANSITIONS, VM, Event, InternalError, ProtocolViolation, State
from understudy.vm import AttemptEnded as Ended

from tests.sdk.fakes import completed, start

COMMAND = Frame(T.SET_STATE, pb.SetStateCommand(key=b"k", value=pb.Value(content=b"1")).SerializeToString())
NOTE = completed(T.SLEEP_COMPLETION, 9)


def vm_in(state: State) -> VM:
    """A VM that got to *state* by the way a real one does."""
    vm = VM(6)
    if state is State.WAITING_START:
        return vm
    if state is State.WAITING_REPLAY:
        frames = start(b"", COMMAND, COMMAND, COMMAND)
        vm.notify_input(frames[:2])
    elif state is State.REPLAYING:
        vm.notify_input(start(b"", COMMAND, COMMAND))
        vm.sys_input()
    else:
        vm.notify_input(start())
        vm.sys_input()
        if state is State.CLOSED:
            vm.sys_output(b"1")
            vm.sys_end()
    assert vm.state is state
    return vm


PEER: dict[Event, Callable[[VM], None]] = {
    Event.START_RECEIVED: lambda vm: vm.notify_input(start()[:1]),
    Event.COMMAND_RECEIVED: lambda vm: vm.notify_input([COMMAND]),
    Event.NOTIFICATION_RECEIVED: lambda vm: vm.notify_input([NOTE]),
    Event.INPUT_CLOSED: lambda vm: vm.notify_input_closed(),
}


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", State)
def test_every_event_in_every_state(state: State, event: Event) -> None:
    vm = vm_in(state)
    following = TRANSITIONS[state].get(event)
    cause = PEER.get(event)
    if cause is None:
        if following is None:
            with pytest.raises(AssertionError, match="cannot happen"):
                vm._advance(event)
        else:
            vm._advance(event)
            assert vm.state is following
    elif following is None:
        with pytest.raises(ProtocolViolation) as caught:
            cause(vm)
        assert caught.value.code == 571
        assert vm.state is State.CLOSED
        assert [frame.type for frame in vm.take_output()] == [T.ERROR]
    else:
        cause(vm)
        assert vm.state is following


def test_every_state_has_a_row_and_is_reached() -> None:
    assert set(TRANSITIONS) == set(State)
    reached = {following for row in TRANSITIONS.values() for following in row.values()}
    assert reached | {State.WAITING_START} == set(State)


def test_a_closed_attempt_stays_closed() -> None:
    assert set(TRANSITIONS[State.CLOSED].values()) == {State.CLOSED}


def test_no_known_entries_is_an_error_of_the_server() -> None:
    vm = VM(6)
    with pytest.raises(InternalError, match="no known entries"):
        vm.notify_input([Frame(T.START, pb.Start(known_entries=0).SerializeToString())])
    assert [frame.type for frame in vm.take_output()] == [T.ERROR]


def test_a_journal_begins_with_the_input() -> None:
    vm = VM(6)
    with pytest.raises(ProtocolViolation, match="does not begin with the input"):
        vm.notify_input([Frame(T.START, pb.Start(known_entries=1).SerializeToString()), COMMAND])


@pytest.mark.parametrize("type_", [T.SUSPENSION, T.ERROR, T.END, T.PROPOSE_RUN_COMPLETION, 0x0006, 0xFC00, 0xFFFF])
def test_a_message_that_is_ours_or_nobodys_is_a_violation(type_: int) -> None:
    vm = vm_in(State.PROCESSING)
    with pytest.raises(ProtocolViolation):
        vm.notify_input([Frame(type_, b"")])


def test_an_error_is_said_once_and_raised_again() -> None:
    vm = vm_in(State.WAITING_START)
    with pytest.raises(ProtocolViolation):
        vm.notify_input([COMMAND])
    with pytest.raises(ProtocolViolation):
        vm.do_await(1)
    with pytest.raises(ProtocolViolation):
        vm.sys_set_state(b"k", b"1")
    assert len(vm.take_output()) == 1


def test_an_abort_says_nothing_and_refuses_all() -> None:
    vm = vm_in(State.PROCESSING)
    vm.sys_set_state(b"k", b"1")
    vm.abort()
    assert vm.take_output() == []
    with pytest.raises(Ended):
        vm.sys_sleep(5)
    vm.abort()
    assert vm.state is State.CLOSED


def test_an_operation_before_the_journal_is_our_mistake() -> None:
    with pytest.raises(AssertionError, match="waiting_start"):
        VM(6).sys_sleep(1)


@pytest.mark.parametrize("version", [0, 4, 7])
def test_versions_not_spoken_are_refused(version: int) -> None:
    with pytest.raises(AssertionError):
        VM(version)
