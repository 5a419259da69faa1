"""The memory store's own promises: ownership, and what a power cut takes."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_runtime.storage.memory import MemoryMedium, MemoryStorage


def test_a_power_cut_takes_whole_commits_newest_first() -> None:
    medium = MemoryMedium()
    storage = MemoryStorage(medium)
    storage.commit({b"a": b"1", b"b": b"1"}, 1)
    storage.commit({b"a": b"2", b"b": None}, 2)
    storage.commit({b"c": b"3"}, 3)
    medium.power_cut(2)
    again = MemoryStorage(medium)
    assert (dict(again.scan(b"")), again.applied_lsn()) == ({b"a": b"1", b"b": b"1"}, 1)


def test_a_dead_process_cannot_write() -> None:
    medium = MemoryMedium()
    dead = MemoryStorage(medium)
    medium.power_cut(0)
    with pytest.raises(AssertionError, match="lost"):
        dead.commit({b"a": b"1"}, 1)
    with pytest.raises(AssertionError, match="lost"):
        dead.get(b"a")


def test_opening_takes_the_store_from_its_owner() -> None:
    medium = MemoryMedium()
    first = MemoryStorage(medium)
    MemoryStorage(medium)
    with pytest.raises(AssertionError, match="opened by another"):
        first.commit({}, 1)


def test_what_survived_a_cut_stays() -> None:
    medium = MemoryMedium(commits_kept_max=2)
    storage = MemoryStorage(medium)
    for lsn in range(1, 5):
        storage.commit({b"k": bytes((lsn,))}, lsn)
    assert medium.commits_kept == 2
    with pytest.raises(AssertionError, match="2 commits can be lost"):
        medium.power_cut(3)
    medium.power_cut(1)
    assert medium.applied_lsn == 3
    assert medium.commits_kept == 0


@given(
    st.lists(st.dictionaries(st.binary(max_size=2), st.none() | st.binary(max_size=3), max_size=5), max_size=8),
    st.integers(0, 8),
)
def test_a_cut_leaves_a_prefix_of_the_commits(commits: list[Mapping[bytes, bytes | None]], lost: int) -> None:
    medium = MemoryMedium()
    storage = MemoryStorage(medium)
    states: list[dict[bytes, bytes]] = [{}]
    for lsn, rows in enumerate(commits, start=1):
        storage.commit(rows, lsn)
        states.append(dict(storage.scan(b"")))
    lost = min(lost, len(commits))
    medium.power_cut(lost)
    again = MemoryStorage(medium)
    assert dict(again.scan(b"")) == states[len(commits) - lost]
    assert again.applied_lsn() == len(commits) - lost
