"""A partition on the simulated disk that loses its power at a given disk operation, life after life."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from understudy_runtime import world as ports
from understudy_runtime.limits import Limits
from understudy_runtime.machine.tables import Tables
from understudy_runtime.model.commands import Command
from understudy_runtime.model.events import Event
from understudy_runtime.partition import Partition
from understudy_runtime.storage.memory import MemoryMedium, MemoryStorage
from understudy_sim.kernel.choices import SeededChoices
from understudy_sim.kernel.disk import Medium, SimDisk, SimFile
from understudy_sim.kernel.kernel import MAIN, Kernel

from tests.runtime.snapshot.stand import NoEffects, World, start, work


class PowerCut(BaseException):
    """The power is gone before this operation."""


@attrs.define
class Fuse:
    """Counts operations; the one numbered `blows_at` does not happen."""

    blows_at: int | None
    count: int = 0

    def pass_one(self) -> None:
        self.count += 1
        if self.count == self.blows_at:
            raise PowerCut


class FusedFile:
    """A file whose every change goes through the fuse."""

    def __init__(self, file: SimFile, fuse: Fuse) -> None:
        self._file = file
        self._fuse = fuse
        self.size = file.size
        self.pread = file.pread
        self.close = file.close

    def pwrite(self, offset: int, data: bytes) -> None:
        self._fuse.pass_one()
        self._file.pwrite(offset, data)

    def truncate(self, length: int) -> None:
        self._fuse.pass_one()
        self._file.truncate(length)

    async def fdatasync(self) -> None:
        self._fuse.pass_one()
        await self._file.fdatasync()


class FusedDisk:
    """A disk whose every change goes through the fuse."""

    def __init__(self, disk: SimDisk, fuse: Fuse) -> None:
        self._disk = disk
        self._fuse = fuse
        self.exists = disk.exists
        self.list_dir = disk.list_dir

    def open(self, path: str, *, create: bool = False) -> FusedFile:
        if create and not self._disk.exists(path):
            self._fuse.pass_one()
        return FusedFile(self._disk.open(path, create=create), self._fuse)

    def make_dir(self, path: str) -> None:
        self._fuse.pass_one()
        self._disk.make_dir(path)

    def rename(self, source: str, target: str) -> None:
        self._fuse.pass_one()
        self._disk.rename(source, target)

    def unlink(self, path: str) -> None:
        self._fuse.pass_one()
        self._disk.unlink(path)

    async def sync_dir(self, path: str) -> None:
        self._fuse.pass_one()
        await self._disk.sync_dir(path)


class FusedStorage(MemoryStorage):
    """A store whose every commit goes through the fuse."""

    def __init__(self, medium: MemoryMedium, fuse: Fuse) -> None:
        super().__init__(medium)
        self._fuse = fuse

    def commit(self, rows: Any, applied_lsn: int) -> None:
        self._fuse.pass_one()
        super().commit(rows, applied_lsn)

    def replace(self, rows: Any, applied_lsn: int) -> None:
        self._fuse.pass_one()
        super().replace(rows, applied_lsn)


@attrs.define
class Lives:
    """What several lives of one partition said, and what its last one holds."""

    events: list[Event] = attrs.field(factory=list)
    operations: list[int] = attrs.field(factory=list)
    acknowledged_lsn: int = 0
    tables: Tables | None = None


def live(
    commands: Sequence[Command], limits: Limits, cuts: Sequence[int], *, seed: int, loses_store: bool = False
) -> Lives:
    """Live through *cuts*, each a number of operations after which the power goes, then once more to the end.

    The first life does *commands*; each later one repeats the last of them.
    """
    lives = Lives()
    with Kernel(SeededChoices(seed), disk_errors=ports) as kernel:
        kernel.run(_live, kernel, lives, commands, limits, cuts, loses_store).value()
    return lives


async def _live(
    kernel: Kernel, lives: Lives, commands: Sequence[Command], limits: Limits, cuts: Sequence[int], loses_store: bool
) -> None:
    medium = kernel.medium(MAIN)
    stores: dict[str, MemoryMedium] = {}
    for number, cut in enumerate((*cuts, None)):
        fuse = Fuse(cut)
        disk = FusedDisk(medium.mount(kernel.process(MAIN)), fuse)
        world = World(disk, stores, 1_700_000_000_000, lambda found, fuse=fuse: FusedStorage(found, fuse))
        try:
            partition = await start(world, lives.events, limits)
            lives.acknowledged_lsn = max(lives.acknowledged_lsn, partition.tables.applied_lsn)
            await _work(partition, commands if number == 0 else commands[-3:], lives)
            lives.tables = partition.tables
        except PowerCut:
            _cut(kernel, medium, stores, loses_store)
        lives.operations.append(fuse.count)


async def _work(partition: Partition, commands: Sequence[Command], lives: Lives) -> None:
    """Batch by batch, so that what was acknowledged is known at any instant, and a snapshot lies under several."""
    for at in range(0, len(commands), 3):
        for command in commands[at : at + 3]:
            partition.propose(command)
        await partition.step(NoEffects())
        lives.acknowledged_lsn = partition.tables.applied_lsn
    await work(partition, ())


def _cut(kernel: Kernel, medium: Medium, stores: dict[str, MemoryMedium], loses_store: bool) -> None:
    """The power goes, or, one time in four, only the process: then nothing is lost yet."""
    if not kernel.choices.integer("power", 0, 3):
        return
    medium.power_cut()
    for name in sorted(stores):
        lost = kernel.choices.integer(f"store/{name}/lost", 0, stores[name].commits_kept)
        stores[name].power_cut(lost)
    if loses_store:
        stores.clear()
