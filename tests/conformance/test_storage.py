"""What every storage backend must do, one body for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from understudy_runtime.storage.memory import MemoryMedium, MemoryStorage
from understudy_runtime.storage.port import Storage, View
from understudy_runtime.storage.sqlite import SqliteStorage


class Medium(Protocol):
    """Something a store can be opened on again and again."""

    def open(self) -> Storage: ...


class InMemory:
    def __init__(self, _: Path) -> None:
        self.medium = MemoryMedium()

    def open(self) -> Storage:
        return MemoryStorage(self.medium)


class InSqlite:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "tables.db"

    def open(self) -> Storage:
        return SqliteStorage(str(self.path))


BACKENDS = {"memory": InMemory, "sqlite": InSqlite}


@pytest.fixture(params=list(BACKENDS))
def medium(request: pytest.FixtureRequest, tmp_path: Path) -> Medium:
    made: Medium = BACKENDS[request.param](tmp_path)
    return made


@pytest.fixture
def storage(medium: Medium) -> Iterator[Storage]:
    opened = medium.open()
    yield opened
    opened.close()


def contents(storage: Storage) -> dict[bytes, bytes]:
    return dict(storage.scan(b""))


def test_a_new_store_is_empty(storage: Storage) -> None:
    assert storage.applied_lsn() == 0
    assert storage.get(b"k") is None
    assert contents(storage) == {}


def test_a_commit_writes_replaces_and_deletes(storage: Storage) -> None:
    storage.commit({b"a": b"1", b"b": b"2", b"c": b""}, 3)
    storage.commit({b"a": b"9", b"b": None, b"never": None}, 4)
    assert contents(storage) == {b"a": b"9", b"c": b""}
    assert (storage.get(b"a"), storage.get(b"b"), storage.get(b"c")) == (b"9", None, b"")
    assert storage.applied_lsn() == 4


def test_an_empty_commit_moves_the_lsn(storage: Storage) -> None:
    storage.commit({}, 7)
    assert storage.applied_lsn() == 7


def test_the_lsn_never_goes_back(storage: Storage) -> None:
    storage.commit({b"a": b"1"}, 5)
    storage.commit({b"a": b"2"}, 5)
    with pytest.raises(AssertionError, match="never goes back"):
        storage.commit({b"a": b"3"}, 4)
    assert storage.get(b"a") == b"2"


def test_a_scan_is_ordered_bytewise(storage: Storage) -> None:
    keys = [b"", b"\x00", b"a", b"a\x00", b"a\xff", b"a\xff\xff", b"b", b"\xff", b"\xff\xff", b"\xff\xff\x01"]
    storage.commit({key: key for key in reversed(keys)}, 1)
    assert [key for key, _ in storage.scan(b"")] == sorted(keys)
    assert [key for key, _ in storage.scan(b"a")] == [b"a", b"a\x00", b"a\xff", b"a\xff\xff"]
    assert [key for key, _ in storage.scan(b"a\xff")] == [b"a\xff", b"a\xff\xff"]
    assert [key for key, _ in storage.scan(b"\xff\xff")] == [b"\xff\xff", b"\xff\xff\x01"]
    assert list(storage.scan(b"zz")) == []


def test_what_was_committed_is_there_after_reopening(medium: Medium) -> None:
    first = medium.open()
    first.commit({b"a": b"1"}, 2)
    first.close()
    second = medium.open()
    assert (contents(second), second.applied_lsn()) == ({b"a": b"1"}, 2)
    second.close()


def rest(view: View, rows_max: int = 2, bytes_max: int = 1_000) -> list[tuple[bytes, bytes]]:
    """All that *view* has left, slice by slice."""
    found: list[tuple[bytes, bytes]] = []
    while taken := view.take(rows_max, bytes_max):
        found += taken
    return found


def test_a_view_is_what_the_store_was(storage: Storage) -> None:
    storage.commit({b"": b"0", b"a": b"1", b"b": b"2", b"c": b"3", b"d": b"4"}, 3)
    view = storage.view()
    assert view.take(2, 1_000) == [(b"", b"0"), (b"a", b"1")]
    storage.commit({b"a": b"x", b"aa": b"new", b"b": None, b"d": b"y", b"e": b"new"}, 4)
    storage.commit({b"b": b"z", b"d": None}, 5)
    assert view.applied_lsn == 3
    assert rest(view) == [(b"b", b"2"), (b"c", b"3"), (b"d", b"4")]
    assert contents(storage) == {b"": b"0", b"a": b"x", b"aa": b"new", b"b": b"z", b"c": b"3", b"e": b"new"}
    assert view.take(1, 1) == []


def test_a_view_of_an_empty_store_is_empty(storage: Storage) -> None:
    view = storage.view()
    storage.commit({b"a": b"1"}, 1)
    assert rest(view) == []


def test_a_slice_is_bounded_by_rows_and_by_bytes(storage: Storage) -> None:
    storage.commit({b"%02d" % n: bytes(100) for n in range(20)}, 1)
    view = storage.view()
    assert [len(view.take(5, 10_000)), len(view.take(50, 300)), len(view.take(50, 10_000))] == [5, 3, 12]


def test_one_view_after_another(storage: Storage) -> None:
    storage.commit({b"a": b"1"}, 1)
    first = storage.view()
    with pytest.raises(AssertionError, match="one view at a time"):
        storage.view()
    first.close()
    first.close()
    assert first.take(1, 1) == []
    storage.commit({b"a": b"2"}, 2)
    assert rest(storage.view()) == [(b"a", b"2")]


def test_replacing_leaves_nothing_else(medium: Medium) -> None:
    storage = medium.open()
    storage.commit({b"a": b"1", b"b": b"2"}, 9)
    storage.replace([(b"b", b"3"), (b"c", b"4")], 5)
    assert (contents(storage), storage.applied_lsn()) == ({b"b": b"3", b"c": b"4"}, 5)
    storage.close()
    again = medium.open()
    assert (contents(again), again.applied_lsn()) == ({b"b": b"3", b"c": b"4"}, 5)
    again.commit({b"c": None}, 6)
    again.replace([], 0)
    assert (contents(again), again.applied_lsn()) == ({}, 0)
    again.close()


def test_rows_that_break_off_replace_nothing(storage: Storage) -> None:
    def broken() -> Iterator[tuple[bytes, bytes]]:
        yield b"x", b"1"
        raise ValueError("the source is damaged")

    storage.commit({b"a": b"1"}, 2)
    with pytest.raises(ValueError, match="damaged"):
        storage.replace(broken(), 1)
    assert (contents(storage), storage.applied_lsn()) == ({b"a": b"1"}, 2)
    storage.commit({b"b": b"1"}, 3)


KEYS = st.binary(max_size=4)
COMMITS = st.lists(st.dictionaries(KEYS, st.none() | st.binary(max_size=8), max_size=6), max_size=8)


@given(COMMITS, KEYS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@pytest.mark.parametrize("backend", list(BACKENDS))
def test_it_is_a_sorted_dict(
    backend: str,
    tmp_path_factory: pytest.TempPathFactory,
    commits: list[Mapping[bytes, bytes | None]],
    prefix: bytes,
) -> None:
    medium = BACKENDS[backend](tmp_path_factory.mktemp("store"))
    storage = medium.open()
    expected: dict[bytes, bytes] = {}
    for lsn, rows in enumerate(commits, start=1):
        storage.commit(rows, lsn)
        for key, value in rows.items():
            if value is None:
                expected.pop(key, None)
            else:
                expected[key] = value
    assert list(storage.scan(b"")) == sorted(expected.items())
    assert list(storage.scan(prefix)) == [pair for pair in sorted(expected.items()) if pair[0].startswith(prefix)]
    assert storage.applied_lsn() == len(commits)
    storage.close()


@given(COMMITS, COMMITS, st.integers(1, 4), st.integers(1, 40), st.lists(st.booleans(), min_size=1, max_size=12))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@pytest.mark.parametrize("backend", list(BACKENDS))
def test_a_view_does_not_see_later_commits(
    backend: str,
    tmp_path_factory: pytest.TempPathFactory,
    before: list[Mapping[bytes, bytes | None]],
    during: list[Mapping[bytes, bytes | None]],
    rows_max: int,
    bytes_max: int,
    order: list[bool],
) -> None:
    storage = BACKENDS[backend](tmp_path_factory.mktemp("store")).open()
    for rows in before:
        storage.commit(rows, 1)
    expected = list(storage.scan(b""))
    view = storage.view()
    found: list[tuple[bytes, bytes]] = []
    later = list(during)
    for commits_first in order:
        if commits_first and later:
            storage.commit(later.pop(0), 2)
        found += view.take(rows_max, bytes_max)
    for rows in later:
        storage.commit(rows, 3)
    found += rest(view, rows_max, bytes_max)
    assert found == expected
    storage.close()
