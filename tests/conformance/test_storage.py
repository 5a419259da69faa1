"""What every storage backend must do, one body for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from understudy_runtime.storage.memory import MemoryMedium, MemoryStorage
from understudy_runtime.storage.port import Storage
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
