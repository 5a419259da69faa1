"""The linearizability checker: known histories, every small history against brute force, and two hundred operations."""

from __future__ import annotations

import itertools
import random
from collections.abc import Hashable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from understudy_sim.stage.linearizability import ANY, UNKNOWN, Operation, SequentialModel, Verdict, judge

GOOD, BAD = Verdict.LINEARIZABLE, Verdict.NOT_LINEARIZABLE


def register(state: Any, action: Any) -> tuple[Hashable, Any]:
    """write(value) -> None, read() -> the value, cas(old, new) -> whether it was old."""
    match action:
        case ("write", value):
            return value, None
        case ("cas", old, new):
            return (new, True) if state == old else (state, False)
        case ("touch",):
            return state, ANY
    return state, state


def write(value: Any, called: int, returned: int | None) -> Operation:
    return Operation(("write", value), None if returned is not None else UNKNOWN, called, returned)


def read(value: Any, called: int, returned: int) -> Operation:
    return Operation(("read",), value, called, returned)


def cas(old: Any, new: Any, done: bool, called: int, returned: int) -> Operation:
    return Operation(("cas", old, new), done, called, returned)


HISTORIES = {
    "nothing": (GOOD, []),
    "one after the other": (GOOD, [write(1, 0, 1), read(1, 2, 3), write(2, 4, 5), read(2, 6, 7)]),
    "a read of what is over": (BAD, [write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)]),
    "a read of nothing after a write": (BAD, [write(1, 0, 1), read(None, 2, 3)]),
    "a read of what nobody wrote": (BAD, [write(1, 0, 10), read(2, 1, 9)]),
    "a read beside a write, new": (GOOD, [write(1, 0, 10), read(1, 1, 2)]),
    "a read beside a write, old": (GOOD, [write(1, 0, 10), read(None, 1, 2)]),
    "new, then old again": (BAD, [write(1, 0, 10), read(1, 1, 2), read(None, 3, 4)]),
    "ends as the next begins": (GOOD, [write(1, 0, 5), read(None, 5, 6)]),
    "two readers disagree on the order": (
        BAD,
        [write(1, 0, 20), write(2, 0, 20), read(1, 1, 2), read(2, 3, 4), read(1, 5, 6)],
    ),
    "a lost write that happened": (GOOD, [write(1, 0, None), read(None, 1, 2), read(1, 3, 4)]),
    "a lost write that never happened": (GOOD, [write(1, 0, None), read(None, 1, 2), read(None, 3, 4)]),
    "a lost write undone": (BAD, [write(1, 0, None), read(1, 1, 2), read(None, 3, 4)]),
    "a lost write before it was asked for": (BAD, [read(1, 0, 1), write(1, 2, None)]),
    "one lost write seen twice, around another": (
        BAD,
        [write(1, 0, None), read(1, 1, 2), write(2, 3, 4), read(2, 5, 6), read(1, 7, 8)],
    ),
    "two winners": (BAD, [cas(None, 1, True, 0, 5), cas(None, 2, True, 0, 5)]),
    "one winner": (GOOD, [cas(None, 1, True, 0, 5), cas(None, 2, False, 0, 5), read(1, 6, 7)]),
    "a loser before the winner": (BAD, [cas(None, 1, False, 0, 1), cas(None, 2, True, 2, 3)]),
    "a loser because of a lost write": (GOOD, [write(7, 0, None), cas(None, 2, False, 1, 2), read(7, 3, 4)]),
    "an answer the model leaves open": (GOOD, [Operation(("touch",), 42, 0, 1), read(None, 2, 3)]),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_a_known_history(name: str) -> None:
    wanted, operations = HISTORIES[name]
    assert judge(operations, register).verdict is wanted


def test_a_refusal_says_how_far_it_came() -> None:
    stale = read(1, 4, 5)
    judgement = judge([write(1, 0, 1), write(2, 2, 3), stale], register)
    assert [one.action for one in judgement.order] == [("write", 1), ("write", 2)]
    assert judgement.state == 2
    assert judgement.stuck == ((stale, 2),)


