"""Storage in one SQLite file: an ordered key-value table, a transaction per commit.

WAL with synchronous NORMAL: a power cut may take the newest commits, never a part of one and never an older one before
a newer.  That is all the port promises, since the log is the truth.  The file says what it is (application id) and in
which format (user version); a foreign file and a newer format are refused by name.
While it is open the file is locked: there is one owner.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Protocol

from understudy_runtime.storage.port import StorageError

FORMAT: Final = 1
APPLICATION_ID: Final = 0x554E4453  # "UNDS"

# The meta table has one row, always.
_CREATE: Final = (
    "CREATE TABLE rows (key BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE meta (only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1), applied_lsn INTEGER NOT NULL)",
    "INSERT INTO meta VALUES (1, 0)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {FORMAT}",
)
_SCAN: Final = "SELECT key, value FROM rows WHERE key >= ?"
_PUT: Final = "INSERT INTO rows VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"


class Connection(Protocol):
    """What the store uses of a connection that leaves transactions to its caller."""

    @property
    def in_transaction(self) -> bool: ...

    def execute(self, statement: str, values: tuple[Any, ...] = ..., /) -> Any: ...

    def executemany(self, statement: str, rows: Iterable[tuple[Any, ...]], /) -> Any: ...

    def close(self) -> None: ...


def connect_to_file(path: str) -> Connection:
    """A connection to the file *path*.  Raises sqlite3.Error."""
    return sqlite3.connect(path, isolation_level=None, timeout=0)


class SqliteStorage:
    """The store in the file *path*, made when it does not exist.

    Raises StorageError when the file is no store of ours, has a newer format, is open elsewhere, or cannot be read.
    """

    def __init__(self, path: str, connect: Callable[[str], Connection] = connect_to_file) -> None:
        self._path = path
        try:
            self._connection = connect(path)
        except sqlite3.Error as error:
            raise StorageError(f"{path} cannot be opened as a store: {error}") from error
        try:
            self._open()
        except sqlite3.OperationalError as error:
            self._connection.close()
            raise StorageError(f"{path} cannot be opened as a store: {error}") from error
        except sqlite3.Error as error:
            self._connection.close()
            raise StorageError(f"{path} is no store: {error}; move it away to have it rebuilt from the log") from error
        except StorageError:
            self._connection.close()
            raise

    def _open(self) -> None:
        # Before anything is read: there is one owner, and none of SQLite's shared memory is needed.
        self._connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
        is_new = self._number("SELECT count(*) FROM sqlite_master") == 0
        application_id = self._number("PRAGMA application_id")
        if not is_new and application_id != APPLICATION_ID:
            raise StorageError(
                f"{self._path} belongs to another program (application id 0x{application_id:08X}, "
                f"expected 0x{APPLICATION_ID:08X}): point the data folder elsewhere"
            )
        found = self._number("PRAGMA user_version")
        if found > FORMAT:
            raise StorageError(
                f"{self._path} has storage format {found}, this build reads up to {FORMAT}: "
                "start it with the newer build that wrote it"
            )
        self._connection.execute("PRAGMA journal_mode = WAL").fetchall()
        self._connection.execute("PRAGMA synchronous = NORMAL").fetchall()
        if is_new:
            self._transact(_CREATE)
        self._applied_lsn = self._number("SELECT applied_lsn FROM meta")

    def _number(self, statement: str) -> int:
        ((value,),) = self._connection.execute(statement).fetchall()
        assert isinstance(value, int), "these statements answer one number"
        return value

    def _transact(self, statements: tuple[str, ...]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        for statement in statements:
            self._connection.execute(statement)
        self._connection.execute("COMMIT")

    def get(self, key: bytes) -> bytes | None:
        """The value at *key*.  Raises StorageError when the file cannot be read."""
        try:
            row = self._connection.execute("SELECT value FROM rows WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            raise self._broken("read", error) from error
        if row is None:
            return None
        value = row[0]
        assert isinstance(value, bytes), "values are blobs"
        return value

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All rows whose key starts with *prefix*, in key order.  Raises StorageError."""
        end = end_of_prefix(prefix)
        try:
            if end is None:
                yield from self._connection.execute(
                    "SELECT key, value FROM rows WHERE key >= ? ORDER BY key", (prefix,)
                )
            else:
                yield from self._connection.execute(
                    "SELECT key, value FROM rows WHERE key >= ? AND key < ? ORDER BY key", (prefix, end)
                )
        except sqlite3.Error as error:
            raise self._broken("read", error) from error

    def commit(self, rows: Mapping[bytes, bytes | None], applied_lsn: int) -> None:
        """Write *rows* and *applied_lsn* in one transaction.  Raises StorageError; nothing is written then."""
        assert applied_lsn >= self._applied_lsn, "the applied LSN never goes back"
        puts = [(key, value) for key, value in rows.items() if value is not None]
        deletes = [(key,) for key, value in rows.items() if value is None]
        execute = self._connection.execute
        try:
            execute("BEGIN IMMEDIATE")
            self._connection.executemany("DELETE FROM rows WHERE key = ?", deletes)
            self._connection.executemany(_PUT, puts)
            execute("UPDATE meta SET applied_lsn = ?", (applied_lsn,))
            execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise self._broken("written", error) from error
        self._applied_lsn = applied_lsn

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _broken(self, what: str, error: sqlite3.Error) -> StorageError:
        return StorageError(f"{self._path} cannot be {what}: {error}")

    def applied_lsn(self) -> int:
        return self._applied_lsn

    def close(self) -> None:
        self._connection.close()


def end_of_prefix(prefix: bytes) -> bytes | None:
    """The first key after all that start with *prefix*; None when there is no such key.

    >>> end_of_prefix(b"a\\xff")
    b'b'
    """
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        return None
    return stripped[:-1] + bytes((stripped[-1] + 1,))
