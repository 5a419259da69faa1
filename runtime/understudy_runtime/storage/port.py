"""What a storage backend must do: an ordered key-value table whose commits are atomic.

Storage is derived from the log and may lag behind it: `applied_lsn` is stored in the same transaction as the rows, and
a restart replays the log from there.  Durability of a commit is therefore optional; atomicity and order of commits are
not.  What cannot be read any more is StorageDamaged, never a wrong row: it is rebuilt from a snapshot and the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol


class StorageError(Exception):
    """The store cannot be used: which store, what was found, what to do."""


class StorageDamaged(StorageError):
    """The store lies in our place and cannot be read: put it aside and rebuild it."""


class View(Protocol):
    """What a store held at one commit, in key order, while later commits go on."""

    @property
    def applied_lsn(self) -> int:
        """The LSN of that commit."""

    def take(self, rows_max: int, bytes_max: int) -> list[tuple[bytes, bytes]]:
        """The next rows: at most *rows_max*, and no more once they hold *bytes_max*; empty when none are left.

        Reads about as many rows as it returns, unless many were inserted since.  Raises StorageError.
        """

    def close(self) -> None:
        """Give the view up; commits are cheaper then.  Closing twice does nothing."""


class Storage(Protocol):
    """Ordered bytes to bytes.  One owner at a time."""

    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All rows whose key starts with *prefix*, in key order.  The store must not change while it is walked."""

    def commit(self, rows: Mapping[bytes, bytes | None], applied_lsn: int) -> None:
        """Write *rows* (None deletes) and *applied_lsn* as one atomic step.  *applied_lsn* never goes back."""

    def replace(self, rows: Iterable[tuple[bytes, bytes]], applied_lsn: int) -> None:
        """Let the store hold *rows* (in key order) and nothing else, at *applied_lsn*, as one atomic step.

        When *rows* raises, so does this, and the store is as it was.  No view is open.
        """

    def view(self) -> View:
        """What the store holds now, to be read in slices while commits go on."""

    def applied_lsn(self) -> int:
        """The LSN of the last commit that is visible; 0 for a new store."""

    @property
    def is_damaged(self) -> bool:
        """Whether somebody has met damage: the next start must not find this store."""

    def close(self) -> None: ...