def test_an_acceptance_names_the_order() -> None:
    judgement = judge([write(1, 0, 10), read(None, 1, 2), read(1, 3, 4)], register)
    assert [one.action for one in judgement.order] == [("read",), ("write", 1), ("read",)]


def by_brute_force(operations: Sequence[Operation], model: SequentialModel) -> bool:
    """Every subset of what may not have happened, in every order: slow, short and obviously right."""
    lost = [one for one in operations if one.returned is None]
    known = [one for one in operations if one.returned is not None]
    for count in range(len(lost) + 1):
        for happened in itertools.combinations(lost, count):
            if any(_explains(order, model) for order in itertools.permutations([*known, *happened])):
                return True
    return False


def _explains(order: Sequence[Operation], model: SequentialModel) -> bool:
    state: Hashable = None
    for place, one in enumerate(order):
        if any(later.returned is not None and later.returned < one.called for later in order[place + 1 :]):
            return False
        state, answer = model(state, one.action)
        if answer is not ANY and one.answer is not UNKNOWN and answer != one.answer:
            return False
    return True


VALUES = st.sampled_from([None, 1, 2])
ACTIONS = st.one_of(
    st.tuples(st.just("write"), VALUES),
    st.just(("read",)),
    st.tuples(st.just("cas"), VALUES, VALUES),
    st.just(("touch",)),
)


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    action = draw(ACTIONS)
    called = draw(st.integers(0, 8))
    if draw(st.integers(0, 3)) == 0:
        return Operation(action, UNKNOWN, called, None)
    answer = {"write": st.none(), "read": VALUES, "cas": st.booleans(), "touch": st.integers()}[action[0]]
    return Operation(action, draw(answer), called, called + draw(st.integers(0, 5)))


@settings(max_examples=600, deadline=None)
@given(history=st.lists(operations(), max_size=5))
def test_it_says_what_brute_force_says(history: list[Operation]) -> None:
    wanted = GOOD if by_brute_force(history, register) else BAD
    assert judge(history, register).verdict is wanted


def made(seed: int, count: int, clients: int, lost_share: float) -> list[Operation]:
    """A history that happened: each operation takes effect at one instant between its call and its answer."""
    draw = random.Random(seed)
    instants = []
    for client in range(clients):
        now = draw.randrange(10)
        for _ in range(count // clients):
            called, at = now, now + draw.randrange(1, 50)
            returned = at + draw.randrange(1, 50)
            action = draw.choice([("read",), ("read",), ("write", draw.randrange(5)), ("cas", draw.randrange(5), 9)])
            instants.append((at, client, action, called, returned))
            now = returned + draw.randrange(10)
    state: Hashable = None
    history = []
    for _, _, action, called, returned in sorted(instants):
        state, answer = register(state, action)
        lost = draw.random() < lost_share
        history.append(Operation(action, UNKNOWN if lost else answer, called, None if lost else returned))
    return history


@pytest.mark.parametrize("seed", range(5))
def test_two_hundred_operations_are_decided(seed: int) -> None:
    history = made(seed, 200, clients=5, lost_share=0.03)
    judgement = judge(history, register)
    assert judgement.verdict is GOOD
    assert judgement.steps < 50_000


def test_two_hundred_operations_with_one_stale_read_are_refused() -> None:
    history = made(1, 200, clients=4, lost_share=0.0)
    end = max(one.returned or 0 for one in history)
    history += [write(77, end + 1, end + 2), write(78, end + 3, end + 4), read(77, end + 5, end + 6)]
    judgement = judge(history, register)
    assert judgement.verdict is BAD
    assert judgement.steps < 50_000


def test_too_many_steps_are_no_verdict() -> None:
    history = made(3, 200, clients=5, lost_share=0.0)
    judgement = judge(history, register, steps_max=100)
    assert judgement.verdict is Verdict.UNDECIDED
    assert judgement.steps == 100
