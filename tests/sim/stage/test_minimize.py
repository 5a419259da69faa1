"""What a shrinker's searches promise: for a monotone predicate nothing that is left could be left out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from understudy_sim.stage.minimize import drop_each, drop_singly, first_that_fails, rounder, smaller

ITEMS = st.lists(st.integers(0, 30), unique=True, max_size=12)
# A monotone predicate: it fails while any one of these sets is there.
REASONS = st.lists(st.sets(st.integers(0, 30), max_size=4), min_size=1, max_size=4)


@given(items=ITEMS, needed=st.sets(st.integers(0, 30), max_size=4))
def test_dropping_keeps_exactly_what_is_needed(items: list[int], needed: set[int]) -> None:
    wanted = needed & set(items)
    kept = drop_each(items, lambda rest: wanted <= set(rest))
    assert set(kept) == wanted
    assert [one for one in items if one in wanted] == list(kept)


@given(items=ITEMS, reasons=REASONS)
def test_what_is_left_is_minimal_whatever_the_reasons(items: list[int], reasons: list[set[int]]) -> None:
    def fails(rest: tuple[int, ...]) -> bool:
        return any(reason & set(items) <= set(rest) for reason in reasons)

    for kept in (drop_each(items, fails), drop_singly(items, fails)):
        assert fails(kept)
        assert not any(fails((*kept[:index], *kept[index + 1 :])) for index in range(len(kept)))


@given(items=ITEMS, odd=st.integers(1, 5))
def test_what_is_left_fails_also_where_the_predicate_is_not_monotone(items: list[int], odd: int) -> None:
    def fails(rest: tuple[int, ...]) -> bool:
        return sum(rest) % odd == sum(items) % odd

    assert fails(drop_each(items, fails))
    kept = drop_singly(items, fails)
    assert fails(kept)
    assert not any(fails((*kept[:index], *kept[index + 1 :])) for index in range(len(kept)))


def test_everything_is_tried_at_once_before_anything_else() -> None:
    tried: list[tuple[int, ...]] = []

    def fails(rest: tuple[int, ...]) -> bool:
        tried.append(rest)
        return True

    assert drop_each(tuple(range(100)), fails) == ()
    assert tried == [()]


@given(low=st.integers(-5, 5), above=st.integers(0, 2**64))
def test_smaller_values_come_simplest_first(low: int, above: int) -> None:
    found = smaller(low + above, low)
    assert list(found) == sorted(found)
    assert all(low <= one < low + above for one in found)
    assert len(found) <= 34
    assert bool(found) == bool(above)


@given(value_ns=st.integers(0, 10**13))
def test_rounder_times_are_near_and_rounder(value_ns: int) -> None:
    def zeros(ns: int) -> int:
        return sum(ns % unit == 0 for unit in (10**6, 10**7, 10**8, 10**9))

    for one in rounder(value_ns):
        assert abs(one - value_ns) <= 10**9
        assert zeros(one) > zeros(value_ns)
    assert bool(rounder(value_ns)) == (value_ns % 10**9 != 0)


def test_the_first_that_fails_is_taken() -> None:
    assert first_that_fails((1, 2, 3), lambda one: one >= 2) == 2
    assert first_that_fails((1, 2, 3), lambda _: False) is None
