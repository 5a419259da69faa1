"""The checker against brute force, and each anomaly by hand."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_sim.stage.serializability import BadHistory, Transaction, find_circle

KEYS = ("a", "b")


def fits(transactions: Sequence[Transaction], orders: Mapping[str, Sequence[object]], *, strict: bool) -> bool:
    """Whether some order explains all reads, and writes each key's versions in its order: every order is tried."""
    for order in itertools.permutations(transactions):
        places = {one.name: at for at, one in enumerate(order)}
        if strict and any(
            one.ended is not None and one.ended < other.began and places[one.name] > places[other.name]
            for one in transactions
            for other in transactions
        ):
            continue
        now: dict[str, object] = {}
        written: dict[str, list[object]] = {key: [] for key in KEYS}
        for one in order:
            if any(now.get(key) != version for key, version in one.reads.items()):
                break
            for key, version in one.writes.items():
                now[key] = version
                written[key].append(version)
        else:
            if all(list(orders[key]) == written[key] for key in KEYS):
                return True
    return False


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Transaction], dict[str, list[object]]]:
    """Up to five transactions on two keys; versions are in the order of a drawn execution, reads are of any version."""
    count = draw(st.integers(1, 5))
    orders: dict[str, list[object]] = {key: [] for key in KEYS}
    writes: list[dict[str, object]] = []
    for number in range(count):
        keys = draw(st.sets(st.sampled_from(KEYS)))
        writes.append({key: f"{key}{number}" for key in sorted(keys)})
    for key in KEYS:
        orders[key] = list(draw(st.permutations([one[key] for one in writes if key in one])))
    transactions = []
    for number in range(count):
        reads = {}
        for key in sorted(draw(st.sets(st.sampled_from(KEYS)))):
            own = writes[number].get(key)
            reads[key] = draw(st.sampled_from([None, *(one for one in orders[key] if one != own)]))
        began = draw(st.integers(0, 8))
        ended = began + draw(st.integers(0, 3))
        transactions.append(
            Transaction(
                name=f"t{number}",
                reads=reads,
                writes=writes[number],
                began=began,
                ended=ended,
            )
        )
    return transactions, orders


@given(histories(), st.booleans())
def test_it_agrees_with_trying_every_order(history, strict):
    transactions, orders = history
    circle = find_circle(transactions, orders, strict=strict)
    assert bool(circle) != fits(transactions, orders, strict=strict)
    for edge, following in zip(circle, (*circle[1:], *circle[:1]), strict=True):
        assert edge.after == following.before, "a circle closes"


@given(histories())
def test_without_orders_it_never_cries_wolf(history):
    transactions, orders = history
    if find_circle(transactions):
        assert not any(
            fits(transactions, dict(zip(KEYS, chosen, strict=True)), strict=False)
            for chosen in itertools.product(*(itertools.permutations(orders[key]) for key in KEYS))
        )


def test_a_lost_update_is_told_in_words():
    one = Transaction(name="ann", reads={"x": None}, writes={"x": 1})
    two = Transaction(name="bob", reads={"x": None}, writes={"x": 2})
    assert [str(edge) for edge in find_circle([one, two])] == [
        "ann did not see the version of x that bob wrote next",
        "bob did not see the version of x that ann wrote next",
    ]


def test_write_skew():
    one = Transaction(name="ann", reads={"x": None, "y": None}, writes={"x": 1})
    two = Transaction(name="bob", reads={"x": None, "y": None}, writes={"y": 1})
    assert {edge.kind for edge in find_circle([one, two], {"x": [1], "y": [1]})} == {"missed"}


def test_a_stale_read_breaks_the_strict_kind_alone():
    write = Transaction(name="ann", writes={"x": 1}, began=0, ended=1)
    read = Transaction(name="bob", reads={"x": None}, began=2, ended=3)
    assert not find_circle([write, read], {"x": [1]})
    assert {edge.kind for edge in find_circle([write, read], {"x": [1]}, strict=True)} == {"missed", "time"}


def test_what_may_have_happened_did_when_somebody_saw_it():
    maybe = Transaction(name="ann", reads={"y": None}, writes={"x": 1, "y": 1}, committed=False)
    other = Transaction(name="bob", reads={"x": 1, "y": None}, writes={"y": 2})
    assert not find_circle([maybe, Transaction(name="bob", reads={"y": None}, writes={"y": 2})])
    assert find_circle([maybe, other])


def test_impossible_histories_are_refused():
    with pytest.raises(BadHistory, match="nobody wrote"):
        find_circle([Transaction(name="ann", reads={"x": 7})])
    with pytest.raises(BadHistory, match="both wrote"):
        find_circle([Transaction(name="ann", writes={"x": 1}), Transaction(name="bob", writes={"x": 1})])
    with pytest.raises(BadHistory, match="one name"):
        find_circle([Transaction(name="ann"), Transaction(name="ann")])
