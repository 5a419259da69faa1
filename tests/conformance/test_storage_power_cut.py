"""A power cut takes whole commits, newest first, from either backend."""

from __future__ import annotations

import itertools

import apsw
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from understudy_runtime.storage.memory import MemoryMedium, MemoryStorage
from understudy_runtime.storage.port import Storage, StorageError
from understudy_runtime.storage.sqlite import SqliteStorage

from tests.conformance.power_cut_files import Files, Lost

ROWS_PER_COMMIT = 6


def open_sqlite(files: Files) -> SqliteStorage:
    return SqliteStorage("tables.db", lambda path: apsw.Connection(path, vfs=files.name))


def rows_of(lsn: int) -> dict[bytes, bytes | None]:
    """A commit whose rows all say which one it was: a mixture of two is seen at once."""
    rows: dict[bytes, bytes | None] = {b"k%d" % n: b"%d" % lsn * 40 for n in range(ROWS_PER_COMMIT)}
    rows[b"only %d" % lsn] = b"x" * 200
    rows[b"only %d" % (lsn - 1)] = None
    return rows


def expected(lsn: int) -> dict[bytes, bytes]:
    return {key: value for key, value in rows_of(lsn).items() if value is not None} if lsn else {}


def survived(storage: Storage) -> int:
    """The LSN the store is at, having checked that it is exactly as that commit left it."""
    lsn = storage.applied_lsn()
    assert dict(storage.scan(b"")) == expected(lsn)
    return lsn


def test_the_disk_remembers_what_was_synced() -> None:
    files = Files()
    storage = open_sqlite(files)
    storage.commit(rows_of(1), 1)
    storage.close()
    again = open_sqlite(files.after_cut(lambda length: 0))
    assert survived(again) == 1
    again.close()


# A dead connection rolls back and closes, and meets the lost disk once more: nobody is left to be told.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@given(
    commits=st.integers(0, 12),
    writes_left=st.none() | st.integers(0, 40),
    checkpoint_pages=st.sampled_from([1, 4, 1_000]),
    kept=st.lists(st.integers(0, 3), min_size=1, max_size=12),
)
@settings(max_examples=150, deadline=None)
def test_sqlite_keeps_a_prefix_of_the_commits(
    commits: int, writes_left: int | None, checkpoint_pages: int, kept: list[int]
) -> None:
    files = Files()
    storage = open_sqlite(files)
    storage._connection.execute(f"PRAGMA wal_autocheckpoint = {checkpoint_pages}").fetchall()
    acknowledged = 0
    files.writes_left = writes_left
    try:
        for lsn in range(1, commits + 1):
            storage.commit(rows_of(lsn), lsn)
            acknowledged = lsn
    except (Lost, StorageError, apsw.Error):
        assert writes_left is not None
    shares = itertools.cycle(kept)
    left = files.after_cut(lambda length: length * next(shares) // 3)
    files.writes_left = None
    storage.close()
    again = open_sqlite(left)
    found = survived(again)
    event(f"lost {acknowledged - found} of {acknowledged}, {left.writes} writes")
    assert found <= acknowledged + 1
    again.commit(rows_of(found + 1), found + 1)
    assert survived(again) == found + 1
    again.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@given(writes_left=st.integers(0, 60), kept=st.lists(st.integers(0, 3), min_size=1, max_size=12))
@settings(max_examples=100, deadline=None)
def test_sqlite_is_replaced_whole_or_not_at_all(writes_left: int, kept: list[int]) -> None:
    files = Files()
    storage = open_sqlite(files)
    storage.commit(rows_of(1), 1)
    storage.commit(rows_of(2), 2)
    view = storage.view()
    files.writes_left = writes_left
    is_replaced = False
    try:
        storage.commit(rows_of(3), 3)
        assert dict(view.take(1_000, 1_000_000)) == expected(2)
        view.close()
        storage.replace(sorted(expected(1).items()), 1)
        is_replaced = True
        storage.commit({}, 1)
    except (Lost, StorageError, apsw.Error):
        pass
    shares = itertools.cycle(kept)
    left = files.after_cut(lambda length: length * next(shares) // 3)
    files.writes_left = None
    view.close()
    storage.close()
    again = open_sqlite(left)
    event(f"replaced {is_replaced}, found {again.applied_lsn()}")
    survived(again)
    again.close()


@given(commits=st.integers(0, 12), lost=st.integers(0, 12))
def test_memory_keeps_a_prefix_of_the_commits(commits: int, lost: int) -> None:
    medium = MemoryMedium()
    storage = MemoryStorage(medium)
    for lsn in range(1, commits + 1):
        storage.commit(rows_of(lsn), lsn)
    medium.power_cut(min(lost, commits))
    assert survived(MemoryStorage(medium)) == commits - min(lost, commits)
