"""The loop of one partition: commands from a queue to the log, to the tables, to the outside.

Everything between two awaits is one step: a batch is durable, then all its records are applied, then all their actions
are performed, then the invoker may start attempts.  So no start message is ever built from tables that are ahead of the
actions performed.  Whatever was queued while a batch was synced is the next batch: there is no window and no timer.

Once the log has grown by `limits.snapshot_log_bytes` (more when snapshots are large), the tables are written behind and
what the store then holds is written as a snapshot, one slice after each batch; when it is durable, the log before it
goes.

Not here: what a command means (`machine/`), what an action does (`effects/`).
"""

from __future__ import annotations

from typing import Protocol

import trio

from understudy_runtime.limits import Limits
from understudy_runtime.log.core import Appended
from understudy_runtime.log.shell import Log
from understudy_runtime.machine.apply import RULES_CURRENT, RulesUnknown, apply, outstanding
from understudy_runtime.machine.tables import Tables
from understudy_runtime.model.actions import Action
from understudy_runtime.model.commands import Command, LeaderElected, Record
from understudy_runtime.model.events import (
    Applied,
    Committed,
    LeadershipTaken,
    LogTrimmed,
    Observe,
    SnapshotAbandoned,
    SnapshotWritten,
    StorageFlushed,
)
from understudy_runtime.recovery import partition_name
from understudy_runtime.slot import Slot
from understudy_runtime.snapshot.core import is_due
from understudy_runtime.snapshot.shell import Snapshots
from understudy_runtime.storage.port import Storage, StorageDamaged, StorageError
from understudy_runtime.world import DiskFull, World


class LeadershipLost(Exception):
    """The log did not take our records: another leader wrote, or the medium cannot say.  The process must stop."""


class Effects(Protocol):
    """What the loop calls after durability."""

    def perform(self, action: Action) -> None: ...

    def settled(self, command: Command) -> None:
        """*command* is durable and applied, whatever became of it; its actions are performed next."""

    def batch_done(self) -> None:
        """All actions of a batch have been performed."""


