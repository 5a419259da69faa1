"""The loop of a partition, step by step: what happens in which order, and what stops it."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked
from understudy_runtime.limits import Limits
from understudy_runtime.log.codec import COMMANDS
from understudy_runtime.log.core import Unknown
from understudy_runtime.log.shell import Log
from understudy_runtime.machine.apply import RULES_CURRENT, RulesUnknown
from understudy_runtime.machine.tables import Tables
from understudy_runtime.model.actions import Action
from understudy_runtime.model.commands import Cancel, Command, Invoke, LeaderElected
from understudy_runtime.model.events import Applied, Committed, Event, LeadershipTaken, StorageFlushed
from understudy_runtime.model.invocation import HandlerType, ServiceType, Target
from understudy_runtime.partition import LeadershipLost, Partition

from tests.runtime.machine.driver import make_id
from tests.runtime.node.fakes import FakeStorage, FakeWorld

LIMITS = Limits(log_prewrite_bytes=0, batch_commands_max=3, queue_commands_max=4)
GONE = "inv_14NAYWOkWeyC4HqaAv3eM70hJLaHxEfgB2"


@attrs.define
class Told:
    """Effects that write down what they are told, in the same list as the events."""

    seen: list[Any]

    def perform(self, action: Action) -> None:
        self.seen.append(action)

    def settled(self, command: Command) -> None:
        self.seen.append(command)

    def batch_done(self) -> None:
        self.seen.append("done")


async def opened(
    world: FakeWorld,
    events: list[Any],
    storage: FakeStorage | None = None,
    rules_max: int = RULES_CURRENT,
    limits: Limits = LIMITS,
) -> Partition:
    log: Log[Command] = await Log.open(
        world.disk, "partition-0", identity=1, codec=COMMANDS, limits=limits, observe=events.append
    )
    store = storage or FakeStorage()
    partition = Partition(
        0,
        world=world,
        limits=limits,
        observe=events.append,
        log=log,
        storage=store,
        tables=Tables.load(store, 0, 1),
        rules_max=rules_max,
    )
    await partition.recover()
    return partition


async def test_a_batch_is_committed_then_applied_then_performed_whole() -> None:
    seen: list[Any] = []
    partition = await opened(FakeWorld(), seen)
    seen.clear()
    for number in range(1, 5):
        partition.propose(Cancel(GONE, request_id=number))
    assert not partition.has_room
    assert partition.queue_length == 4
    async with trio.open_nursery() as nursery:
        await nursery.start(partition.run, Told(seen))
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    kinds = [item if isinstance(item, str) else type(item).__name__ for item in seen]
    start = ["LeadershipTaken", "done"]
    whole_batch = ["Committed", *["Applied"] * 3, *["Cancel", "RequestAcked"] * 3, "done"]
    rest = ["Committed", "Applied", "Cancel", "RequestAcked", "done"]
    assert kinds == [*start, *whole_batch, *rest]
    (first, second) = [event for event in seen if isinstance(event, Committed)]
    assert [record.lsn for record in first.records] == [2, 3, 4]
    assert len({record.time_ms for record in first.records}) == 1, "one stamp a batch"
    assert [record.lsn for record in second.records] == [5]
    assert partition.has_room


async def test_each_leader_has_a_higher_epoch_and_replays_without_actions() -> None:
    world = FakeWorld()
    for epoch in (1, 2, 3):
        events: list[Event] = []
        partition = await opened(world, events)
        assert partition.epoch == epoch
        applied = [event for event in events if isinstance(event, Applied)]
        assert [event.replaying for event in applied] == [True] * (epoch - 1) + [False]
        assert applied[-1].record.command == LeaderElected(epoch, RULES_CURRENT)
        partition.close()


async def test_only_the_tail_is_replayed() -> None:
    world, storage = FakeWorld(), FakeStorage()
    (await opened(world, [], storage)).flush()
    events: list[Event] = []
    await opened(world, events, storage)
    assert [event.replaying for event in events if isinstance(event, Applied)] == [False]


async def test_leadership_is_told_with_what_is_outstanding() -> None:
    seen: list[Any] = []
    partition = await opened(FakeWorld(), seen)
    async with trio.open_nursery() as nursery:
        await nursery.start(partition.run, Told(seen))
        nursery.cancel_scope.cancel()
    assert LeadershipTaken(0, 1, 1, []) in seen


async def test_a_second_leader_fences_the_first() -> None:
    world = FakeWorld()
    first = await opened(world, [])
    assert first.epoch == 1
    await first._log.append([LeaderElected(9, 1)], epoch=9, expected_lsn=2, time_ms=0)
    first.propose(Cancel(GONE))
    with pytest.raises(LeadershipLost, match="epoch 1: the log answered Fenced"):
        await first.run(Told([]))


async def test_an_unknown_append_stops_the_partition() -> None:
    partition = await opened(FakeWorld(), [])

    async def append(*_: object, **__: object) -> Unknown:
        return Unknown()

    partition._log.append = append  # type: ignore[method-assign]
    partition.propose(Cancel(GONE))
    seen: list[Any] = []
    with pytest.raises(LeadershipLost, match="Unknown"):
        await partition.run(Told(seen))
    assert seen == ["done"], "nothing is performed that may not be durable"


async def test_an_older_build_leads_under_its_own_rules_and_refuses_newer_ones() -> None:
    world, storage = FakeWorld(), FakeStorage()
    for rules in (1, 1, RULES_CURRENT):
        events: list[Event] = []
        partition = await opened(world, events, storage, rules_max=rules)
        applied = [event for event in events if isinstance(event, Applied)]
        assert applied[-1].record.command == LeaderElected(partition.epoch, rules)
        assert partition.tables.rule_version == rules
        partition.close()
    with pytest.raises(RulesUnknown, match=f"led under rules {RULES_CURRENT}, this process knows rules up to 1"):
        await opened(world, [], storage, rules_max=1)
    partition = await opened(world, [], storage)
    partition.flush()
    before = len(world.disk.files["partition-0/00000000000000000001.log"].seen)
    with pytest.raises(RulesUnknown, match="led under rules"):
        await opened(world, [], storage, rules_max=1)
    assert len(world.disk.files["partition-0/00000000000000000001.log"].seen) == before, "refused before it leads"


async def test_what_is_too_much_for_one_frame_goes_into_the_next() -> None:
    seen: list[Any] = []
    partition = await opened(FakeWorld(), seen)
    partition._log._limits = attrs.evolve(LIMITS, batch_bytes_max=1)
    for number in range(1, 4):
        partition.propose(Cancel(GONE, request_id=number))
    while partition.has_work:
        await partition.step(Told(seen))
    batches = [
        [record.command.request_id for record in event.records] for event in seen if isinstance(event, Committed)
    ]
    assert batches == [[1], [2], [3]]


def waiting(number: int) -> Invoke:
    """An invocation for much later: its row, its input and its timer last."""
    later_ms = 1 << 60
    return attrs.evolve(running(number), execution_time_ms=later_ms)


def running(number: int) -> Invoke:
    return Invoke(
        invocation_id=make_id(number),
        target=Target("Greeter", "greet"),
        service_type=ServiceType.SERVICE,
        handler_type=HandlerType.SHARED,
        payload=b"in",
    )


async def test_what_will_last_is_written_soon_and_what_runs_is_not() -> None:
    seen: list[Any] = []
    limits = attrs.evolve(LIMITS, flush_rows=100, flush_lasting_rows=6, batch_commands_max=1, queue_commands_max=100)
    partition = await opened(FakeWorld(), seen, limits=limits)

    async def stepped(*commands: Command) -> list[int]:
        """How many rows each flush wrote while these were worked on, one a turn."""
        seen.clear()
        for command in commands:
            partition.propose(command)
        while partition.has_work:
            await partition.step(Told(seen))
        return [event.rows for event in seen if isinstance(event, StorageFlushed)]

    assert await stepped(*(running(number) for number in range(20))) == []
    (first, *others) = await stepped(*(waiting(number) for number in range(100, 120)))
    assert first > 40, "whoever runs is written with the others"
    assert len(others) >= 20 * 3 // 6 - 3
    assert max(others) <= 6 + 6, "and not again while it does not change"
    assert sum(await stepped(*(running(number) for number in range(200, 226)))) > 2 * 20, (
        "what is remembered is bounded"
    )
