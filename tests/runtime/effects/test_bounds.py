"""Bounds of the effects through a whole node: few timers held, few messages on their way, a wall clock that jumps."""

from __future__ import annotations

import attrs
import trio
import understudy
from trio.testing import MockClock
from understudy import App
from understudy_runtime.effects.timers import Timers
from understudy_runtime.limits import Limits
from understudy_runtime.model.events import Applied, Event
from understudy_runtime.model.invocation import Success, Target
from understudy_runtime.node import Node, until

from tests.runtime.node.fakes import FakeWorld
from tests.runtime.node.stand import hosted

PLAIN = Limits(log_prewrite_bytes=0)
NOTE = Target("Clock", "note")


def clock(notes: list[int]) -> App:
    service = understudy.Service("Clock")
    counter = understudy.VirtualObject("Counter")

    @service.handler("note")
    async def note(ctx: understudy.Context, number: int) -> int:
        notes.append(number)
        return number

    @service.handler("fan")
    async def fan(ctx: understudy.Context, count: int) -> int:
        for index in range(count):
            ctx.object_send(add, f"key {index}", index)
        return count

    @counter.handler("add")
    async def add(ctx: understudy.ObjectContext, number: int) -> None:
        notes.append(number)

    return understudy.app(services=[service, counter])


async def test_the_next_page_of_timers_is_read_when_the_nearest_are_gone(autojump_clock: MockClock) -> None:
    """Twelve delayed sends with two timers held; half of them after a restart."""
    notes: list[int] = []
    world = FakeWorld()
    limits = attrs.evolve(PLAIN, timers_max=2, flush_rows=5)
    async with hosted(clock(notes), world=world, limits=limits) as client:
        start = world.now_ms()
        for number in (7, 2, 11, 0, 5, 9, 4, 1, 10, 3, 8, 6):
            await client.send(NOTE, b"%d" % number, execution_time_ms=start + 10_000 * (number + 1))
            timers: Timers = client.node.effects[0].timers
            assert timers.count <= 2
        await trio.sleep(65)
        assert notes == [0, 1, 2, 3, 4, 5]
    async with hosted(clock(notes), world=world, limits=limits):
        await until(lambda: len(notes) >= 12)
    assert notes == list(range(12)), "each once, in the order they were due"


async def test_a_wall_clock_that_jumps_is_noticed_within_the_bound(autojump_clock: MockClock) -> None:
    notes: list[int] = []
    world = FakeWorld()
    async with hosted(clock(notes), world=world, limits=attrs.evolve(PLAIN, timer_recheck_ms=300)) as client:
        await client.send(NOTE, b"1", execution_time_ms=world.now_ms() + 3_600_000)
        await trio.sleep(1)
        world.wall_ms += 3_600_000
        with trio.fail_after(0.4):
            await until(lambda: notes == [1])


async def test_messages_on_their_way_to_a_partition_are_bounded(autojump_clock: MockClock) -> None:
    notes: list[int] = []
    in_flight: list[int] = []

    nodes: list[Node] = []

    def observe(event: Event) -> None:
        if type(event) is Applied:
            lanes = [lane for node in nodes for effects in node.effects for lane in effects.outbox._lanes.values()]
            in_flight.extend(len(lane.in_flight) for lane in lanes)

    limits = attrs.evolve(PLAIN, outbox_in_flight_max=2)
    async with hosted(clock(notes), world=FakeWorld(), limits=limits, partition_count=3, observe=observe) as client:
        nodes.append(client.node)
        assert (await client.call(Target("Clock", "fan"), b"30")).result == Success(b"30")
        await until(lambda: len(notes) == 30)
    assert max(in_flight) == 2, "the rest waits its turn"
    assert sorted(notes) == list(range(30))
