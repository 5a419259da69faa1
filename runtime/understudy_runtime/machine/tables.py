"""The tables of one partition: live objects, over the rows of its storage.

Handlers change the live objects through the methods here, which remember what is dirty; `flush` writes the dirty rows
behind, in one commit with the LSN they are true at.  After a flush only what runs is in memory; who waits, results that
are kept, timers, locks and idle objects are read back from storage when asked for.

Rules: nothing here decides what a command means; nothing awaits; dicts are walked in insertion order and what is walked
after a reload is sorted by a number given at birth, so that a reload cannot be told from having lived on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final

from understudy_runtime.machine import rows
from understudy_runtime.machine.expiry import Expiries
from understudy_runtime.machine.invocation import Invocation
from understudy_runtime.machine.objects import Objects
from understudy_runtime.machine.rows import Message, Promise
from understudy_runtime.machine.status import HOLDING
from understudy_runtime.machine.timer_table import TimerTable
from understudy_runtime.model import ids
from understudy_runtime.model.commands import MutateState
from understudy_runtime.model.invocation import Entry, Status
from understudy_runtime.storage.port import Storage, StorageError

_META_NUMBERS: Final = MappingProxyType(
    {
        4: "epoch",
        5: "rule_version",
        7: "inbox_sequence_last",
        8: "start_sequence_last",
        10: "completed_rows",
        12: "waiting_rows",
    }
)


IDLE_OBJECTS_MAX: Final = 4_096


class Tables:
    """Everything one partition knows.  `applied_lsn` is the last record that made it so."""

    def __init__(self, partition: int, partition_count: int, storage: Storage, idle_objects_max: int) -> None:
        assert 0 <= partition < partition_count, "a partition is one of its count"
        self.partition = partition
        self.partition_count = partition_count
        self.applied_lsn = storage.applied_lsn()
        self.epoch = 0
        self.rule_version = 0
        self.inbox_sequence_last = 0
        self.start_sequence_last = 0
        # Results kept in storage, and who waits there: while there are none, an unknown id is not looked for.
        self.completed_rows = 0
        self.waiting_rows = 0
        self.outbox_last: dict[int, int] = {}
        self.timers = TimerTable(storage)
        self.expiries = Expiries(storage)
        self.outbox: dict[int, dict[int, Message]] = {}
        self.dedup: dict[int, int] = {}
        self.objects = Objects(storage, idle_objects_max)
        self._storage = storage
        self._invocations: dict[str, Invocation] = {}
        self._dirty: list[Invocation] = []
        # Ids whose removal is not flushed yet, and what was read back since the last flush.
        self._removed: dict[str, None] = {}
        self._read_back: dict[str, None] = {}
        # The id that was looked for last and not found, and its raw form: most are taken in next.
        self._unknown = ("", b"")
        self._outbox_new: dict[tuple[int, int], None] = {}
        self._outbox_gone: list[bytes] = []
        self._dedup_dirty: dict[int, None] = {}
        self._changes = 0

    @classmethod
    def load(
        cls, storage: Storage, partition: int, partition_count: int, idle_objects_max: int = IDLE_OBJECTS_MAX
    ) -> Tables:
        """The tables as the last commit of *storage* left them; *idle_objects_max* bounds what they cache.

        Raises StorageError when the rows belong to another partition or to a newer format.
        """
        tables = cls(partition, partition_count, storage, idle_objects_max)
        meta = storage.get(rows.META)
        if meta is None:
            assert storage.applied_lsn() == 0, "rows without a meta row"
            return tables
        fields = rows.decode(meta)
        tables._load_meta(fields)
        loaded = [rows.decode_invocation(value, rows.LIVE) for _, value in storage.scan(rows.LIVE)]
        for invocation in sorted(loaded, key=attrgetter("start_sequence", "inbox_sequence", "id")):
            tables._invocations[invocation.id] = invocation
        if fields[1] < 2:
            tables._take_over_format_1()
        for key, value in storage.scan(rows.OUTBOX):
            target, sequence = rows.outbox_place(key)
            tables.outbox.setdefault(target, {})[sequence] = rows.decode_message(value)
        for key, value in storage.scan(rows.DEDUP):
            tables.dedup[rows.dedup_source(key)] = rows.decode(value)
        return tables

    def _load_meta(self, meta: dict[int, Any]) -> None:
        if meta[1] > rows.FORMAT:
            raise StorageError(
                f"the tables of partition {self.partition} have format {meta[1]}, "
                f"this build reads up to {rows.FORMAT}: start it with the newer build that wrote them"
            )
        if (meta[2], meta[3]) != (self.partition, self.partition_count):
            raise StorageError(
                f"the store holds partition {meta[2]} of {meta[3]}, "
                f"partition {self.partition} of {self.partition_count} was expected: check the data folder"
            )
        for number, name in _META_NUMBERS.items():
            setattr(self, name, meta.get(number, 0))
        self.timers.id_last = meta[6]
        self.outbox_last = dict(meta[9])
        self.objects.busy_rows = meta.get(11, 0)
        self.timers.count = meta.get(13, 0)

    def _take_over_format_1(self) -> None:
        """Have every row that lies elsewhere now written anew by the next flush."""
        for key, value in self._storage.scan(rows.TIMER_OLD):
            self.timers.take_over(key, rows.decode_timer(value))
        for timer_id, timer in self.timers.items():
            owner = self._invocations.get(timer.invocation_id)
            if owner is not None:
                owner.timers[timer_id] = timer.due_ms
        for invocation in self._invocations.values():
            self.touch(invocation)
        self._derive_locks()

    def _derive_locks(self) -> None:
        """Format 1 stored no locks and inboxes: they follow from the invocations that hold them and wait in them."""
        waiting = []
        for invocation in self._invocations.values():
            if not invocation.takes_lock:
                continue
            if invocation.status in HOLDING:
                self.objects.lock(invocation)
            elif invocation.status is Status.INBOXED:
                waiting.append(invocation)
        for invocation in sorted(waiting, key=attrgetter("inbox_sequence")):
            self.objects.enqueue(invocation)

    # Reading.

    def invocation(self, invocation_id: str) -> Invocation | None:
        """What is known about *invocation_id*; None when it is unknown, purged or no id at all.

        What was read back stays in memory until the next flush, so that it may be changed.
        """
        found = self._invocations.get(invocation_id)
        if found is not None or invocation_id in self._removed:
            return found
        raw = self._raw_if_stored(invocation_id)
        if not raw:
            return None
        found = self._read_row(raw)
        if found is None:
            self._unknown = (invocation_id, raw)
            return None
        return self._keep(found)

    def invocation_at(self, raw: bytes) -> Invocation | None:
        """The same by its raw id."""
        invocation_id = ids.invocation_id_text(raw)
        found = self._invocations.get(invocation_id)
        if found is not None or invocation_id in self._removed:
            return found
        found = self._read_row(raw)
        return None if found is None else self._keep(found)

    def peek(self, invocation_id: str) -> Invocation | None:
        """The same, only to look at: what is not in memory does not stay there."""
        found = self._invocations.get(invocation_id)
        if found is not None or invocation_id in self._removed:
            return found
        raw = self._raw_if_stored(invocation_id)
        return self._read_row(raw) if raw else None

    def _raw_if_stored(self, invocation_id: str) -> bytes:
        """The raw form of an id that may have a row; empty when there is nothing to look for."""
        if not self.waiting_rows and not self.completed_rows:
            return b""
        try:
            return ids.raw_id(invocation_id)
        except ids.InvalidId:
            return b""

    def _read_row(self, raw: bytes) -> Invocation | None:
        """An invocation that does not run, from its row."""
        for table, count in ((rows.WAITING, self.waiting_rows), (rows.COMPLETED, self.completed_rows)):
            value = self._storage.get(table + raw) if count else None
            if value is not None:
                found = rows.decode_invocation(value, table, raw)
                assert _table_of(found.status) == table, "what runs stays in memory, the rest under its own table"
                return found
        return None

    def _keep(self, invocation: Invocation) -> Invocation:
        self._invocations[invocation.id] = invocation
        self._read_back[invocation.id] = None
        return invocation

    def running(self) -> list[Invocation]:
        """The invocations that are INVOKED, in the order they were started."""
        found = [one for one in self._invocations.values() if one.status is Status.INVOKED]
        found.sort(key=attrgetter("start_sequence"))
        return found

    def calls_waiting(self) -> list[Invocation]:
        """The invocations that wait for a lock and are waited for by others, first come first.  Reads all of them."""
        inboxes = [found.inbox.values() for found in self.objects.busy().values()]
        waiting = [self.peek(one) for inbox in inboxes for one in inbox if isinstance(one, str)]
        assert None not in waiting, "C2: an inbox holds no dead id"
        found = [one for one in waiting if one is not None and one.callers]
        found.sort(key=attrgetter("inbox_sequence"))
        return found

    def live(self) -> Iterator[Invocation]:
        """All invocations that have not completed, in no particular order, to read.  Reads all who wait."""
        yield from (found for found in list(self._invocations.values()) if found.status is not Status.COMPLETED)
        for _, value in self._storage.scan(rows.WAITING) if self.waiting_rows else ():
            found = rows.decode_invocation(value, rows.WAITING)
            if found.id not in self._invocations and found.id not in self._removed:
                yield found

    def journal(self, invocation_id: str) -> Sequence[Entry]:
        """The journal of *invocation_id* from its Input on; empty when it is unknown or no longer kept."""
        invocation = self.peek(invocation_id)
        return () if invocation is None else self.entries(invocation)

    def entries(self, invocation: Invocation) -> list[Entry]:
        """The journal of *invocation*, to read."""
        if invocation.journal is None:
            prefix = rows.JOURNAL + invocation.raw
            invocation.journal = [rows.decode_entry(value) for _, value in self._storage.scan(prefix)]
            assert len(invocation.journal) == invocation.journal_length, "a stored journal has no gaps"
        return invocation.journal

    def state(self, service: str, key: str) -> Mapping[bytes, bytes]:
        """The state of an object, by name.  Not sorted."""
        return self.objects.state(service, key)

    def promises(self, service: str, key: str) -> Mapping[str, Promise]:
        """The promises of a workflow, by name."""
        return self.objects.promises(service, key)

    def lock_holder(self, service: str, key: str) -> str | None:
        """The invocation that holds the lock of an object."""
        return self.objects.holder(service, key)

    def inbox(self, service: str, key: str) -> Sequence[str | MutateState]:
        """What waits for an object's lock, first come first: ids of invocations, and state mutations."""
        return self.objects.inbox(service, key)

    def owns(self, invocation_id: str) -> bool:
        """Whether *invocation_id* belongs to this partition.  Raises InvalidId."""
        return self.partition_count == 1 or self.partition == self.partition_for(invocation_id)

    def owns_key(self, key: str) -> bool:
        """Whether the objects called *key* belong to this partition."""
        return ids.partition_of(ids.partition_key_for_key(key), self.partition_count) == self.partition

    def partition_for(self, invocation_id: str) -> int:
        """The partition *invocation_id* belongs to.  Raises InvalidId."""
        return ids.partition_of(ids.partition_key_of(invocation_id), self.partition_count)

    # Changing.

    def touch(self, invocation: Invocation) -> None:
        """*invocation* is about to change."""
        self._changes += 1
        if not invocation.is_dirty:
            invocation.is_dirty = True
            self._dirty.append(invocation)

    def add(self, invocation: Invocation) -> None:
        """Take in a new *invocation*."""
        assert invocation.id not in self._invocations, "an id is taken once"
        if self._unknown[0] == invocation.id:
            invocation.take_raw(self._unknown[1])
        self._invocations[invocation.id] = invocation
        self.touch(invocation)

    def append(self, invocation: Invocation, entry: Entry, now_ms: int) -> int:
        """Append *entry* to the journal of *invocation* and return its index."""
        self.touch(invocation)
        index = invocation.journal_length
        journal = invocation.journal
        if journal is None:
            journal = self.entries(invocation)
        journal.append(entry)
        invocation.journal_length = index + 1
        invocation.last_append_ms = now_ms
        return index

    def drop_journal(self, invocation: Invocation) -> None:
        """Forget the journal of *invocation*, which has completed."""
        assert invocation.status is Status.COMPLETED, "a live invocation needs its journal"
        self.touch(invocation)
        invocation.journal = []
        invocation.journal_length = 0

    def remove(self, invocation: Invocation) -> None:
        """Forget *invocation* altogether."""
        assert invocation.status is Status.FREE, "only a freed invocation is forgotten"
        assert not invocation.timers, "a forgotten invocation leaves no timer behind"
        self.touch(invocation)
        invocation.journal = []
        invocation.journal_length = 0
        del self._invocations[invocation.id]
        self._removed[invocation.id] = None

    def add_message(self, target_partition: int, message: Message) -> int:
        """Put *message* into the outbox to *target_partition* and return its sequence."""
        assert target_partition != self.partition, "a partition sends itself nothing"
        self._changes += 1
        sequence = self.outbox_last.get(target_partition, 0) + 1
        self.outbox_last[target_partition] = sequence
        self.outbox.setdefault(target_partition, {})[sequence] = message
        self._outbox_new[(target_partition, sequence)] = None
        return sequence

    def remove_message(self, target_partition: int, sequence: int) -> None:
        self._changes += 1
        del self.outbox[target_partition][sequence]
        if (target_partition, sequence) in self._outbox_new:
            del self._outbox_new[(target_partition, sequence)]
        else:
            self._outbox_gone.append(rows.outbox_key(target_partition, sequence))

    def set_seen(self, source_partition: int, sequence: int) -> None:
        """Messages of *source_partition* up to *sequence* have been taken."""
        assert sequence > self.dedup.get(source_partition, 0), "sequences only grow"
        self._changes += 1
        self.dedup[source_partition] = sequence
        self._dedup_dirty[source_partition] = None

    def next_inbox_sequence(self) -> int:
        self.inbox_sequence_last += 1
        return self.inbox_sequence_last

    def next_start_sequence(self) -> int:
        self.start_sequence_last += 1
        return self.start_sequence_last

    # Writing behind.

    @property
    def dirty_rows(self) -> int:
        """Changes since the last flush: at least the rows a flush would write, and a bound for the replay.

        What was read back counts too: it leaves memory with a flush.
        """
        return len(self._read_back) + self._changes + self.objects.changes + self.timers.changes + self.expiries.changes

    def lasting_rows(self) -> int:
        """About how many of the rows a flush would write will have to be written whenever it comes.

        They are those of whatever does not run.  Who runs is likely to be gone before the next flush, and then costs
        none.  This walks what is dirty.
        """
        count = self.objects.lasting_rows() + self.timers.dirty_rows + self.expiries.changes
        for one in self._dirty:
            if one.status is Status.FREE:
                count += 1 + one.journal_stored if one.stored_under else 0
            elif one.status is not Status.INVOKED:
                count += 1 + abs(one.journal_length - one.journal_stored)
        return count

    def flush(self, storage: Storage) -> int:
        """Write what is dirty in one commit and let whatever does not run leave memory.

        Returns the number of rows written.  *storage* is the one the tables were loaded from.  Raises StorageError:
        the tables know no longer what is stored then and must be loaded anew.
        """
        assert storage is self._storage, "the overlay lies over one storage"
        batch: dict[bytes, bytes | None] = {}
        for invocation in self._dirty:
            self._flush_invocation(batch, invocation)
        self.timers.flush(batch)
        self.expiries.flush(batch)
        self._flush_outbox(batch)
        self.objects.flush(batch)
        batch[rows.META] = rows.encode(self._meta())
        storage.commit(batch, self.applied_lsn)
        self._let_go()
        self.objects.evict()
        self._changes = 0
        return len(batch)

    def _let_go(self) -> None:
        """Whatever does not run leaves memory: it is stored as it is."""
        invocations = self._invocations
        ids_idle = [one.id for one in self._dirty if one.status is not Status.INVOKED]
        for invocation_id in (*ids_idle, *self._read_back):
            found = invocations.get(invocation_id)
            if found is not None and found.status is not Status.INVOKED:
                del invocations[invocation_id]
        self._dirty.clear()
        self._removed.clear()
        self._read_back.clear()

    def _meta(self) -> dict[int, Any]:
        meta: dict[int, Any] = {1: rows.FORMAT, 2: self.partition, 3: self.partition_count}
        for number, name in _META_NUMBERS.items():
            meta[number] = getattr(self, name)
        meta[9] = self.outbox_last
        meta[6] = self.timers.id_last
        meta[11] = self.objects.busy_rows
        meta[13] = self.timers.count
        return meta

    def _flush_invocation(self, batch: dict[bytes, bytes | None], invocation: Invocation) -> None:
        invocation.is_dirty = False
        wanted = _table_of(invocation.status)
        if not wanted and not invocation.stored_under:
            return
        raw = invocation.raw
        if invocation.stored_under not in (b"", wanted):
            batch[invocation.stored_under + raw] = None
        journal = invocation.journal
        for index in range(invocation.journal_length, invocation.journal_stored):
            batch[rows.journal_key(raw, index)] = None
        for index in range(invocation.journal_stored, invocation.journal_length if wanted else 0):
            assert journal is not None, "unwritten entries are in memory"
            batch[rows.journal_key(raw, index)] = rows.encode_entry(journal[index])
        invocation.journal_stored = invocation.journal_length
        self.waiting_rows += (wanted == rows.WAITING) - (invocation.stored_under == rows.WAITING)
        self.completed_rows += (wanted == rows.COMPLETED) - (invocation.stored_under == rows.COMPLETED)
        assert self.waiting_rows >= 0, "a row is deleted once"
        assert self.completed_rows >= 0, "a row is deleted once"
        if wanted:
            batch[wanted + raw] = rows.encode_invocation(invocation)
        invocation.stored_under = wanted

    def _flush_outbox(self, batch: dict[bytes, bytes | None]) -> None:
        for key in self._outbox_gone:
            batch[key] = None
        for target, sequence in self._outbox_new:
            batch[rows.outbox_key(target, sequence)] = rows.encode_message(self.outbox[target][sequence])
        for source in self._dedup_dirty:
            batch[rows.dedup_key(source)] = rows.encode(self.dedup[source])
        self._outbox_gone.clear()
        self._outbox_new.clear()
        self._dedup_dirty.clear()


def _table_of(status: Status) -> bytes:
    """The table an invocation's row lies in; none once it is freed."""
    return _TABLES.get(status, rows.WAITING)


_TABLES: Final = MappingProxyType({Status.FREE: b"", Status.INVOKED: rows.LIVE, Status.COMPLETED: rows.COMPLETED})
