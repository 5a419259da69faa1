"""What is kept for a time: ids of completed invocations, in buckets of one second of their expiry.

One timer, EXPIRY_TIMER, stands for all of them: it is due with the first bucket, and each firing takes one chunk of at
most CHUNK_IDS ids.  So a result that is kept costs 24 bytes of a row and no memory, and a second's worth of results
goes in steps that do not stall the loop.

An id in a chunk is a hint, not a promise: who takes it looks whether there is something to remove.  Which ids share a
chunk follows from the order they were added and taken in, whatever was flushed between.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from understudy_runtime.machine import rows
from understudy_runtime.model.ids import RAW_ID_BYTES
from understudy_runtime.storage.port import Storage

# No other timer has this id: they are counted from 1.
EXPIRY_TIMER: Final = 0
# Part of rules 2: which removals share a record.
CHUNK_IDS: Final = 64
_CHUNK_BYTES: Final = CHUNK_IDS * RAW_ID_BYTES

# (second of expiry, number of the chunk in it)
Chunk = tuple[int, int]


def bucket_of(expires_ms: int) -> int:
    """The second at which *expires_ms* is over."""
    return -(-expires_ms // 1000)


class Expiries:
    """The index of one partition, over *storage*."""

    def __init__(self, storage: Storage) -> None:
        self.changes = 0
        self._storage = storage
        # The last chunk of each bucket touched since the last flush, full chunks not yet written, and stored ones
        # that were taken.
        self._open: dict[int, tuple[int, bytearray]] = {}
        self._full: dict[Chunk, bytes] = {}
        self._taken: dict[Chunk, None] = {}
        self._first: Chunk | None = None
        self._first_is_known = False

    @property
    def due_ms(self) -> int | None:
        """When the first bucket is due; None when nothing is kept."""
        first = self._find_first()
        return None if first is None else first[0] * 1000

    def add(self, expires_ms: int, raw: bytes) -> bool:
        """Let the invocation *raw* be looked at once *expires_ms* is over.  True when its bucket is a new first."""
        assert len(raw) == RAW_ID_BYTES, "ids lie here in their raw form"
        bucket = bucket_of(expires_ms)
        first = self._find_first()
        open_chunk = self._open.get(bucket)
        if open_chunk is None:
            self.changes += 1
            open_chunk = self._open[bucket] = self._reopen(bucket)
        number, ids = open_chunk
        if len(ids) == _CHUNK_BYTES:
            self.changes += 1
            self._full[(bucket, number)] = bytes(ids)
            number, ids = number + 1, bytearray()
            self._open[bucket] = (number, ids)
        ids += raw
        if first is None or (bucket, number) < first:
            self._first = (bucket, number)
            return first is None or bucket < first[0]
        return False

    def take(self) -> list[bytes]:
        """Remove the first chunk and return its ids, in the order they were added."""
        first = self._find_first()
        assert first is not None, "somebody looked before"
        bucket, number = first
        content: bytes | bytearray | None = self._full.pop(first, None)
        if content is None and bucket in self._open and self._open[bucket][0] == number:
            content = self._open.pop(bucket)[1]
        if content is None:
            content = self._storage.get(rows.expiry_key(bucket, number))
        assert content, "a chunk holds an id"
        self.changes += 1
        self._taken[first] = None
        self._first_is_known = False
        return [bytes(content[at : at + RAW_ID_BYTES]) for at in range(0, len(content), RAW_ID_BYTES)]

    def flush(self, batch: dict[bytes, bytes | None]) -> None:
        """Put what is dirty into *batch*; nothing is left in memory."""
        for bucket, number in self._taken:
            batch[rows.expiry_key(bucket, number)] = None
        for (bucket, number), content in self._full.items():
            batch[rows.expiry_key(bucket, number)] = content
        for bucket, (number, ids) in self._open.items():
            batch[rows.expiry_key(bucket, number)] = bytes(ids)
        self._taken.clear()
        self._full.clear()
        self._open.clear()
        self.changes = 0

    def _reopen(self, bucket: int) -> tuple[int, bytearray]:
        """The last stored chunk of *bucket*, to be filled further; its first one when there is none."""
        found = (0, bytearray())
        for key, value in self._storage.scan(rows.expiry_prefix(bucket)):
            chunk = rows.expiry_chunk(key)
            if chunk not in self._taken:
                found = (chunk[1], bytearray(value))
        return found

    def _find_first(self) -> Chunk | None:
        if not self._first_is_known:
            in_memory = [*self._full, *((bucket, number) for bucket, (number, _) in self._open.items())]
            self._first = min((*in_memory, *self._first_stored()), default=None)
            self._first_is_known = True
        return self._first

    def _first_stored(self) -> Iterator[Chunk]:
        for key, _ in self._storage.scan(rows.EXPIRY):
            chunk = rows.expiry_chunk(key)
            if chunk not in self._taken:
                yield chunk
                return
