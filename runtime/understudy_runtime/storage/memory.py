"""Storage in memory that is faithful about crashes: a medium that survives, and the store of one process over it.

What a power cut takes are whole commits, newest first: commits are atomic and ordered, not durable.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Final

from understudy_runtime.storage.port import StorageDamaged
from understudy_runtime.storage.view import SlicedView

# Commits that a power cut can still take back.
COMMITS_KEPT_MAX: Final = 16


class MemoryMedium:
    """What is left when the process is gone.  Remembers how to undo its last commits."""

    def __init__(self, commits_kept_max: int = COMMITS_KEPT_MAX) -> None:
        assert commits_kept_max >= 0, "a number of commits"
        self.rows: dict[bytes, bytes] = {}
        self.applied_lsn = 0
        self.owner: MemoryStorage | None = None
        self.damaged: dict[bytes, None] = {}  # rows that cannot be read
        self.refusals = 0  # how often one was asked for
        self._keys: list[bytes] = []
        self._undo: deque[tuple[dict[bytes, bytes | None], int]] = deque(maxlen=commits_kept_max)

    @property
    def commits_kept(self) -> int:
        """How many commits a power cut could take back."""
        return len(self._undo)

    def keys_from(self, prefix: bytes) -> Iterator[bytes]:
        """The keys that start with *prefix*, in order."""
        keys = self._keys
        for index in range(bisect_left(keys, prefix), len(keys)):
            if not keys[index].startswith(prefix):
                return
            yield keys[index]

    def rows_after(self, after: bytes | None) -> Generator[tuple[bytes, bytes], None, None]:
        """The rows whose key is greater than *after*; all when it is None."""
        keys = self._keys
        for index in range(0 if after is None else bisect_right(keys, after), len(keys)):
            yield keys[index], self.rows[keys[index]]

    def damage(self, key: bytes) -> None:
        """Let the row at *key* be unreadable until it is written anew.  Raises KeyError without such a row."""
        if key not in self.rows:
            raise KeyError(key)
        self.damaged[key] = None

    def commit(self, rows: Mapping[bytes, bytes | None], applied_lsn: int) -> None:
        assert applied_lsn >= self.applied_lsn, "the applied LSN never goes back"
        self._undo.append(({key: self.rows.get(key) for key in rows}, self.applied_lsn))
        self._write(rows)
        self.applied_lsn = applied_lsn

    def replace(self, rows: Iterable[tuple[bytes, bytes]], applied_lsn: int) -> None:
        """Hold *rows* and nothing else; a power cut can take this back as it can a commit."""
        wanted = dict(rows)
        self._undo.append(({key: self.rows.get(key) for key in (*self.rows, *wanted)}, self.applied_lsn))
        self._write({key: wanted.get(key) for key in (*list(self.rows), *wanted)})
        self.applied_lsn = applied_lsn
        assert self.rows == wanted, "nothing else is left"

    def power_cut(self, commits_lost: int) -> None:
        """Lose the newest *commits_lost* commits (at most those kept) and whoever had the store open."""
        assert 0 <= commits_lost <= len(self._undo), f"{len(self._undo)} commits can be lost, not {commits_lost}"
        self.owner = None
        for _ in range(commits_lost):
            rows, applied_lsn = self._undo.pop()
            self._write(rows)
            self.applied_lsn = applied_lsn
        self._undo.clear()

    def _write(self, rows: Mapping[bytes, bytes | None]) -> None:
        if self.damaged:
            self.damaged = {key: None for key in self.damaged if key not in rows}
        for key, value in rows.items():
            if value is not None:
                if key not in self.rows:
                    insort(self._keys, key)
                self.rows[key] = value
            elif key in self.rows:
                del self.rows[key]
                del self._keys[bisect_left(self._keys, key)]
        assert len(self._keys) == len(self.rows), "one sorted key per row"


class MemoryStorage:
    """The store of one process over *medium*.  Opening it takes it from whoever had it."""

    def __init__(self, medium: MemoryMedium) -> None:
        self._medium = medium
        self.is_damaged = False
        self._view: SlicedView | None = None
        medium.owner = self

    def _owned(self) -> MemoryMedium:
        assert self._medium.owner is self, "this store was closed, lost or opened by another"
        return self._medium

    def get(self, key: bytes) -> bytes | None:
        """The value at *key*.  Raises StorageDamaged."""
        medium = self._owned()
        if medium.damaged:
            self._check(key)
        return medium.rows.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All rows whose key starts with *prefix*, in key order.  Raises StorageDamaged."""
        medium = self._owned()
        for key in medium.keys_from(prefix):
            if medium.damaged:
                self._check(key)
            yield key, medium.rows[key]

    def _check(self, key: bytes) -> None:
        medium = self._owned()
        if key in medium.damaged:
            medium.refusals += 1
            self.is_damaged = True
            raise StorageDamaged(f"the row at key {key.hex()} cannot be read")

    def _rows_after(self, after: bytes | None) -> Generator[tuple[bytes, bytes], None, None]:
        for key, value in self._owned().rows_after(after):
            self._check(key)
            yield key, value

    def commit(self, rows: Mapping[bytes, bytes | None], applied_lsn: int) -> None:
        medium = self._owned()
        if self._view is not None and self._view.is_open:
            self._view.keep(rows, self.get)
        medium.commit(rows, applied_lsn)

    def replace(self, rows: Iterable[tuple[bytes, bytes]], applied_lsn: int) -> None:
        assert self._view is None or not self._view.is_open, "nobody reads what is replaced"
        self._owned().replace(rows, applied_lsn)

    def view(self) -> SlicedView:
        assert self._view is None or not self._view.is_open, "one view at a time"
        self._view = SlicedView(self.applied_lsn(), self._rows_after)
        return self._view

    def applied_lsn(self) -> int:
        return self._owned().applied_lsn

    def close(self) -> None:
        self._owned().owner = None
