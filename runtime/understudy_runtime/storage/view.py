"""A view over a store that goes on changing: before a row is written, what the view has not handed out yet is kept.

No second connection and no long read transaction: between two slices nothing of the store is held, so its checkpoints
go on and it keeps one owner.  What it costs is one read per row that is written while a view is open, and memory for
the rows that changed before they were handed out.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from heapq import heappop, heappush

from understudy_runtime.storage.port import StorageError

# The rows whose key is greater than the given one (None: all), in key order, read as they are asked for.
RowsAfter = Callable[[bytes | None], Generator[tuple[bytes, bytes], None, None]]


class SlicedView:
    """See `View`.  The store calls `keep` before each of its commits while the view is open."""

    def __init__(self, applied_lsn: int, rows_after: RowsAfter) -> None:
        self._applied_lsn = applied_lsn
        self._rows_after = rows_after
        self._position: bytes | None = None
        self._is_over = False
        # Rows changed since the view was taken and not handed out: what they were, None for rows that were not there.
        self._kept: dict[bytes, bytes | None] = {}
        self._kept_keys: list[bytes] = []

    @property
    def applied_lsn(self) -> int:
        return self._applied_lsn

    @property
    def is_open(self) -> bool:
        return not self._is_over

    def keep(self, keys: Iterable[bytes], get: Callable[[bytes], bytes | None]) -> None:
        """The rows at *keys* are about to change; *get* still reads them as they are."""
        position, kept = self._position, self._kept
        for key in keys:
            if (position is None or key > position) and key not in kept:
                kept[key] = get(key)
                heappush(self._kept_keys, key)

    def take(self, rows_max: int, bytes_max: int) -> list[tuple[bytes, bytes]]:
        """The next rows in key order; see `View.take`.  A view that cannot be read is closed."""
        assert rows_max >= 1, "a slice has a row"
        try:
            while not self._is_over:
                taken = self._slice(rows_max, bytes_max)
                if taken:
                    return taken
        except StorageError:
            self.close()
            raise
        return []

    def close(self) -> None:
        self._is_over = True
        self._kept.clear()
        self._kept_keys.clear()

    def _slice(self, rows_max: int, bytes_max: int) -> list[tuple[bytes, bytes]]:
        """What the view held from its position to the end of one slice of the store as it is now."""
        taken: list[tuple[bytes, bytes]] = []
        read = size = 0
        upto: bytes | None = None
        kept = self._kept
        with closing(self._rows_after(self._position)) as rows:
            for key, value in rows:
                read += 1
                size += len(value)
                if key not in kept:
                    taken.append((key, value))
                if read >= rows_max or size >= bytes_max:
                    upto = key
                    break
        restored = self._kept_upto(upto)
        if restored:
            taken = sorted(taken + restored)
        if upto is None:
            self.close()
        else:
            assert self._position is None or upto > self._position, "a view moves forward"
            self._position = upto
        return taken

    def _kept_upto(self, upto: bytes | None) -> list[tuple[bytes, bytes]]:
        """The rows that were kept, up to *upto* (None: all); they are forgotten here."""
        restored = []
        keys = self._kept_keys
        while keys and (upto is None or keys[0] <= upto):
            key = heappop(keys)
            value = self._kept.pop(key)
            if value is not None:
                restored.append((key, value))
        return restored
