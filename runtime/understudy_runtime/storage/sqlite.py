"""Storage in one SQLite file: an ordered key-value table, a transaction per commit.

WAL with synchronous NORMAL: a power cut may take the newest commits, never a part of one and never an older one before
a newer.  That is all the port promises, since the log is the truth.  The file says what it is (application id) and in
which format (user version); a foreign file and a newer format are refused by name, an older one is upgraded in one
transaction.  While it is open the file is locked: there is one owner.

Each value is followed by a checksum of its key and itself: what the medium changed is StorageDamaged, not an answer.
Pages that removed rows leave behind are used again, and the write-ahead log is cut back after a checkpoint: the files
are as large as what they once had to hold at the same time.

Rows lie in the order they were first written, and an index finds them by key: most keys begin with a random id, and
were the rows themselves in key order, each would be written to a page of its own.  Stores that an older build made have
them in key order; the same statements serve both.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any, Final, Protocol

from xxhash import xxh3_64_digest

from understudy_runtime.storage.port import StorageDamaged, StorageError
from understudy_runtime.storage.view import SlicedView

FORMAT: Final = 2
APPLICATION_ID: Final = 0x554E4453  # "UNDS"
CHECKSUM_BYTES: Final = 8
# The write-ahead log is checkpointed once it holds so many pages, and cut back to so many bytes after that.
WAL_PAGES: Final = 2_000
WAL_BYTES_KEPT: Final = 8 * 1024 * 1024
# The system's cache has the file as well: a larger one here is memory twice, for a tenth of a commit.
CACHE_KIB: Final = 2 * 1024
UPGRADE_ROWS: Final = 1_000
# What says that the file's content is not what we wrote; anything else is about reaching it.
DAMAGE: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT", "SQLITE_ERROR")

# The meta table has one row, always.
_CREATE: Final = (
    "CREATE TABLE rows (key BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL)",
    "CREATE TABLE meta (only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1), applied_lsn INTEGER NOT NULL)",
    "INSERT INTO meta VALUES (1, 0)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {FORMAT}",
)
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
    connection = sqlite3.connect(path, isolation_level=None, timeout=0)
    # What the medium made a text of is still bytes: their checksum says what they are worth.
    connection.text_factory = bytes
    return connection


def sealed(key: bytes, value: bytes) -> bytes:
    """*value* as it is stored at *key*."""
    return value + xxh3_64_digest(key + value)


class SqliteStorage:
    """The store in the file *path*, made when it does not exist.

    Raises StorageDamaged when the file cannot be read as the store it should be; StorageError when it is a store of
    another program, has a newer format, is open elsewhere, or cannot be reached.
    """

    def __init__(self, path: str, connect: Callable[[str], Connection] = connect_to_file) -> None:
        self.is_damaged = False
        self._path = path
        self._view: SlicedView | None = None
        try:
            self._connection = connect(path)
        except sqlite3.Error as error:
            raise StorageError(f"{path} cannot be opened as a store: {error}") from error
        try:
            self._open()
        except sqlite3.Error as error:
            self._connection.close()
            if is_damage(error):
                raise StorageDamaged(
                    f"{path} is no store: {error}; move it away to have it rebuilt from the log"
                ) from error
            raise StorageError(f"{path} cannot be opened as a store: {error}") from error
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
        self._set_up()
        if is_new:
            self._transact(_CREATE)
        elif found < FORMAT:
            self._upgrade()
        self._applied_lsn = self._number("SELECT applied_lsn FROM meta")

    def _set_up(self) -> None:
        for pragma in (
            "journal_mode = WAL",
            "synchronous = NORMAL",
            f"wal_autocheckpoint = {WAL_PAGES}",
            f"journal_size_limit = {WAL_BYTES_KEPT}",
            f"cache_size = -{CACHE_KIB}",
        ):
            self._connection.execute(f"PRAGMA {pragma}").fetchall()

    def _upgrade(self) -> None:
        """Format 1 had no checksums: add them, and say so, in one transaction."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        position, first = b"", ">="
        while rows := execute(
            f"SELECT key, value FROM rows WHERE key {first} ? ORDER BY key LIMIT {UPGRADE_ROWS}", (position,)
        ).fetchall():
            self._connection.executemany(_PUT, [(key, sealed(key, value)) for key, value in rows])
            position, first = rows[-1][0], ">"
        execute(f"PRAGMA user_version = {FORMAT}")
        execute("COMMIT")

    def _number(self, statement: str) -> int:
        rows = self._connection.execute(statement).fetchall()
        if len(rows) != 1 or not isinstance(rows[0][0], int):
            raise StorageDamaged(f"{self._path} is no store: {statement!r} answers {rows!r}")
        return rows[0][0]

    def _transact(self, statements: tuple[str, ...]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        for statement in statements:
            self._connection.execute(statement)
        self._connection.execute("COMMIT")

    def get(self, key: bytes) -> bytes | None:
        """The value at *key*.  Raises StorageError."""
        try:
            row = self._connection.execute("SELECT value FROM rows WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            raise self._broken("read", error) from error
        return None if row is None else self._opened(key, row[0])

    def _opened(self, key: bytes, stored: Any) -> bytes:
        """The value that *stored* holds.  Raises StorageDamaged."""
        value: bytes = stored[:-CHECKSUM_BYTES] if type(stored) is bytes else b""
        if type(stored) is not bytes or stored[-CHECKSUM_BYTES:] != xxh3_64_digest(key + value):
            self.is_damaged = True
            raise StorageDamaged(f"{self._path}: the row at key {key.hex()} does not match its checksum")
        return value

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All rows whose key starts with *prefix*, in key order.  Raises StorageError."""
        end = end_of_prefix(prefix)
        if end is None:
            return self._rows("SELECT key, value FROM rows WHERE key >= ? ORDER BY key", (prefix,))
        return self._rows("SELECT key, value FROM rows WHERE key >= ? AND key < ? ORDER BY key", (prefix, end))

    def _rows(self, statement: str, values: tuple[bytes, ...]) -> Generator[tuple[bytes, bytes], None, None]:
        opened = self._opened
        try:
            cursor = self._connection.execute(statement, values)
            try:
                for key, stored in cursor:
                    yield key, opened(key, stored)
            finally:
                cursor.close()
        except sqlite3.Error as error:
            raise self._broken("read", error) from error

    def _rows_after(self, after: bytes | None) -> Generator[tuple[bytes, bytes], None, None]:
        if after is None:
            return self._rows("SELECT key, value FROM rows ORDER BY key", ())
        return self._rows("SELECT key, value FROM rows WHERE key > ? ORDER BY key", (after,))

    def commit(self, rows: Mapping[bytes, bytes | None], applied_lsn: int) -> None:
        """Write *rows* and *applied_lsn* in one transaction.  Raises StorageError; nothing is written then."""
        assert applied_lsn >= self._applied_lsn, "the applied LSN never goes back"
        if self._view is not None and self._view.is_open:
            self._view.keep(rows, self.get)
        puts = [(key, value + xxh3_64_digest(key + value)) for key, value in rows.items() if value is not None]
        deletes = [(key,) for key, value in rows.items() if value is None]
        # In key order: rows that share a page are then written to it one after the other.
        puts.sort()
        deletes.sort()
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

    def replace(self, rows: Iterable[tuple[bytes, bytes]], applied_lsn: int) -> None:
        """Hold *rows* and nothing else, in one transaction.  Raises StorageError, and what *rows* raises."""
        assert self._view is None or not self._view.is_open, "nobody reads what is replaced"
        execute = self._connection.execute
        try:
            execute("BEGIN IMMEDIATE")
            execute("DELETE FROM rows")
            self._connection.executemany(
                "INSERT INTO rows VALUES (?, ?)", ((key, sealed(key, value)) for key, value in rows)
            )
            execute("UPDATE meta SET applied_lsn = ?", (applied_lsn,))
            execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise self._broken("written", error) from error
        except BaseException:
            self._roll_back()
            raise
        self._applied_lsn = applied_lsn

    def view(self) -> SlicedView:
        """What the store holds now; see `View`."""
        assert self._view is None or not self._view.is_open, "one view at a time"
        self._view = SlicedView(self._applied_lsn, self._rows_after)
        return self._view

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _broken(self, what: str, error: sqlite3.Error) -> StorageError:
        kind = StorageDamaged if is_damage(error) else StorageError
        self.is_damaged = self.is_damaged or kind is StorageDamaged
        return kind(f"{self._path} cannot be {what}: {error}")

    def applied_lsn(self) -> int:
        return self._applied_lsn

    def close(self) -> None:
        self._connection.close()


def is_damage(error: sqlite3.Error) -> bool:
    """Whether *error* says that the file's content is not what we wrote."""
    return str(getattr(error, "sqlite_errorname", "")).startswith(DAMAGE)


def end_of_prefix(prefix: bytes) -> bytes | None:
    """The first key after all that start with *prefix*; None when there is no such key.

    >>> end_of_prefix(b"a\\xff")
    b'b'
    """
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        return None
    return stripped[:-1] + bytes((stripped[-1] + 1,))
