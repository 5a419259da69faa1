"""Timers: each fires once, not early, in order, whatever the clocks do."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked
from understudy_runtime.effects.timers import APART_MS, HELD_SPARE, Timers, watch_clock
from understudy_runtime.machine.expiry import EXPIRY_TIMER
from understudy_runtime.model.commands import TimerFired

RECHECK_MS = 10_000


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
        b.timers.look()
        await wait_all_tasks_blocked()
        assert [fired.timer_id for fired in b.fired] == [1]


async def test_one_task_looks_at_the_clock_for_all(mock_clock: MockClock) -> None:
    async with bench() as one, bench() as other, trio.open_nursery() as nursery:
        nursery.start_soon(watch_clock, [one.timers, other.timers], RECHECK_MS)
        for b in (one, other):
            b.timers.arm(1, b.now_ms() + 3_600_000)
        await wait_all_tasks_blocked()
        one.jump_ms = other.jump_ms = 3_600_000
        await pass_time(mock_clock, RECHECK_MS - 1)
        assert one.fired == other.fired == []
        await pass_time(mock_clock, 1)
        assert len(one.fired) == len(other.fired) == 1
        nursery.cancel_scope.cancel()


async def test_a_clock_that_runs_with_the_other_wakes_nobody(mock_clock: MockClock) -> None:
    async with bench() as b:
        b.timers.arm(1, b.now_ms() + 3_600_000)
        await pass_time(mock_clock, 60_000)
        b.jump_ms = APART_MS
        deadline_s = trio.lowlevel.current_statistics().seconds_to_next_deadline
        b.timers.look()
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline == deadline_s, "it sleeps on"


async def test_a_jump_back_is_noticed_before_the_old_time_comes(mock_clock: MockClock) -> None:
    async with bench() as b:
        b.timers.arm(1, b.now_ms() + 1_000)
        await wait_all_tasks_blocked()
        b.jump_ms = -5_000
        b.timers.look()
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline == 6.0


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


# Only the nearest are held.


@attrs.define
class Table:
    """The tables' timers, as the timers see them."""

    places: dict[int, int] = attrs.field(factory=dict)
    pages: int = 0

    def nearest(self, after: tuple[int, int] | None, count_max: int) -> list[tuple[int, int]]:
        self.pages += 1
        places = sorted((due_ms, timer_id) for timer_id, due_ms in self.places.items())
        return [place for place in places if after is None or place > after][:count_max]


@attrs.define
class Paged:
    """Timers over a table, with a wall clock of their own; what fires is applied at once."""

    held_max: int
    now_ms: int = 0
    table: Table = attrs.field(factory=Table)
    fired: list[int] = attrs.field(factory=list)
    proposed: list[TimerFired] = attrs.field(factory=list)
    timers: Timers = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        propose = self.proposed.append
        self.timers = Timers(lambda: self.now_ms, propose, nearest=self.table.nearest, held_max=self.held_max)

    def arm(self, timer_id: int, due_ms: int) -> None:
        self.table.places[timer_id] = due_ms
        self.timers.arm(timer_id, due_ms)

    def disarm(self, timer_id: int) -> None:
        if self.table.places.pop(timer_id, None) is not None:
            self.timers.disarm(timer_id)

    def pass_time(self, ms: int, *, applied: bool = True) -> None:
        self.now_ms += ms
        self.timers._fire_due(self.now_ms)
        assert len(set(self.proposed)) == len(self.proposed), "each is on its way once"
        if applied:
            self.apply()

    def apply(self) -> None:
        fired, self.proposed[:] = list(self.proposed), []
        for command in fired:
            self.timers.settled(command)
            if self.table.places.pop(command.timer_id, None) is not None:
                self.fired.append(command.timer_id)


def test_the_nearest_are_held_and_the_rest_is_read_when_they_are_gone() -> None:
    paged = Paged(held_max=10)
    for timer_id in range(1, 101):
        paged.arm(timer_id, 1_000 + (timer_id * 37) % 100)
        assert paged.timers.count <= 10
    assert paged.timers.held_count <= 20
    assert paged.table.pages == 0, "nothing is asked for while there are nearer ones"
    paged.pass_time(2_000)
    assert paged.fired == sorted(range(1, 101), key=lambda timer_id: (timer_id * 37) % 100)
    assert paged.timers.count == 0


