"""The timers of one partition, ordered by due time in storage; in memory only those that are not written yet.

Whoever fires timers keeps the nearest few and asks for the next page when they are gone: an hour's sleep of twenty
thousand invocations costs rows, not memory.  This module decides nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import ItemsView, Iterator, Mapping
from itertools import islice

from understudy_runtime.machine import rows
from understudy_runtime.machine.rows import Timer
from understudy_runtime.storage.port import Storage

# (due time, timer id): the order in which timers fire.
Place = tuple[int, int]


class TimerTable(Mapping[int, Timer]):
    """The timers, by id.  As a mapping it reads all of them, in the order of their ids: for tests and checkers."""

    def __init__(self, storage: Storage) -> None:
        self.id_last = 0
        self.count = 0
        self.changes = 0
        self._storage = storage
        self._new: dict[Place, Timer] = {}
        # Keys of rows that are still stored, of timers that are gone.
        self._gone: dict[bytes, None] = {}

    def add(self, timer: Timer) -> int:
        """Hold *timer* and return its id."""
        self.id_last += 1
        self._insert(self.id_last, timer)
        return self.id_last

    def _insert(self, timer_id: int, timer: Timer) -> None:
        assert timer.due_ms >= 0, "a due time is an epoch time"
        self.changes += 1
        self.count += 1
        self._new[(timer.due_ms, timer_id)] = timer

    def find(self, due_ms: int, timer_id: int) -> Timer | None:
        """The timer that is armed for *due_ms* under this id."""
        found = self._new.get((due_ms, timer_id))
        if found is not None or len(self._new) == self.count:
            return found
        key = rows.timer_key(due_ms, timer_id)
        if key in self._gone:
            return None
        value = self._storage.get(key)
        return None if value is None else rows.decode_timer(value)

    def remove(self, due_ms: int, timer_id: int) -> None:
        """Forget a timer that is held."""
        self.changes += 1
        self.count -= 1
        assert self.count >= 0, "P10: a timer is forgotten once"
        if self._new.pop((due_ms, timer_id), None) is None:
            self._gone[rows.timer_key(due_ms, timer_id)] = None

    def nearest(self, after: Place | None, count_max: int) -> list[Place]:
        """The first *count_max* timers behind *after* (None: from the start), in the order they are due."""
        assert count_max >= 1, "a page holds a timer"
        new = [place for place in self._new if after is None or place > after]
        return list(islice(heapq.merge(self._stored(after), heapq.nsmallest(count_max, new)), count_max))

    def _stored(self, after: Place | None) -> Iterator[Place]:
        if len(self._new) == self.count:
            return
        for key, _ in self._storage.scan(rows.TIMER):
            place = rows.timer_place(key)
            if key not in self._gone and (after is None or place > after):
                yield place

    @property
    def dirty_rows(self) -> int:
        """Rows the next flush writes or deletes."""
        return len(self._new) + len(self._gone)

    def flush(self, batch: dict[bytes, bytes | None]) -> None:
        """Put what is dirty into *batch*; nothing is left in memory."""
        for key in self._gone:
            batch[key] = None
        for (due_ms, timer_id), timer in self._new.items():
            batch[rows.timer_key(due_ms, timer_id)] = rows.encode_timer(timer)
        self._gone.clear()
        self._new.clear()
        self.changes = 0

    def take_over(self, key: bytes, timer: Timer) -> None:
        """A timer of format 1, whose row at *key* is to be replaced."""
        timer_id = rows.old_timer_id(key)
        self._gone[key] = None
        self._insert(timer_id, timer)

    # The whole table.

    def _all(self) -> dict[int, Timer]:
        found = dict(self._new)
        if len(found) < self.count:
            stored = self._storage.scan(rows.TIMER)
            found.update({rows.timer_place(k): rows.decode_timer(v) for k, v in stored if k not in self._gone})
        assert len(found) == self.count, "P10: every timer is counted"
        return {timer_id: timer for (_, timer_id), timer in sorted(found.items(), key=lambda pair: pair[0][1])}

    def __getitem__(self, timer_id: int) -> Timer:
        return self._all()[timer_id]

    def __iter__(self) -> Iterator[int]:
        return iter(self._all())

    def __len__(self) -> int:
        return self.count

    def items(self) -> ItemsView[int, Timer]:
        return self._all().items()
