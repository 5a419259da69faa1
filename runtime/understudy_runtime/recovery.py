"""Opens a partition's data: its log, its snapshots, its store, and the tables over it.

The log is the truth and the store only saves a replay.  A store that is missing, damaged, of another folder or behind
the log's first record is rebuilt from the newest snapshot that can be read; without one, from the log alone if that is
whole, else the start is refused by name.  Nothing is changed on the medium before it is known what to start from.
"""

from __future__ import annotations

from typing import Final

import attrs

from understudy_runtime.limits import Limits
from understudy_runtime.log.codec import COMMANDS
from understudy_runtime.log.shell import Log
from understudy_runtime.machine.tables import Tables
from understudy_runtime.model.commands import Command
from understudy_runtime.model.events import Observe, StorageRestored
from understudy_runtime.snapshot.core import NothingToStartFrom, SnapshotDamaged, Source, ways_to_start
from understudy_runtime.snapshot.shell import Snapshots
from understudy_runtime.storage.port import Storage, StorageDamaged
from understudy_runtime.world import World

# The one row of a store that is not the tables': whose it is.
ORIGIN: Final = b"@"
SNAPSHOTS_SUFFIX: Final = ".snapshots"


@attrs.frozen
class Opened:
    """A partition's data, ready for the log's tail to be replayed."""

    log: Log[Command]
    snapshots: Snapshots
    storage: Storage
    tables: Tables

    def close(self) -> None:
        """Release everything.  Nothing is written."""
        self.snapshots.close()
        self.log.close()
        self.storage.close()


def partition_name(index: int) -> str:
    """What the folder of a partition's log and its store are called."""
    return f"partition-{index}"


async def open_partition(
    world: World, index: int, partition_count: int, *, identity: int, limits: Limits, observe: Observe
) -> Opened:
    """Open or create partition *index*; *identity* tells its data from any other's.

    Raises LogError, StorageError (SnapshotError), DiskError: each names the file and what to do.
    """
    name = partition_name(index)
    log: Log[Command] = await Log.open(
        world.disk, name, identity=identity, codec=COMMANDS, limits=limits, observe=observe
    )
    try:
        snapshots = await Snapshots.open(world.disk, f"{name}{SNAPSHOTS_SUFFIX}", identity=identity)
        start = StoreStart(world, index, partition_count, identity, log, snapshots, limits, observe)
        storage, tables = start.run()
    except BaseException:
        log.close()
        raise
    return Opened(log, snapshots, storage, tables)


@attrs.define
class StoreStart:
    """One start of a store: `run` gives it, with the tables over it."""

    world: World
    index: int
    partition_count: int
    identity: int
    log: Log[Command]
    snapshots: Snapshots
    limits: Limits
    observe: Observe

    def run(self) -> tuple[Storage, Tables]:
        """The store that is there, if it serves; else one that is rebuilt.  Raises StorageError, SnapshotError."""
        if self.snapshots.lsn_last > self.log.lsn_last:
            raise NothingToStartFrom(
                f"partition {self.index}: {self.snapshots.path_of(self.snapshots.lsn_last)} is of a record that the "
                f"log, which ends at {self.log.lsn_last}, does not have: files of the log are missing; "
                "restore the data folder from a backup"
            )
        storage = self._open_storage()
        found = self._lsn_of(storage)
        if found is None:
            storage.close()
            storage = self._fresh_storage()
        reason = self._why_not(found)
        if not reason:
            try:
                return storage, self._load(storage)
            except StorageDamaged as error:
                storage.close()
                reason, found = str(error), None
                storage = self._fresh_storage()
        try:
            self._rebuild(storage, found, reason)
        except StorageDamaged as error:
            storage.close()
            storage = self._fresh_storage()
            self._rebuild(storage, None, str(error))
        return storage, self._load(storage)

    def _open_storage(self) -> Storage:
        try:
            return self.world.open_storage(partition_name(self.index))
        except StorageDamaged:
            return self._fresh_storage()

    def _fresh_storage(self) -> Storage:
        self.world.set_aside_storage(partition_name(self.index))
        return self.world.open_storage(partition_name(self.index))

    def _lsn_of(self, storage: Storage) -> int | None:
        """Where the store is; None when it is another partition's, or cannot be read."""
        try:
            origin = storage.get(ORIGIN)
        except StorageDamaged:
            return None
        return storage.applied_lsn() if origin in (None, self.identity.to_bytes(8, "big")) else None

    def _why_not(self, store_lsn: int | None) -> str:
        """Why the store at *store_lsn* is not what to start from; empty when it is."""
        ways = ways_to_start(
            store_lsn=store_lsn,
            log_first=self.log.lsn_first,
            log_last=self.log.lsn_last,
            snapshots=self.snapshots.lsns,
        )
        if ways and (ways[0].source is Source.STORE or (ways[0].source is Source.NOTHING and store_lsn == 0)):
            return ""
        if store_lsn is None:
            return "it is damaged, or of another data folder"
        return f"it is at record {store_lsn}, the log begins at {self.log.lsn_first}"

    def _rebuild(self, storage: Storage, store_lsn: int | None, reason: str) -> None:
        """Fill *storage* from the first way that can be read.  Raises NothingToStartFrom."""
        refused = [reason]
        for way in ways_to_start(
            store_lsn=None, log_first=self.log.lsn_first, log_last=self.log.lsn_last, snapshots=self.snapshots.lsns
        ):
            try:
                storage.replace(self.snapshots.rows(way.lsn) if way.source is Source.SNAPSHOT else (), way.lsn)
            except SnapshotDamaged as error:
                refused.append(str(error))
                continue
            self.observe(StorageRestored(self.index, way.lsn, "; ".join(refused)))
            return
        storage.close()
        raise NothingToStartFrom(
            f"partition {self.index}: the log begins at record {self.log.lsn_first}, and nothing that can be read "
            f"holds what came before it ({'; '.join(refused)}): restore the data folder from a backup"
        )

    def _load(self, storage: Storage) -> Tables:
        if storage.get(ORIGIN) is None:
            storage.commit({ORIGIN: self.identity.to_bytes(8, "big")}, storage.applied_lsn())
        return Tables.load(storage, self.index, self.partition_count, self.limits.idle_objects_max)
