"""The loop of one partition: commands from a queue to the log, to the tables, to the outside.

Everything between two awaits is one step: a batch is durable, then all its records are applied, then all their actions
are performed, then the invoker may start attempts.  So no start message is ever built from tables that are ahead of the
actions performed.  Whatever was queued while a batch was synced is the next batch: there is no window and no timer.

Not here: what a command means (`machine/`), what an action does (`effects/`).
"""

from __future__ import annotations

from typing import Protocol

import trio

from understudy_runtime.limits import Limits
from understudy_runtime.log.core import Appended
from understudy_runtime.log.shell import Log
from understudy_runtime.machine.apply import RULES_CURRENT, apply, outstanding
from understudy_runtime.machine.tables import Tables
from understudy_runtime.model.actions import Action
from understudy_runtime.model.commands import Command, LeaderElected, Record
from understudy_runtime.model.events import Applied, Committed, LeadershipTaken, Observe, StorageFlushed
from understudy_runtime.slot import Slot
from understudy_runtime.storage.port import Storage, StorageError
from understudy_runtime.world import World


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
    """One partition: its queue, log and tables.  Call `recover`, then `run` in a task."""

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
    ) -> None:
        self.index = index
        self.epoch = 0
        self.tables = tables
        self._world = world
        self._limits = limits
        self._observe = observe
        self._log = log
        self._storage = storage
        self._queue: list[Command] = []
        self._slot = Slot()

    @property
    def has_room(self) -> bool:
        """Whether the queue takes a request of a client; internal proposals are bounded where they arise."""
        return len(self._queue) < self._limits.queue_commands_max

    @property
    def queue_length(self) -> int:
        return len(self._queue)

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
        self._replay()
        self.epoch = max(tables.epoch, log.epoch_last) + 1
        command = LeaderElected(self.epoch, RULES_CURRENT)
        (record,) = await self._append([command], self._world.now_ms())
        actions = apply(tables, record)
        self._observe(Applied(self.index, record, actions, False))
        assert tables.epoch == self.epoch, "the tables know their leader"

    async def run(self, effects: Effects, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Perform what is outstanding, then (started) work the queue for ever.

        Raises LeadershipLost, SyncFailed, DiskFull: the process must stop then.
        """
        pending = outstanding(self.tables, self._limits.timers_max)
        self._observe(LeadershipTaken(self.index, self.epoch, self._log.lsn_last, pending))
        for action in pending:
            effects.perform(action)
        effects.batch_done()
        task_status.started()
        while True:
            while not self._queue:
                await self._slot.park()
            await trio.lowlevel.checkpoint()
            await self._turn(effects)

    def flush(self) -> None:
        """Write the tables behind."""
        rows = self.tables.flush(self._storage)
        self._observe(StorageFlushed(self.index, self.tables.applied_lsn, rows))

    def close(self) -> None:
        """Release log and storage.  Nothing is written."""
        self._log.close()
        self._storage.close()

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
        if self.tables.dirty_rows >= self._limits.flush_rows:
            self.flush()

    async def _append(self, batch: list[Command], now_ms: int) -> list[Record]:
        lsn_first = self._log.lsn_last + 1
        found = await self._log.append(batch, epoch=self.epoch, expected_lsn=lsn_first, time_ms=now_ms)
        if not isinstance(found, Appended):
            raise LeadershipLost(f"partition {self.index}, epoch {self.epoch}: the log answered {found}")
        assert found.lsn_first == self.tables.applied_lsn + 1, "records are applied without gaps"
        return [Record(lsn, now_ms, command) for lsn, command in enumerate(batch, lsn_first)]

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
                record = Record(lsn, replayed.time_ms, command)
                self._observe(Applied(self.index, record, apply(tables, record), True))
            if tables.dirty_rows >= self._limits.flush_rows:
                self.flush()
        assert tables.applied_lsn == self._log.lsn_last, "the whole tail is applied"