class Partition:
    """One partition: its queue, log and tables.  Call `recover`, then `run` in a task.

    Without *snapshots* the log is never trimmed.  *rules_max*: the newest rules this process has; what was led under
    newer ones is refused, as an older build would.
    """

    def __init__(
        self,
        index: int,
        *,
        world: World,
        limits: Limits,
        observe: Observe,
        log: Log[Command],
        storage: Storage,
        tables: Tables,
        snapshots: Snapshots | None = None,
        rules_max: int = RULES_CURRENT,
    ) -> None:
        assert 1 <= rules_max <= RULES_CURRENT, "rules this build has"
        self.index = index
        self.epoch = 0
        self.tables = tables
        self._world = world
        self._limits = limits
        self._observe = observe
        self._log = log
        self._storage = storage
        self._is_store_closed = False
        self._snapshots = snapshots
        self._rules_max = rules_max
        # What the log had appended, in bytes, when the last snapshot was begun; below 0 for what it held before.
        self._snapshot_mark = 0 if snapshots is None else -log.bytes_after(snapshots.lsn_last)
        # Changes at which to count again whether a flush is due.
        self._flush_look = 0
        self._queue: list[Command] = []
        self._slot = Slot()

    @property
    def has_room(self) -> bool:
        """Whether the queue takes a request of a client; internal proposals are bounded where they arise."""
        return len(self._queue) < self._limits.queue_commands_max

    @property
    def queue_length(self) -> int:
        return len(self._queue)

    @property
    def is_writing_snapshot(self) -> bool:
        """Whether a snapshot has been begun and is not durable yet."""
        return self._snapshots is not None and self._snapshots.is_writing

    def propose(self, command: Command) -> None:
        """Queue *command* for the log."""
        self._queue.append(command)
        if self._slot.parked:
            self._slot.wake()

    async def recover(self) -> None:
        """Bring the tables to the log's end and take the lead.

        Raises StorageError when the store is ahead of the log, LogCorrupt, LeadershipLost, DiskError.
        """
        tables, log = self.tables, self._log
        if tables.applied_lsn > log.lsn_last:
            raise StorageError(
                f"partition {self.index}: the store is at record {tables.applied_lsn}, the log ends at {log.lsn_last}: "
                "they are not of one data folder; remove the store, it is rebuilt from the log"
            )
        self._check_rules(tables.rule_version)
        try:
            self._replay()
        except StorageDamaged:
            self._distrust_store()
            raise
        self.epoch = max(tables.epoch, log.epoch_last) + 1
        command = LeaderElected(self.epoch, self._rules_max)
        (record,) = await self._append([command], self._world.now_ms())
        actions = apply(tables, record)
        self._observe(Applied(self.index, record, actions, False))
        assert tables.epoch == self.epoch, "the tables know their leader"

    async def run(self, effects: Effects, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Perform what is outstanding, then (started) work the queue for ever.

        Raises LeadershipLost, SyncFailed, DiskFull, StorageError: the process must stop then.  The store stays open
        for whoever still runs beside this: `close` puts it aside when it is damaged.
        """
        limits = self._limits
        pending = outstanding(self.tables, limits.timers_max, checks_deadlocks=limits.refuse_deadlocks)
        self._observe(LeadershipTaken(self.index, self.epoch, self._log.lsn_last, pending))
        for action in pending:
            effects.perform(action)
        effects.batch_done()
        task_status.started()
        while True:
            while not self.has_work:
                await self._slot.park()
            await trio.lowlevel.checkpoint()
            await self.step(effects)

    def _distrust_store(self) -> None:
        """The next start must not trust it either: it finds no store and rebuilds it."""
        self._close_store()
        self._world.set_aside_storage(partition_name(self.index))

    def _close_store(self) -> None:
        if not self._is_store_closed:
            self._is_store_closed = True
            self._storage.close()

    @property
    def has_work(self) -> bool:
        """Whether a command is queued or a snapshot is being written."""
        return bool(self._queue) or (self._snapshots is not None and self._snapshots.is_writing)

    async def step(self, effects: Effects) -> None:
        """One batch, and one slice of a snapshot.  Raises as `run` does."""
        if self._queue:
            await self._turn(effects)
        if self._snapshots is None:
            return
        if self._snapshots.is_writing:
            await self._snapshot_step(self._snapshots)
            return
        grown = self._log.bytes_appended - self._snapshot_mark
        if is_due(grown, self._limits.snapshot_log_bytes, self._snapshots.bytes_last):
            self._begin_snapshot(self._snapshots)

    def flush(self) -> None:
        """Write the tables behind."""
        rows = self.tables.flush(self._storage)
        self._flush_look = 0
        self._observe(StorageFlushed(self.index, self.tables.applied_lsn, rows))

    def _flush_if_due(self) -> None:
        """Write behind when there is much to write, or much to remember.

        What will last is counted when it may be enough: a change makes about one row at most.
        """
        changes = self.tables.dirty_rows
        if changes < self._flush_look:
            return
        lasting, lasting_max = self.tables.lasting_rows(), self._limits.flush_lasting_rows
        if changes >= self._limits.flush_rows or lasting >= lasting_max:
            self.flush()
            return
        look = changes + max(lasting_max - lasting, lasting_max // 4, 1)
        self._flush_look = min(look, self._limits.flush_rows)

    def close(self) -> None:
        """Release log and storage.  Nothing is written; a store that anybody found damaged is put aside."""
        if self._snapshots is not None:
            self._snapshots.close()
        self._log.close()
        if self._storage.is_damaged:
            self._distrust_store()
        self._close_store()

    async def _turn(self, effects: Effects) -> None:
        """One batch, from the queue to its last effect."""
        now_ms = self._world.now_ms()
        count = self._limits.batch_commands_max
        batch, self._queue = self._queue[:count], self._queue[count:]
        records = await self._append(batch, now_ms)
        self._observe(Committed(self.index, records))
        applied = [(record, self._apply(record)) for record in records]
        for record, actions in applied:
            effects.settled(record.command)
            for action in actions:
                effects.perform(action)
        effects.batch_done()
        self._flush_if_due()

    def _begin_snapshot(self, snapshots: Snapshots) -> None:
        """Write behind, take a view of what the store then holds, and let the log go on in a segment of its own."""
        self._snapshot_mark = self._log.bytes_appended
        self.flush()
        view = self._storage.view()
        assert view.applied_lsn == self.tables.applied_lsn, "a snapshot holds all that was applied"
        self._log.close_segment()
        try:
            snapshots.begin(view)
        except DiskFull as error:
            self._observe(SnapshotAbandoned(self.index, view.applied_lsn, str(error)))

    async def _snapshot_step(self, snapshots: Snapshots) -> None:
        """One slice of the snapshot; after the last one, drop what it stands for."""
        try:
            written = await snapshots.step(self._limits.snapshot_slice_rows)
        except DiskFull as error:
            self._observe(SnapshotAbandoned(self.index, self.tables.applied_lsn, str(error)))
            return
        if written is None:
            return
        self._observe(SnapshotWritten(self.index, written.lsn, written.rows, written.bytes))
        await snapshots.drop_older()
        trimmed = await self._log.trim(written.lsn)
        if trimmed.segments:
            self._observe(LogTrimmed(self.index, trimmed.lsn_first, trimmed.segments, trimmed.bytes))

    async def _append(self, batch: list[Command], now_ms: int) -> list[Record]:
        """Make *batch* durable; what was too much for one frame goes back to the head of the queue."""
        lsn_first = self._log.lsn_last + 1
        found = await self._log.append(batch, epoch=self.epoch, expected_lsn=lsn_first, time_ms=now_ms)
        if not isinstance(found, Appended):
            raise LeadershipLost(f"partition {self.index}, epoch {self.epoch}: the log answered {found}")
        assert found.lsn_first == self.tables.applied_lsn + 1, "records are applied without gaps"
        count = found.lsn_last - lsn_first + 1
        if count < len(batch):
            self._queue[:0] = batch[count:]
        return [Record(lsn, now_ms, command) for lsn, command in enumerate(batch[:count], lsn_first)]

    def _apply(self, record: Record) -> list[Action]:
        assert record.lsn == self.tables.applied_lsn + 1, "records are applied in order"
        actions = apply(self.tables, record)
        assert self.tables.applied_lsn == record.lsn, "the tables know where they are"
        self._observe(Applied(self.index, record, actions, False))
        return actions

    def _replay(self) -> None:
        """Apply the log's tail and drop the actions: what of them is still owed is outstanding."""
        tables = self.tables
        for replayed in self._log.records(tables.applied_lsn + 1):
            for lsn, command in enumerate(replayed.commands, replayed.lsn_first):
                if lsn <= tables.applied_lsn:
                    continue
                if type(command) is LeaderElected:
                    self._check_rules(command.rule_version)
                record = Record(lsn, replayed.time_ms, command)
                self._observe(Applied(self.index, record, apply(tables, record), True))
            self._flush_if_due()
        assert tables.applied_lsn == self._log.lsn_last, "the whole tail is applied"

    def _check_rules(self, rule_version: int) -> None:
        """Raises RulesUnknown when a newer process has led the partition."""
        if rule_version > self._rules_max:
            raise RulesUnknown(
                f"partition {self.index} was led under rules {rule_version}, "
                f"this process knows rules up to {self._rules_max}: start it with the newer build"
            )
