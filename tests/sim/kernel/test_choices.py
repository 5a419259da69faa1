"""One conformance body for every source of choices, and what each promises beyond it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from understudy_sim.kernel.choices import (
    Choices,
    DrawnChoices,
    SeededChoices,
    Stream,
)

ASKS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(-1000, 1000), st.integers(0, 2**70)), max_size=30
)
Asks = list[tuple[str, int, int]]


def take(choices: Choices, asks: Asks) -> list[int]:
    return [choices.integer(label, low, low + span) for label, low, span in asks]


def conforms(make: Callable[[], Choices], asks: Asks) -> None:
    """Every source: in range, and recorded with label and ordinal."""
    choices = make()
    values = take(choices, asks)
    for (_, low, span), value in zip(asks, values, strict=True):
        assert low <= value <= low + span
    decided = [(ask, value) for ask, value in zip(asks, values, strict=True) if ask[2] > 0]
    assert [(one.label, one.low, one.high, one.value) for one in choices.recorded] == [
        (label, low, low + span, value) for (label, low, span), value in decided
    ]
    for label in ("a", "b", "c"):
        ordinals = [one.ordinal for one in choices.recorded if one.label == label]
        assert ordinals == list(range(len(ordinals)))
    shuffled = choices.shuffle("s", range(5))
    assert sorted(shuffled) == list(range(5))
    assert choices.one_of("o", "xyz") in "xyz"
    assert len(choices.bytes("y", 9)) == 9
    assert choices.chance("never", 0) is False
    assert choices.chance("always", 1000) is True


@given(ASKS, st.integers(0, 2**64))
def test_seeded_conforms(asks: Asks, seed: int) -> None:
    conforms(lambda: SeededChoices(seed), asks)


@given(ASKS, st.data())
@settings(max_examples=50)
def test_drawn_conforms(asks: Asks, data: st.DataObject) -> None:
    conforms(lambda: DrawnChoices(data), asks)


def test_a_seed_names_the_same_run_for_ever() -> None:
    choices = SeededChoices(7)
    assert [choices.integer("a", 0, 10**6) for _ in range(3)] == [95909, 446733, 936516]
    assert choices.stream("s").integer(0, 10**6) == 203949
    assert choices.bytes("b", 4).hex() == "3ba70b0f"


@given(ASKS, ASKS, st.integers(0, 2**32))
def test_labels_are_independent(asks: Asks, others: Asks, seed: int) -> None:
    alone = take(SeededChoices(seed), asks)
    mixed = SeededChoices(seed)
    for label, low, span in others:
        mixed.integer(f"other {label}", low, low + span)
    assert take(mixed, asks) == alone, "decisions under other labels change nothing"


def test_one_decision_can_be_forced_without_moving_the_rest() -> None:
    plain = [SeededChoices(3).integer("x", 0, 1000) for _ in range(1)]
    asks: Asks = [("x", 0, 1000)] * 5
    plain = take(SeededChoices(3), asks)
    forced = take(SeededChoices(3, {("x", 2): 0}), asks)
    assert forced == [*plain[:2], 0, *plain[3:]]
    assert take(SeededChoices(3, {("x", None): 7}), asks) == [7] * 5
    assert take(SeededChoices(3, {("x", None): 10**9}), asks) == [1000] * 5, "clamped to what is asked for"
    assert take(SeededChoices(3, {("x", None): 7, ("x", 1): 8}), asks) == [7, 8, 7, 7, 7]


@given(st.integers(0, 2**64), st.integers(-(2**40), 2**40), st.integers(0, 2**40))
def test_a_stream_stays_in_range(seed: int, low: int, span: int) -> None:
    stream = Stream(seed)
    for _ in range(5):
        assert low <= stream.integer(low, low + span) <= low + span


def test_a_stream_reaches_every_value_about_equally() -> None:
    stream = Stream(1)
    counts = [0] * 7
    for _ in range(7_000):
        counts[stream.integer(0, 6)] += 1
    assert min(counts) > 850
    assert max(counts) < 1_150


@pytest.mark.parametrize(
    "ask", [lambda c: c.integer("x", 1, 0), lambda c: c.pick("x", 0), lambda c: c.chance("x", 1001)]
)
def test_nonsense_is_asserted(ask: Callable[[Choices], Any]) -> None:
    with pytest.raises(AssertionError, match="x:"):
        ask(SeededChoices(0))


@given(st.integers(0, 2**64))
def test_the_widest_range_is_reached_and_kept(seed: int) -> None:
    choices = SeededChoices(seed)
    drawn = [choices.integer("x", 0, 2**64 - 1) for _ in range(50)]
    assert all(0 <= one < 2**64 for one in drawn)
    assert len(set(drawn)) == 50
    assert min(drawn) < 2**63 < max(drawn)


def test_seeded_decisions_are_about_equally_likely() -> None:
    for seed in range(3):
        choices = SeededChoices(seed)
        counts = [0] * 7
        for _ in range(7_000):
            counts[choices.integer("x", 0, 6)] += 1
        assert min(counts) > 850
        assert max(counts) < 1_150
    firsts = [SeededChoices(seed).integer("x", 0, 6) for seed in range(7_000)]
    assert all(850 < firsts.count(value) < 1_150 for value in range(7)), "neighbouring seeds have nothing in common"
