"""The SQLite store's own promises: what it refuses to open, and that a failed commit writes nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from understudy_runtime.storage.port import StorageError
from understudy_runtime.storage.sqlite import FORMAT, SqliteStorage


def test_a_foreign_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE shopping (item TEXT)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match=r"other\.db belongs to another program"):
        SqliteStorage(str(path))
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"dear diary" * 1_000)
    with pytest.raises(StorageError, match=r"notes\.txt is no store"):
        SqliteStorage(str(path))


def test_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "tables.db"
    SqliteStorage(str(path)).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
    connection.close()
    with pytest.raises(StorageError, match=f"format {FORMAT + 1}, this build reads up to {FORMAT}"):
        SqliteStorage(str(path))


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"nowhere.tables\.db"):
        SqliteStorage(str(tmp_path / "nowhere" / "tables.db"))


def test_a_commit_that_fails_writes_nothing(tmp_path: Path) -> None:
    storage = SqliteStorage(str(tmp_path / "tables.db"))
    storage.commit({b"a": b"1"}, 1)
    execute = storage._connection.execute
    execute("CREATE TRIGGER refuse BEFORE UPDATE ON meta BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(StorageError, match="cannot be written: no"):
        storage.commit({b"a": b"2", b"b": b"2"}, 2)
    assert (storage.get(b"a"), storage.get(b"b"), storage.applied_lsn()) == (b"1", None, 1)
    execute("DROP TRIGGER refuse")
    storage.commit({b"a": b"3"}, 3)
    assert storage.get(b"a") == b"3"
    storage.close()


def test_a_store_has_one_owner(tmp_path: Path) -> None:
    path = str(tmp_path / "tables.db")
    owner = SqliteStorage(path)
    with pytest.raises(StorageError, match=r"tables\.db cannot be opened as a store: .*locked"):
        SqliteStorage(path)
    owner.commit({b"a": b"1"}, 1)
    owner.close()
    second = SqliteStorage(path)
    assert second.get(b"a") == b"1"
    second.close()
