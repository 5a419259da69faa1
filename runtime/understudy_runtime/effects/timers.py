"""Durable timers of one partition: one heap, one task, due by the leader's wall clock.

A timer is proposed at most once at a time: from the moment it is due until its TimerFired is applied it is in flight,
and arming it again does nothing.  The wall clock may jump, so the task looks again at least every
`recheck_ms`.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import Final

import trio

from understudy_runtime.model.commands import TimerFired
from understudy_runtime.slot import Slot

RECHECK_MS: Final = 10_000
# Disarmed timers that may stay in the heap until it is built anew.
HELD_SPARE: Final = 1_000


class Timers:
    """Armed timers, by id.  *propose* takes the TimerFired of a due one; *now_ms* is the wall clock."""

    def __init__(
        self, now_ms: Callable[[], int], propose: Callable[[TimerFired], None], recheck_ms: int = RECHECK_MS
    ) -> None:
        assert recheck_ms >= 1, "the wall clock is looked at now and then"
        self._recheck_ms = recheck_ms
        self._now_ms = now_ms
        self._propose = propose
        self._heap: list[tuple[int, int]] = []
        self._armed: dict[int, int] = {}
        self._in_flight: dict[int, None] = {}
        self._sleeps_until_ms: float = math.inf
        self._slot = Slot()

    @property
    def count(self) -> int:
        """Timers armed or in flight."""
        return len(self._armed) + len(self._in_flight)

    @property
    def held_count(self) -> int:
        """Timers in the heap, disarmed ones included."""
        return len(self._heap)

    def arm(self, timer_id: int, due_ms: int) -> None:
        """Hold a timer; one already due fires at once."""
        if timer_id in self._armed or timer_id in self._in_flight:
            return
        self._armed[timer_id] = due_ms
        heapq.heappush(self._heap, (due_ms, timer_id))
        if due_ms < self._sleeps_until_ms:
            self._slot.wake()

    def disarm(self, timer_id: int) -> None:
        """Forget a timer; one in flight is ignored by whoever applies it."""
        self._armed.pop(timer_id, None)
        if len(self._heap) > 2 * len(self._armed) + HELD_SPARE:
            self._heap = [(due_ms, armed_id) for armed_id, due_ms in self._armed.items()]
            heapq.heapify(self._heap)

    def settled(self, command: TimerFired) -> None:
        """*command* was applied; when the wall clock had gone back meanwhile, the timer is armed again next."""
        self._in_flight.pop(command.timer_id, None)

    async def run(self) -> None:
        """Fire what is due, for ever."""
        while True:
            next_ms = self._fire_due(self._now_ms())
            self._sleeps_until_ms = next_ms
            await self._slot.park_until(self._deadline_s(next_ms))
            self._sleeps_until_ms = -math.inf

    def _deadline_s(self, next_ms: float) -> float:
        if next_ms == math.inf:
            return math.inf
        wait_ms = min(max(next_ms - self._now_ms(), 0), self._recheck_ms)
        return trio.current_time() + wait_ms / 1000

    def _fire_due(self, now_ms: int) -> float:
        """Propose every due timer in the order they are due; the next one's due time."""
        heap = self._heap
        while heap:
            due_ms, timer_id = heap[0]
            if self._armed.get(timer_id) != due_ms:
                heapq.heappop(heap)
                continue
            if due_ms > now_ms:
                return due_ms
            heapq.heappop(heap)
            del self._armed[timer_id]
            self._in_flight[timer_id] = None
            self._propose(TimerFired(due_ms, timer_id))
        return math.inf
