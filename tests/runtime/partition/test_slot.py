"""The slot: one task, one wake, none lost, in trio's time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from understudy_runtime.slot import Slot


async def test_a_wake_lets_the_parked_task_go_on() -> None:
    slot, seen = Slot(), list[str]()

    async def waiter() -> None:
        await slot.park()
        seen.append("woken")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiter)
        await wait_all_tasks_blocked()
        assert slot.parked
        slot.wake()
        assert not slot.parked
        assert seen == []
    assert seen == ["woken"]


async def test_a_wake_that_finds_nobody_is_kept_once() -> None:
    slot = Slot()
    slot.wake()
    slot.wake()
    await slot.park()
    with trio.move_on_after(0) as scope:
        await slot.park()
    assert scope.cancelled_caught


async def test_a_cancelled_task_leaves_the_slot() -> None:
    slot = Slot()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(slot.park)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert not slot.parked
    slot.wake()
    await slot.park()


async def test_a_slot_holds_one_task() -> None:
    slot = Slot()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(slot.park)
        await wait_all_tasks_blocked()
        with pytest.raises(AssertionError, match="one task"):
            await slot.park()
        slot.wake()


async def test_a_deadline_ends_a_park_and_an_earlier_one_cuts_it_short(autojump_clock: MockClock) -> None:
    slot = Slot()
    before = trio.current_time()
    await slot.park_until(before + 5)
    assert trio.current_time() == before + 5
    async with trio.open_nursery() as nursery:
        nursery.start_soon(slot.park_until, before + 100)
        await trio.sleep(1)
        slot.wake_before(before + 200)
        await trio.sleep(1)
        assert slot.parked, "a later deadline wakes nobody"
        slot.wake_before(before + 50)
    assert trio.current_time() == before + 7
