"""State as a handler sees it: against a plain dict, with all of it known, some of it, or none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MessageType as T
from understudy.vm import VM, Answer, Leaf

from tests.sdk.fakes import start

keys = st.sampled_from([b"a", b"b", "ü".encode(), b"longer"])
values = st.sampled_from([b"", b"1", b'"x"'])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("get"), keys),
        st.tuples(st.just("set"), keys, values),
        st.tuples(st.just("clear"), keys),
        st.tuples(st.just("clear all")),
        st.tuples(st.just("keys")),
    ),
    max_size=12,
)


def vm_with(state: dict[bytes, bytes], *, partial: bool) -> VM:
    frames = start()
    message = pb.Start.FromString(frames[0].payload)
    message.partial_state = partial
    for key, value in state.items():
        message.state_map.add(key=key, value=value)
    vm = VM(6)
    vm.notify_input([Frame(T.START, message.SerializeToString()), frames[1]])
    vm.sys_input()
    return vm


def answer(vm: VM, leaf: Leaf) -> Any:
    """What is known at once, or "ask" when the server has to say."""
    if vm.do_await(leaf) is Answer.COMPLETED:
        return vm.take(leaf)[1]
    return "ask"


@given(st.dictionaries(keys, values), steps)
def test_complete_state_is_a_dict(state: dict[bytes, bytes], program: list[Any]) -> None:
    vm, model = vm_with(state, partial=False), dict(state)
    for step in program:
        if step[0] == "get":
            assert answer(vm, vm.sys_get_state(step[1])) == model.get(step[1])
        elif step[0] == "set":
            vm.sys_set_state(step[1], step[2])
            model[step[1]] = step[2]
        elif step[0] == "clear":
            vm.sys_clear_state(step[1])
            model.pop(step[1], None)
        elif step[0] == "clear all":
            vm.sys_clear_all_state()
            model.clear()
        else:
            assert answer(vm, vm.sys_get_state_keys()) == tuple(sorted(model))


@pytest.mark.parametrize(
    ("steps_before", "key", "expected"),
    [
        ([], b"known", b"1"),
        ([], b"other", "ask"),
        ([("set", b"other", b"2")], b"other", b"2"),
        ([("clear", b"known")], b"known", None),
        ([("clear", b"other")], b"other", None),
        ([("clear all",)], b"other", None),
    ],
)
def test_partial_state_is_asked_for_what_it_does_not_know(steps_before: list[Any], key: bytes, expected: Any) -> None:
    vm = vm_with({b"known": b"1"}, partial=True)
    for step in steps_before:
        if step[0] == "set":
            vm.sys_set_state(step[1], step[2])
        elif step[0] == "clear":
            vm.sys_clear_state(step[1])
        else:
            vm.sys_clear_all_state()
    assert answer(vm, vm.sys_get_state(key)) == expected


def test_keys_of_partial_state_are_asked_for() -> None:
    vm = vm_with({b"known": b"1"}, partial=True)
    assert answer(vm, vm.sys_get_state_keys()) == "ask"
    assert vm.take_output()[-1].type == T.GET_LAZY_STATE_KEYS
