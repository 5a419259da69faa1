"""Timers: each fires once, not early, in order, whatever the clocks do."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from understudy_runtime.effects.timers import HELD_SPARE, RECHECK_MS, Timers
from understudy_runtime.model.commands import TimerFired


@attrs.define
class Bench:
    """A wall clock that runs with trio's, shifted by `jump_ms`."""

    jump_ms: int = 0
    fired: list[TimerFired] = attrs.field(factory=list)
    timers: Timers = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.timers = Timers(self.now_ms, self.fired.append)

    def now_ms(self) -> int:
        return round(trio.current_time() * 1000) + self.jump_ms


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.timers.run)
        await wait_all_tasks_blocked()
        yield made
        nursery.cancel_scope.cancel()


async def pass_time(clock: MockClock, ms: int) -> None:
    clock.jump(ms / 1000)
    await wait_all_tasks_blocked()


async def test_a_timer_fires_when_due_and_not_before(mock_clock: MockClock) -> None:
    async with bench() as b:
        start = b.now_ms()
        b.timers.arm(1, start + 100)
        await pass_time(mock_clock, 99)
        assert b.fired == []
        await pass_time(mock_clock, 1)
        assert b.fired == [TimerFired(start + 100, 1)]
        await pass_time(mock_clock, 60_000)
        assert len(b.fired) == 1, "once"


async def test_timers_disarmed_long_before_they_are_due_leave_memory(mock_clock: MockClock) -> None:
    """A time-out of an hour that is not needed after a millisecond must not be held for the hour."""
    async with bench() as b:
        start = b.now_ms()
        for timer_id in range(10_000):
            b.timers.arm(timer_id, start + 3_600_000 - timer_id)
            if timer_id % 1_000:
                b.timers.disarm(timer_id)
        assert b.timers.count == 10
        assert b.timers.held_count <= 2 * HELD_SPARE
        await pass_time(mock_clock, 3_600_000)
        assert [fired.timer_id for fired in b.fired] == list(range(9_000, -1, -1_000))


async def test_a_new_earlier_timer_wakes_the_task(mock_clock: MockClock) -> None:
    async with bench() as b:
        start = b.now_ms()
        b.timers.arm(1, start + 5_000)
        await wait_all_tasks_blocked()
        b.timers.arm(2, start + 10)
        await wait_all_tasks_blocked()
        await pass_time(mock_clock, 10)
        assert [fired.timer_id for fired in b.fired] == [2]


async def test_a_timer_already_due_fires_at_once(mock_clock: MockClock) -> None:
    async with bench() as b:
        b.timers.arm(1, b.now_ms())
        b.timers.arm(2, b.now_ms() - 1_000)
        await wait_all_tasks_blocked()
        assert sorted(fired.timer_id for fired in b.fired) == [1, 2]


async def test_due_timers_fire_in_the_order_they_are_due(mock_clock: MockClock) -> None:
    async with bench() as b:
        start = b.now_ms()
        for timer_id, delay in ((1, 30), (2, 10), (3, 20), (4, 10)):
            b.timers.arm(timer_id, start + delay)
        await pass_time(mock_clock, 50)
        assert [fired.timer_id for fired in b.fired] == [2, 4, 3, 1]


async def test_a_timer_in_flight_is_not_armed_again_until_it_is_settled(mock_clock: MockClock) -> None:
    async with bench() as b:
        due = b.now_ms()
        b.timers.arm(1, due)
        b.timers.arm(1, due)
        await wait_all_tasks_blocked()
        b.timers.arm(1, due)
        await wait_all_tasks_blocked()
        assert len(b.fired) == 1
        assert b.timers.count == 1
        b.timers.settled(b.fired[0])
        assert b.timers.count == 0
        b.timers.arm(1, due)
        await wait_all_tasks_blocked()
        assert len(b.fired) == 2


async def test_a_disarmed_timer_does_not_fire(mock_clock: MockClock) -> None:
    async with bench() as b:
        b.timers.arm(1, b.now_ms() + 10)
        b.timers.disarm(1)
        b.timers.disarm(7)
        await pass_time(mock_clock, 20)
        assert b.fired == []
        assert b.timers.count == 0
        b.timers.arm(1, b.now_ms() + 5)
        await pass_time(mock_clock, 5)
        assert len(b.fired) == 1, "a heap row of the old time does not count"


async def test_a_jump_of_the_wall_clock_is_noticed(mock_clock: MockClock) -> None:
    async with bench() as b:
        b.timers.arm(1, b.now_ms() + 3_600_000)
        await wait_all_tasks_blocked()
        b.jump_ms = 3_600_000
        await pass_time(mock_clock, RECHECK_MS)
        assert [fired.timer_id for fired in b.fired] == [1]


async def test_a_wall_clock_that_goes_back_delays(mock_clock: MockClock) -> None:
    async with bench() as b:
        b.timers.arm(1, b.now_ms() + 100)
        await wait_all_tasks_blocked()
        b.jump_ms = -1_000
        await pass_time(mock_clock, 100)
        assert b.fired == []
        await pass_time(mock_clock, 1_000)
        assert len(b.fired) == 1


async def test_without_timers_the_task_sleeps_for_ever(mock_clock: MockClock) -> None:
    async with bench() as b:
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline == math.inf
        assert b.fired == []
