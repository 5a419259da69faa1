"""When a step of the loop is a stall, and whom the line in the log names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_runtime.telemetry.stalls import GAP_MS, LOOK_MS, STALL_MS, TOLD_MS, Look, Place, StallCore

USER = Place("shop.py", 12, "pay")
LIBRARY = Place("lib/socket.py", 3, "recv")
STACK = (Place("lib/trio.py", 1, "run"), USER, LIBRARY)


def core() -> StallCore:
    return StallCore(lambda file: file.startswith("lib/"))


def play(looks, stack=STACK):
    """What is told at each look: (now, step, cpu)."""
    one = core()
    told = [one.look(Look(now, step, cpu), lambda: stack) for now, step, cpu in looks]
    return [stall for stall in told if stall is not None]


def steady(step, start, end, cpu=0.0, cpu_share=1.0):
    return [(now, step, cpu + (now - start) * cpu_share) for now in range(start, end, LOOK_MS)]


def test_short_steps_are_no_stalls():
    assert play([(now, now, now) for now in range(0, 10_000, LOOK_MS)]) == []


def test_waiting_for_the_outside_is_none():
    assert play([(now, None, 0.0) for now in range(0, 10_000, LOOK_MS)]) == []


def test_a_stall_is_told_once_it_is_over():
    (stall,) = play([*steady(1, 0, 300), (300, 2, 290.0)])
    assert (stall.at, stall.inside, stall.is_over) == (USER, LIBRARY, True)
    assert stall.ms == 300
    assert stall.computing


def test_a_long_one_is_told_while_it_lasts_and_again_at_its_end():
    first, second = play([*steady(1, 0, 3_000), (3_000, None, 2_990.0)])
    assert (first.is_over, second.is_over) == (False, True)
    assert first.ms == TOLD_MS
    assert second.ms == 3_000


def test_who_waits_does_not_compute():
    (stall,) = play([*steady(1, 0, 300, cpu_share=0.0), (300, 2, 5.0)])
    assert stall.computing is False


def test_without_a_clock_of_the_thread_nothing_is_said_of_it():
    (stall,) = play([*((now, 1, None) for now in range(0, 300, LOOK_MS)), (300, 2, None)])
    assert stall.computing is None


def test_a_machine_that_stood_still_is_not_to_blame_on_the_step():
    assert play([(0, 1, 0.0), (20, 1, 1.0), (20 + 10 * GAP_MS, 1, 2.0), (1_040, 1, 3.0), (1_060, 2, 4.0)]) == []


def test_code_that_held_the_interpreter_is():
    for before in (None, 1, 2):
        (stall,) = play([(0, before, 0.0), (500, 2, 490.0), (520, 3, 500.0)])
        assert stall.at == USER
        assert stall.computing


def test_an_empty_stack_is_asked_for_again():
    stacks = iter([(), STACK])
    one = core()
    looks = [*steady(1, 0, 200), (200, 2, 200.0)]
    told = [one.look(Look(now, step, cpu), lambda: next(stacks)) for now, step, cpu in looks]
    assert [stall.at for stall in told if stall] == [USER]


def test_without_a_line_of_the_user_the_innermost_is_named():
    (stall,) = play([*steady(1, 0, 300), (300, 2, 290.0)], stack=(LIBRARY,))
    assert stall.at == stall.inside == LIBRARY


@given(st.integers(0, 2_000), st.integers(0, LOOK_MS - 1))
@pytest.mark.parametrize("before", [None, 7])
def test_any_stall_of_the_limit_is_told_and_none_much_shorter(before, length, offset):
    """Whenever it begins between two looks."""
    begin = 100 + offset
    step_at = lambda now: 1 if begin <= now < begin + length else (before if now < begin else 8)  # noqa: E731
    looks = [(now, step_at(now), float(now)) for now in range(0, 4_000, LOOK_MS)]
    looks = [(now, 1_000 + now if step in (7, 8) else step, cpu) for now, step, cpu in looks]
    told = play(looks)
    if length >= STALL_MS:
        assert told
        assert told[-1].is_over
    if length < STALL_MS - 2 * LOOK_MS:
        assert told == []
