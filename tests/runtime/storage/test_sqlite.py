"""The SQLite store's own promises: what it refuses to open, and that a failed commit writes nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from understudy_runtime.storage.port import StorageDamaged, StorageError
from understudy_runtime.storage.sqlite import _CREATE, FORMAT, SqliteStorage


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


def test_a_store_in_key_order_serves_as_one_in_the_order_of_writing_does(tmp_path: Path) -> None:
    """Older builds of this format made it WITHOUT ROWID."""
    path = str(tmp_path / "tables.db")
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in _CREATE:
        connection.execute(statement.replace("value BLOB NOT NULL)", "value BLOB NOT NULL) WITHOUT ROWID"))
    connection.close()
    old, new = SqliteStorage(path), SqliteStorage(str(tmp_path / "new.db"))
    kinds = "SELECT sql FROM sqlite_master WHERE name = 'rows'"
    assert b"WITHOUT ROWID" in old._connection.execute(kinds).fetchone()[0]
    assert b"WITHOUT ROWID" not in new._connection.execute(kinds).fetchone()[0]
    for storage in (old, new):
        storage.commit({b"b%d" % number: b"first" for number in (3, 1, 2)}, 1)
        view = storage.view()
        storage.commit({b"b2": None, b"b1": b"second", b"a": b"new"}, 2)
        assert list(storage.scan(b"b")) == [(b"b1", b"second"), (b"b3", b"first")]
        assert (storage.get(b"a"), storage.get(b"b2")) == (b"new", None)
        assert view.take(9, 1_000) == [(b"b%d" % number, b"first") for number in (1, 2, 3)]
        view.close()
        storage.replace([(b"c", b"1"), (b"d", b"2")], 3)
        assert (list(storage.scan(b"")), storage.applied_lsn()) == ([(b"c", b"1"), (b"d", b"2")], 3)
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


def changed(path: Path, before: bytes, after: bytes) -> None:
    """Let the medium change *before*, wherever it lies in the file, into *after*."""
    data = path.read_bytes()
    assert data.count(before) == 1
    path.write_bytes(data.replace(before, after))


def test_a_changed_value_is_damage_and_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "tables.db"
    storage = SqliteStorage(str(path))
    storage.commit({b"a": b"the truth", b"b": b"2"}, 1)
    storage.close()
    changed(path, b"the truth", b"the trust")
    again = SqliteStorage(str(path))
    assert again.get(b"b") == b"2"
    for read in (lambda: again.get(b"a"), lambda: list(again.scan(b"")), lambda: again.view().take(9, 999)):
        with pytest.raises(StorageDamaged, match=r"tables\.db: the row at key 61 does not match its checksum"):
            read()
    again.replace([(b"a", b"rebuilt")], 1)
    assert again.get(b"a") == b"rebuilt"
    again.close()


@pytest.mark.parametrize("become", ["CAST(value AS TEXT)", "7", "0.5"])
def test_a_value_that_became_another_type_is_damage_or_what_it_was(tmp_path: Path, become: str) -> None:
    """One bit of a record's head makes a text of a blob."""
    path = tmp_path / "tables.db"
    storage = SqliteStorage(str(path))
    storage.commit({b"a": b"\xfe\xff1", b"b": b"2"}, 1)
    storage.close()
    connection = sqlite3.connect(path)
    connection.execute(f"UPDATE rows SET value = {become} WHERE key = x'61'")
    connection.commit()
    connection.close()
    again = SqliteStorage(str(path))
    assert not again.is_damaged
    for read in (lambda: again.get(b"a"), lambda: dict(again.scan(b""))[b"a"], lambda: again.view().take(9, 999)[0][1]):
        try:
            assert read() == b"\xfe\xff1"
        except StorageDamaged:
            assert again.is_damaged
    assert again.is_damaged == (become != "CAST(value AS TEXT)")
    again.close()


def test_a_changed_key_is_found_by_whoever_walks_over_it(tmp_path: Path) -> None:
    """What asks for it by its key finds nothing: a snapshot walks over all rows, and tells."""
    path = tmp_path / "tables.db"
    storage = SqliteStorage(str(path))
    storage.commit({b"a": b"1", b"the key 1": b"2"}, 1)
    storage.close()
    path.write_bytes(path.read_bytes().replace(b"the key 1", b"the key 2"))
    again = SqliteStorage(str(path))
    assert again.get(b"the key 1") is None
    for read in (lambda: again.get(b"the key 2"), lambda: list(again.scan(b"")), lambda: again.view().take(9, 999)):
        with pytest.raises(StorageDamaged):
            read()
    assert again.is_damaged
    again.close()


def test_a_damaged_file_is_told_from_a_locked_one(tmp_path: Path) -> None:
    path = tmp_path / "tables.db"
    SqliteStorage(str(path)).close()
    data = bytearray(path.read_bytes())
    data[0:16] = bytes(16)
    path.write_bytes(data)
    with pytest.raises(StorageDamaged, match=r"tables\.db is no store"):
        SqliteStorage(str(path))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StorageDamaged):
        SqliteStorage(str(path))


def test_format_1_is_upgraded(tmp_path: Path) -> None:
    """Format 1 had no checksums."""
    path = tmp_path / "tables.db"
    rows = {b"%05d" % n: b"value %d" % n for n in range(2_500)} | {b"": b"empty key"}
    connection = sqlite3.connect(path)
    for statement in _CREATE[:-1]:
        connection.execute(statement)
    connection.execute("PRAGMA user_version = 1")
    connection.executemany("INSERT INTO rows VALUES (?, ?)", rows.items())
    connection.execute("UPDATE meta SET applied_lsn = 77")
    connection.commit()
    connection.close()
    for _ in range(2):
        storage = SqliteStorage(str(path))
        assert (dict(storage.scan(b"")), storage.applied_lsn()) == (rows, 77)
        storage.close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchall() == [(FORMAT,)]
    connection.close()


def test_the_files_do_not_grow_with_rows_that_come_and_go(tmp_path: Path) -> None:
    path = tmp_path / "tables.db"
    storage = SqliteStorage(str(path))
    sizes = []
    for number in range(60):
        rows: dict[bytes, bytes | None] = {b"%d %d" % (number, n): bytes(300) for n in range(500)}
        rows.update({b"%d %d" % (number - 4, n): None for n in range(500)})
        storage.commit(rows, number)
        sizes.append(path.stat().st_size + (tmp_path / "tables.db-wal").stat().st_size)
    assert max(sizes[40:]) <= max(sizes[:40]), "a checkpoint lets both files be used again"
    storage.close()