def test_a_timer_behind_the_horizon_may_be_disarmed() -> None:
    paged = Paged(held_max=2)
    for timer_id in range(1, 6):
        paged.arm(timer_id, 100 * timer_id)
    paged.disarm(4)
    paged.disarm(1)
    paged.pass_time(1_000)
    assert paged.fired == [2, 3, 5]


async def test_disarming_all_that_is_held_asks_for_more(mock_clock: MockClock) -> None:
    table = Table({timer_id: 1_000 * timer_id for timer_id in range(1, 6)})
    fired: list[TimerFired] = []
    timers = Timers(lambda: round(trio.current_time() * 1000), fired.append, nearest=table.nearest, held_max=2)
    async with trio.open_nursery() as nursery:
        for timer_id, due_ms in list(table.places.items())[:3]:
            timers.arm(timer_id, due_ms)
        nursery.start_soon(timers.run)
        await wait_all_tasks_blocked()
        for timer_id in (1, 2, 3):
            del table.places[timer_id]
            timers.disarm(timer_id)
        await pass_time(mock_clock, 4_000)
        assert [command.timer_id for command in fired] == [4]
        nursery.cancel_scope.cancel()


def test_a_page_leaves_out_who_is_on_its_way() -> None:
    """A timer fires; before it is applied nearer ones push the horizon below it, and go; it is not asked for again."""
    paged = Paged(held_max=1)
    paged.arm(1, 1_000)
    paged.pass_time(1_000, applied=False)
    paged.arm(2, 500)
    paged.arm(3, 600)
    paged.pass_time(0, applied=False)
    assert [command.timer_id for command in paged.proposed] == [1, 2, 3]
    paged.apply()
    paged.pass_time(0)
    assert (paged.fired, paged.timers.count) == ([1, 2, 3], 0)


def test_the_timer_of_the_expiries_moves_and_is_always_held() -> None:
    paged = Paged(held_max=1)
    paged.timers.arm(EXPIRY_TIMER, 5_000)
    for timer_id in (1, 2, 3):
        paged.arm(timer_id, 1_000 * timer_id)
    assert EXPIRY_TIMER in paged.timers.ids
    paged.timers.arm(EXPIRY_TIMER, 1_500)
    paged.pass_time(1_600, applied=False)
    assert paged.proposed == [TimerFired(1_000, 1), TimerFired(1_500, EXPIRY_TIMER)]
    paged.apply()
    paged.pass_time(5_000, applied=False)
    assert [command.timer_id for command in paged.proposed] == [2, 3], "the time it moved away from is void"


async def test_no_more_are_in_flight_than_a_batch_takes(mock_clock: MockClock) -> None:
    """Ten come due at once: three go, and the others follow as these are applied."""
    fired: list[TimerFired] = []
    timers = Timers(lambda: round(trio.current_time() * 1000), fired.append, in_flight_max=3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run)
        for timer_id in range(1, 11):
            timers.arm(timer_id, 0)
        await wait_all_tasks_blocked()
        assert [command.timer_id for command in fired] == [1, 2, 3]
        while timers.count:
            settled = min(command.timer_id for command in fired if command.timer_id in timers.ids)
            timers.settled(TimerFired(0, settled))
            await wait_all_tasks_blocked()
            assert len(timers.ids) == 10 - settled
        assert [command.timer_id for command in fired] == list(range(1, 11))
        nursery.cancel_scope.cancel()


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(("arm", "arm", "arm", "disarm", "pass", "later", "back")), st.integers(0, 400)),
    max_size=80,
)


@given(OPERATIONS, st.integers(1, 6))
def test_however_few_are_held_the_same_timers_fire(operations: list[tuple[str, int]], held_max: int) -> None:
    few, all_ = Paged(held_max), Paged(10_000)
    for number, (operation, value) in enumerate(operations, start=1):
        for paged in (few, all_):
            if operation == "arm":
                paged.arm(number, paged.now_ms + value - 20)
            elif operation == "disarm":
                paged.disarm(value % number)
            elif operation == "back":
                paged.now_ms = max(0, paged.now_ms - value)
            else:
                paged.pass_time(value // 4, applied=operation == "pass")
        assert few.timers.held_count <= 2 * few.timers.count + HELD_SPARE
    for paged in (few, all_):
        paged.apply()
        paged.pass_time(2_000)
        paged.pass_time(0)
        assert paged.timers.count == 0
    assert few.fired == all_.fired
