"""What a storage backend must do: an ordered key-value table whose commits are atomic.

Storage is derived from the log and may lag behind it: `applied_lsn` is stored in the same transaction as the rows, and
a
restart replays the log from there.  Durability of a commit is therefore optional; atomicity and order of commits are
not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol


class StorageError(Exception):
    """The store cannot be used: which store, what was found, what to do."""


class Storage(Protocol):
    """Ordered bytes to bytes.  One owner at a time."""

    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All rows whose key starts with *prefix*, in key order.  The store must not change while it is walked."""

    def commit(self, rows: Mapping[bytes, bytes | None], applied_lsn: int) -> None:
        """Write *rows* (None deletes) and *applied_lsn* as one atomic step.  *applied_lsn* never goes back."""

    def applied_lsn(self) -> int:
        """The LSN of the last commit that is visible; 0 for a new store."""

    def close(self) -> None: ...
