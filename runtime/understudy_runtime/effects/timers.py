"""Durable timers of one partition: one heap, one task, due by the leader's wall clock.

A timer is proposed at most once at a time: from the moment it is due until its TimerFired is applied it is in flight,
and arming it again does nothing.  The wall clock may jump: `watch_clock` is one task for all partitions that lets them
look again now and then.

No more than `in_flight_max` are in flight: whatever comes due at once leaves room in the queue for everybody else.

At most `held_max` timers are held, the nearest: those behind the horizon are left to the tables, and the next page is
asked for when the ones before it are gone.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from typing import Final

import trio

from understudy_runtime.machine.expiry import EXPIRY_TIMER
from understudy_runtime.model.commands import TimerFired
from understudy_runtime.slot import Slot

# By so much the wall clock may run apart from the monotonic one before sleepers are woken: their rounding, and drift.
APART_MS: Final = 5
HELD_MAX: Final = 4_096
IN_FLIGHT_MAX: Final = 256
# Disarmed timers that may stay in the heap until it is built anew.
HELD_SPARE: Final = 1_000


# The first timers behind a place (None: from the start), at most so many, in the order (due time, timer id).
Nearest = Callable[[tuple[int, int] | None, int], Sequence[tuple[int, int]]]


def nothing_more(after: tuple[int, int] | None, count_max: int) -> Sequence[tuple[int, int]]:
    """All timers are told by arming them."""
    return ()


class Timers:
    """Armed timers, by id.  *propose* takes the TimerFired of a due one; *now_ms* is the wall clock.

    *nearest* reads the tables' timers, which are those of all actions performed so far.
    """

    def __init__(
        self,
        now_ms: Callable[[], int],
        propose: Callable[[TimerFired], None],
        *,
        nearest: Nearest = nothing_more,
        held_max: int = HELD_MAX,
        in_flight_max: int = IN_FLIGHT_MAX,
    ) -> None:
        assert held_max >= 1, "the next timer is held"
        assert in_flight_max >= 1, "one timer can fire"
        self._nearest = nearest
        self._held_max = held_max
        self._in_flight_max = in_flight_max
        # Whether timers that are due wait for those in flight.
        self._is_full = False
        # Timers behind it are in the tables alone; None: all timers are held.
        self._horizon: tuple[int, int] | None = None
        self._now_ms = now_ms
        self._propose = propose
        self._heap: list[tuple[int, int]] = []
        self._armed: dict[int, int] = {}
        self._in_flight: dict[int, None] = {}
        self._sleeps_until_ms: float = math.inf
        # Wall clock less monotonic clock, when the task went to sleep.
        self._offset_ms = 0.0
        self._slot = Slot()

    @property
    def count(self) -> int:
        """Timers armed or in flight."""
        return len(self._armed) + len(self._in_flight)

    @property
    def ids(self) -> Sequence[int]:
        """The timers armed or in flight."""
        return (*self._armed, *self._in_flight)

    @property
    def held_count(self) -> int:
        """Timers in the heap, disarmed ones included."""
        return len(self._heap)

    def arm(self, timer_id: int, due_ms: int) -> None:
        """Hold a timer, unless others are nearer; one already due fires at once.

        Only the timer of the expiries is armed anew: it moves to the time that is asked for last.
        """
        if timer_id in self._in_flight or self._armed.get(timer_id) == due_ms:
            return
        if timer_id == EXPIRY_TIMER:
            self._hold(timer_id, due_ms)
            return
        assert timer_id not in self._armed, "a timer keeps its time"
        if self._horizon is not None and (due_ms, timer_id) > self._horizon:
            return
        self._hold(timer_id, due_ms)
        if len(self._armed) > self._held_max:
            self._draw_horizon()

    def _hold(self, timer_id: int, due_ms: int) -> None:
        self._armed[timer_id] = due_ms
        heapq.heappush(self._heap, (due_ms, timer_id))
        if due_ms < self._sleeps_until_ms:
            self._slot.wake()

    def _draw_horizon(self) -> None:
        """Leave the later half of the timers to the tables."""
        expiry_ms = self._armed.pop(EXPIRY_TIMER, None)
        places = sorted((due_ms, timer_id) for timer_id, due_ms in self._armed.items())
        self._horizon = places[(len(places) - 1) // 2]
        self._armed = {timer_id: due_ms for due_ms, timer_id in places if (due_ms, timer_id) <= self._horizon}
        if expiry_ms is not None:
            self._armed[EXPIRY_TIMER] = expiry_ms
        self._heap = [(due_ms, timer_id) for timer_id, due_ms in self._armed.items()]
        heapq.heapify(self._heap)

    def _ask_for_more(self) -> None:
        """Hold the next page of timers: none is left before the horizon."""
        assert self._horizon is not None, "there is something behind it"
        page = self._nearest(self._horizon, self._held_max)
        self._horizon = page[-1] if len(page) == self._held_max else None
        for due_ms, timer_id in page:
            assert timer_id not in self._armed, "what lies behind the horizon is not held"
            if timer_id not in self._in_flight:
                self._armed[timer_id] = due_ms
                heapq.heappush(self._heap, (due_ms, timer_id))

    @property
    def _lacks(self) -> bool:
        """Whether the next timer may lie behind the horizon."""
        return self._horizon is not None and len(self._armed) == (EXPIRY_TIMER in self._armed)

    def disarm(self, timer_id: int) -> None:
        """Forget a timer; one in flight is ignored by whoever applies it.

        Nobody is woken: what lies behind the horizon is due later than what the task sleeps for.
        """
        self._armed.pop(timer_id, None)
        if len(self._heap) > 2 * len(self._armed) + HELD_SPARE:
            self._heap = [(due_ms, armed_id) for armed_id, due_ms in self._armed.items()]
            heapq.heapify(self._heap)

    def settled(self, command: TimerFired) -> None:
        """*command* was applied; when the wall clock had gone back meanwhile, the timer is armed again next."""
        self._in_flight.pop(command.timer_id, None)
        if self._is_full and len(self._in_flight) < self._in_flight_max:
            self._is_full = False
            self._slot.wake()

    def look(self) -> None:
        """Go on sleeping, unless the wall clock has jumped meanwhile."""
        if self._sleeps_until_ms < math.inf:
            apart_ms = self._now_ms() - trio.current_time() * 1000 - self._offset_ms
            if abs(apart_ms) > APART_MS:
                self._slot.wake()

    async def run(self) -> None:
        """Fire what is due, for ever.  Somebody must call `look` now and then."""
        while True:
            next_ms = self._fire_due(self._now_ms())
            self._sleeps_until_ms = next_ms
            await self._slot.park_until(self._deadline_s(next_ms))
            self._sleeps_until_ms = -math.inf

    def _deadline_s(self, next_ms: float) -> float:
        if next_ms == math.inf:
            return math.inf
        now_ms, now_s = self._now_ms(), trio.current_time()
        self._offset_ms = now_ms - now_s * 1000
        return now_s + max(next_ms - now_ms, 0) / 1000

    def _fire_due(self, now_ms: int) -> float:
        """Propose every due timer in the order they are due; the next one's due time."""
        while True:
            while self._lacks:
                self._ask_for_more()
            heap = self._heap
            if not heap:
                return math.inf
            due_ms, timer_id = heap[0]
            if self._armed.get(timer_id) != due_ms:
                heapq.heappop(heap)
                continue
            if due_ms > now_ms:
                return due_ms
            if len(self._in_flight) >= self._in_flight_max:
                self._is_full = True
                return math.inf
            heapq.heappop(heap)
            del self._armed[timer_id]
            self._in_flight[timer_id] = None
            self._propose(TimerFired(due_ms, timer_id))


async def watch_clock(sleepers: Sequence[Timers], every_ms: int) -> None:
    """Let *sleepers* look at the wall clock every so often, for ever."""
    assert every_ms >= 1, "the wall clock is looked at now and then"
    while True:
        await trio.sleep(every_ms / 1000)
        for timers in sleepers:
            timers.look()
