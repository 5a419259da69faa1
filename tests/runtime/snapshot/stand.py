"""A partition on a fake disk and a store that survives, driven batch by batch; and what its tables then say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from understudy_runtime.limits import Limits
from understudy_runtime.machine.apply import apply
from understudy_runtime.machine.tables import Tables
from understudy_runtime.model.actions import Action
from understudy_runtime.model.commands import Command
from understudy_runtime.model.events import Applied, Event
from understudy_runtime.partition import Partition
from understudy_runtime.recovery import ORIGIN, Opened, open_partition
from understudy_runtime.storage.memory import MemoryMedium, MemoryStorage

from tests.runtime.node.fakes import FakeDisk

IDENTITY = 0x0123456789ABCDEF
LIMITS = Limits(
    log_prewrite_bytes=64, segment_bytes_max=2_000, flush_rows=5, snapshot_log_bytes=1_000, batch_commands_max=3
)


@attrs.define(slots=False)
class World:
    """A disk, and the media of stores, that outlive a process."""

    disk: Any = attrs.field(factory=FakeDisk)
    stores: dict[str, MemoryMedium] = attrs.field(factory=dict)
    now: int = 1_700_000_000_000
    opened: Callable[[MemoryMedium], MemoryStorage] = MemoryStorage

    def now_ms(self) -> int:
        self.now += 1
        return self.now

    def open_storage(self, name: str) -> MemoryStorage:
        return self.opened(self.stores.setdefault(name, MemoryMedium()))

    def set_aside_storage(self, name: str) -> None:
        self.stores.pop(name, None)


class NoEffects:
    """Effects that do nothing: the test is the outside."""

    def perform(self, action: Action) -> None:
        pass

    def settled(self, command: Command) -> None:
        pass

    def batch_done(self) -> None:
        pass


async def start(world: World, events: list[Event], limits: Limits = LIMITS) -> Partition:
    """A partition that has recovered."""
    opened: Opened = await open_partition(
        world,
        0,
        1,
        identity=IDENTITY,
        limits=limits,
        observe=events.append,  # type: ignore[arg-type]
    )
    partition = Partition(
        0,
        world=world,  # type: ignore[arg-type]
        limits=limits,
        observe=events.append,
        log=opened.log,
        storage=opened.storage,
        tables=opened.tables,
        snapshots=opened.snapshots,
    )
    await partition.recover()
    return partition


async def work(partition: Partition, commands: Sequence[Command]) -> None:
    """What the partition's loop does with *commands* until nothing is left to do, snapshots included."""
    for command in commands:
        partition.propose(command)
    while partition.has_work:
        await partition.step(NoEffects())


def stored(tables: Tables) -> dict[bytes, bytes]:
    """All rows, once what is dirty is written behind."""
    tables.flush(tables._storage)
    return {key: value for key, value in tables._storage.scan(b"") if key != ORIGIN}


def folded(events: Sequence[Event]) -> Tables:
    """The tables after every record that was applied for the first time, over an empty store."""
    tables = Tables.load(MemoryStorage(MemoryMedium()), 0, 1)
    for event in events:
        if isinstance(event, Applied) and event.record.lsn == tables.applied_lsn + 1:
            apply(tables, event.record)
    return tables
