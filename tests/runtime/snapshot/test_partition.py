"""Snapshots of a partition: what they hold, what they let go, and what a start makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NoReturn

import attrs
import pytest
from understudy_runtime.limits import Limits
from understudy_runtime.log.core import LogCorrupt
from understudy_runtime.machine.rows import BUSY, COMPLETED, JOURNAL, STATE, WAITING
from understudy_runtime.model.events import (
    Committed,
    Event,
    LogTrimmed,
    SnapshotAbandoned,
    SnapshotWritten,
    StorageFlushed,
    StorageRestored,
)
from understudy_runtime.snapshot import core
from understudy_runtime.snapshot.core import NothingToStartFrom, SnapshotForeign, SnapshotNewer
from understudy_runtime.storage.memory import MemoryMedium, MemoryStorage
from understudy_runtime.storage.port import StorageDamaged, StorageError
from understudy_runtime.world import DiskFull

from tests.runtime.machine.driver import make_id
from tests.runtime.snapshot.play import commands_of
from tests.runtime.snapshot.stand import LIMITS, NoEffects, World, folded, start, stored, work

COMMANDS = commands_of(list(range(120)))
SNAPSHOTS = "partition-0.snapshots"


def of(kind: type, events: list[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, kind)]


async def played(world: World, limits: Limits = LIMITS) -> list[Event]:
    """The events of a partition that has done all of COMMANDS."""
    events: list[Event] = []
    partition = await start(world, events, limits)
    await work(partition, COMMANDS)
    partition.close()
    return events


async def test_a_snapshot_lets_the_log_before_it_go() -> None:
    world = World()
    events = await played(world)
    written = of(SnapshotWritten, events)
    trimmed = of(LogTrimmed, events)
    assert len(written) >= 3
    assert len(trimmed) >= 2
    assert world.disk.list_dir(SNAPSHOTS) == [f"{written[-1].lsn:020d}.snapshot"]
    assert int(world.disk.list_dir("partition-0")[0][:20]) > 1
    log_bytes = sum(len(world.disk.files[f"partition-0/{name}"].seen) for name in world.disk.list_dir("partition-0"))
    assert log_bytes < 3 * LIMITS.snapshot_log_bytes + LIMITS.segment_bytes_max


async def test_a_snapshot_is_written_in_slices_between_batches() -> None:
    events: list[Event] = []
    partition = await start(World(), events, attrs.evolve(LIMITS, snapshot_slice_rows=2))
    await work(partition, COMMANDS)
    (first, *_) = of(SnapshotWritten, events)
    assert isinstance(first, SnapshotWritten)
    at = events.index(first)
    begun = next(i for i, e in enumerate(events) if isinstance(e, StorageFlushed) and e.applied_lsn == first.lsn)
    assert first.rows >= 8
    assert len(of(Committed, events[begun:at])) >= first.rows // 2


def test_a_large_snapshot_is_not_written_for_a_little_log() -> None:
    assert [core.is_due(grown, 100, 0) for grown in (99, 100)] == [False, True]
    assert [core.is_due(grown, 100, 4_000) for grown in (100, 999, 1_000)] == [False, False, True]


async def test_everything_applied_is_written_behind_before_a_snapshot() -> None:
    events = await played(World())
    for index, event in enumerate(events):
        if isinstance(event, SnapshotWritten):
            flushed = [e.applied_lsn for e in events[:index] if isinstance(e, StorageFlushed)]
            assert event.lsn in flushed


async def test_without_a_store_a_start_takes_the_snapshot() -> None:
    world = World()
    before = await played(world)
    world.stores.clear()
    events: list[Event] = []
    partition = await start(world, events)
    (restored,) = of(StorageRestored, events)
    assert restored.lsn == of(SnapshotWritten, before)[-1].lsn
    assert stored(partition.tables) == stored(folded(before + events))


async def test_a_store_behind_the_log_is_rebuilt() -> None:
    world = World()
    before = await played(world)
    old = MemoryMedium()
    old.commit({b"x": b"leftover"}, 3)
    world.stores["partition-0"] = old
    events: list[Event] = []
    partition = await start(world, events)
    (restored,) = of(StorageRestored, events)
    assert "at record 3, the log begins at" in restored.reason
    assert stored(partition.tables) == stored(folded(before + events))


async def test_a_store_of_another_folder_is_rebuilt() -> None:
    world, other = World(), World()
    before = await played(world)
    medium = MemoryMedium()
    medium.commit({b"@": bytes(8), b"m": b"nonsense"}, 10_000)
    world.stores["partition-0"] = medium
    events: list[Event] = []
    partition = await start(world, events)
    assert "of another data folder" in of(StorageRestored, events)[0].reason
    assert stored(partition.tables) == stored(folded(before + events))
    assert not other.stores


def damage(world: World, at: int = 60) -> str:
    """Change a byte of the newest snapshot; returns its path."""
    path = f"{SNAPSHOTS}/{world.disk.list_dir(SNAPSHOTS)[-1]}"
    world.disk.files[path].seen[at] ^= 1
    return path


async def test_a_damaged_snapshot_with_a_trimmed_log_is_refused_by_name() -> None:
    for at in (3, 20, 60, 200, -1):
        world = World()
        await played(world)
        path = damage(world, at)
        await start(world, [])  # the store still serves
        world.stores.clear()
        with pytest.raises(NothingToStartFrom, match=rf"(?s)the log begins at record \d+.*{path}: damaged at byte"):
            await start(world, [])
        world.disk.files[path].seen[at] ^= 1
        await start(world, [])


async def test_a_snapshot_cut_at_any_byte_is_damaged() -> None:
    world = World()
    await played(world)
    path = f"{SNAPSHOTS}/{world.disk.list_dir(SNAPSHOTS)[-1]}"
    whole = bytes(world.disk.files[path].seen)
    for length in range(0, len(whole), 37):
        world.stores.clear()
        world.disk.files[path].seen = bytearray(whole[:length])
        with pytest.raises(NothingToStartFrom):
            await start(world, [])
    world.disk.files[path].seen = bytearray(whole + b"x")
    with pytest.raises(NothingToStartFrom):
        await start(world, [])


async def test_a_damaged_snapshot_with_the_whole_log_is_replayed_over() -> None:
    world = World()
    one_segment = attrs.evolve(LIMITS, segment_bytes_max=1_000_000, snapshot_log_bytes=1_000_000)
    before: list[Event] = []
    partition = await start(world, before, one_segment)
    await work(partition, COMMANDS)
    partition._begin_snapshot(partition._snapshots)  # type: ignore[arg-type]
    await work(partition, [])
    assert of(SnapshotWritten, before)
    assert not of(LogTrimmed, before), "its only segment stays"
    damage(world)
    world.stores.clear()
    events: list[Event] = []
    again = await start(world, events)
    (restored,) = of(StorageRestored, events)
    assert restored.lsn == 0
    assert "damaged at byte" in restored.reason
    assert stored(again.tables) == stored(folded(before + events))


async def test_a_missing_log_is_refused() -> None:
    world = World()
    await played(world)
    for name in world.disk.list_dir("partition-0"):
        world.disk.unlink(f"partition-0/{name}")
    with pytest.raises(NothingToStartFrom, match="files of the log are missing"):
        await start(world, [])


async def test_a_trimmed_log_without_snapshots_serves_while_its_store_does() -> None:
    world = World()
    await played(world)
    world.disk.unlink(f"{SNAPSHOTS}/{world.disk.list_dir(SNAPSHOTS)[-1]}")
    partition = await start(world, [])
    partition.close()
    world.stores.clear()
    with pytest.raises(NothingToStartFrom):
        await start(world, [])


async def test_foreign_and_newer_snapshots_are_refused_by_name() -> None:
    world = World()
    await played(world)
    path = f"{SNAPSHOTS}/{world.disk.list_dir(SNAPSHOTS)[-1]}"
    lsn = core.snapshot_lsn(SNAPSHOTS, path.removeprefix(f"{SNAPSHOTS}/"))
    seen = world.disk.files[path].seen
    for changed, error in (((1, 7), SnapshotForeign), ((core.FORMAT + 1, None), SnapshotNewer)):
        format_, identity = changed
        head = core.HEADER.pack(core.MAGIC, format_, core.HEADER_BYTES, 0, identity or 0x0123456789ABCDEF, lsn)
        seen[: core.HEADER_BYTES] = head + core.CHECKSUM.pack(core.xxh3_64_intdigest(head))
        world.stores.clear()
        with pytest.raises(error, match=path):
            await start(world, [])
    world.disk.open(f"{SNAPSHOTS}/notes.txt", create=True)
    with pytest.raises(SnapshotForeign, match=r"notes\.txt: not a snapshot"):
        await start(world, [])


async def test_what_was_never_finished_is_removed() -> None:
    world = World()
    world.disk.open(f"{SNAPSHOTS}/00000000000000000004.snapshot.new", create=True).pwrite(0, b"half")
    await start(world, [])
    assert world.disk.list_dir(SNAPSHOTS) == []


async def test_a_full_disk_gives_the_snapshot_up_and_the_partition_goes_on() -> None:
    world = World()
    events: list[Event] = []
    partition = await start(world, events)

    def refuse(data: bytes) -> None:
        if b"USFR" in data or b"UNDERSNP" in data:
            raise DiskFull("no space is left")

    world.disk.before_write = refuse
    await work(partition, COMMANDS[:60])
    assert len(of(SnapshotAbandoned, events)) >= 2
    assert not of(SnapshotWritten, events)
    assert world.disk.list_dir(SNAPSHOTS) == []
    world.disk.before_write = lambda data: None
    await work(partition, COMMANDS[60:])
    assert of(SnapshotWritten, events)
    world.stores.clear()
    again = await start(world, events)
    assert stored(again.tables) == stored(folded(events))


async def test_a_store_found_damaged_while_running_is_put_aside_when_the_partition_closes() -> None:
    """Not before: a timer that fires beside the one that met the damage still reads it."""
    world = World()
    events: list[Event] = []
    partition = await start(world, events)
    await work(partition, COMMANDS)

    def rotten(*_: object) -> None:
        partition._storage.is_damaged = True  # type: ignore[misc]
        raise StorageDamaged("partition-0.sqlite: a row does not match its checksum")

    partition._turn = rotten  # type: ignore[method-assign,assignment]
    partition.propose(COMMANDS[0])
    with pytest.raises(StorageDamaged):
        await partition.run(NoEffects())
    assert list(partition._storage.scan(b"")), "still there for who runs beside it"
    partition.close()
    assert not world.stores
    again = await start(world, events)
    assert of(StorageRestored, events)
    assert stored(again.tables) == stored(folded(events))


class Rotten(MemoryStorage):
    """A store whose rows other than those a start looks at, or that cannot be written anew, have changed."""

    def get(self, key: bytes) -> bytes | None:
        if key[:1] in (WAITING, COMPLETED, BUSY):
            self._found_damaged()
        return super().get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        if prefix[:1] in (STATE, JOURNAL):
            self._found_damaged()
        return super().scan(prefix)

    def replace(self, rows: Iterable[tuple[bytes, bytes]], applied_lsn: int) -> None:
        self._found_damaged()

    def _found_damaged(self) -> NoReturn:
        self.is_damaged = True
        raise StorageDamaged("partition-0.sqlite: a row does not match its checksum")


LAGGING = attrs.evolve(LIMITS, flush_rows=10_000, snapshot_log_bytes=1 << 40)


def rotten_once(world: World) -> None:
    """The store that is there now is rotten; what replaces it is not."""
    there = world.stores["partition-0"]
    world.opened = lambda medium: Rotten(medium) if medium is there else MemoryStorage(medium)


async def test_a_store_found_damaged_by_the_replay_is_put_aside() -> None:
    world = World()
    before: list[Event] = []
    for commands in (COMMANDS[:60], COMMANDS[60:]):
        partition = await start(world, before, LAGGING)
        partition.flush()
        await work(partition, commands)
        partition.close()
    rotten_once(world)
    with pytest.raises(StorageDamaged):
        await start(world, before, LAGGING)
    assert not world.stores
    events: list[Event] = []
    again = await start(world, events, LAGGING)
    assert stored(again.tables) == stored(folded(before + events))


async def test_a_store_found_damaged_by_who_looks_at_it_is_put_aside() -> None:
    world = World()
    before = await played(world, LAGGING)
    partition = await start(world, before, LAGGING)
    partition.flush()
    partition.close()
    rotten_once(world)
    partition = await start(world, before, LAGGING)
    with pytest.raises(StorageDamaged):
        list(map(partition.tables.peek, map(make_id, range(9))))
    partition.close()
    assert not world.stores
    again = await start(world, before, LAGGING)
    assert stored(again.tables) == stored(folded(before))


async def test_a_store_behind_the_log_that_cannot_be_written_anew_is_put_aside() -> None:
    world = World()
    before = await played(world)
    old = MemoryMedium()
    old.commit({b"x": b"leftover"}, 3)
    world.stores["partition-0"] = old
    rotten_once(world)
    events: list[Event] = []
    partition = await start(world, events)
    assert of(StorageRestored, events)
    assert stored(partition.tables) == stored(folded(before + events))


async def test_a_store_ahead_of_the_log_is_still_refused() -> None:
    world = World()
    before: list[Event] = []
    partition = await start(world, before)
    partition.flush()
    partition.close()
    world.stores["partition-0"].commit({}, 50)
    with pytest.raises(StorageError, match="not of one data folder"):
        await start(world, [])


async def test_the_log_before_the_records_that_are_wanted_is_never_trimmed() -> None:
    world = World()
    events = await played(world)
    lsn = of(SnapshotWritten, events)[-1].lsn
    assert int(world.disk.list_dir("partition-0")[0][:20]) <= lsn + 1
    name = f"partition-0/{world.disk.list_dir('partition-0')[0]}"
    world.disk.unlink(name)
    world.stores.clear()
    with pytest.raises((NothingToStartFrom, LogCorrupt)):
        await start(world, [])
