"""The log: what was appended is read back; damage is a clean prefix or a named error; the bytes are golden."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from understudy_runtime.limits import Limits
from understudy_runtime.log import core
from understudy_runtime.log.codec import COMMANDS
from understudy_runtime.log.core import Appended, Fenced, LogCorrupt, LogError, LogForeign, LogNewer
from understudy_runtime.log.shell import Log, Trimmed
from understudy_runtime.model.commands import Command, Complete, LeaderElected, TimerFired
from understudy_runtime.model.events import Event, LogTailCut
from understudy_runtime.model.invocation import Success
from understudy_runtime.world import DiskFull, SyncFailed

from tests.runtime.node.fakes import FakeDisk

GOLDEN = Path(__file__).parents[2] / "golden"
IDENTITY = 0x0123456789ABCDEF
SMALL = Limits(segment_bytes_max=300, log_prewrite_bytes=64)
Events = list[Event]
NAMES = (core.segment_name(1), core.segment_name(5), "x", "1.log")


async def open_log(disk: FakeDisk, limits: Limits = SMALL, events: Events | None = None) -> Log[Command]:
    observe = (lambda event: None) if events is None else events.append
    return await Log.open(disk, "log", identity=IDENTITY, codec=COMMANDS, limits=limits, observe=observe)


def batch(number: int, count: int = 1) -> list[Command]:
    return [TimerFired(number * 1000 + i, i) for i in range(count)]


async def fill(disk: FakeDisk, batches: int, limits: Limits = SMALL) -> list[Command]:
    log = await open_log(disk, limits)
    commands: list[Command] = []
    for number in range(batches):
        more = batch(number, number % 3 + 1)
        found = await log.append(more, epoch=1, expected_lsn=log.lsn_last + 1, time_ms=number)
        commands += more
        assert found == Appended(len(commands) - len(more) + 1, len(commands))
    log.close()
    return commands


def read_all(log: Log[Command], lsn_first: int = 1) -> list[Command]:
    commands: list[Command] = []
    for replayed in log.records(lsn_first):
        for lsn, command in enumerate(replayed.commands, replayed.lsn_first):
            if lsn >= lsn_first:
                commands.append(command)
    return commands


async def test_what_was_appended_is_read_back_over_segments() -> None:
    disk = FakeDisk()
    commands = await fill(disk, 12)
    disk.power_cut()
    log = await open_log(disk)
    assert len(disk.list_dir("log")) > 2, "the bound makes several segments"
    assert log.lsn_last == len(commands)
    assert log.epoch_last == 1
    for lsn in range(1, len(commands) + 1):
        assert read_all(log, lsn) == commands[lsn - 1 :]


async def test_no_prewriting_reads_the_same() -> None:
    disk = FakeDisk()
    plain = Limits(segment_bytes_max=300, log_prewrite_bytes=0)
    commands = await fill(disk, 6, plain)
    assert read_all(await open_log(disk, plain)) == commands


async def test_an_older_epoch_and_a_wrong_number_are_fenced() -> None:
    disk = FakeDisk()
    log = await open_log(disk)
    await log.append([LeaderElected(2, 1)], epoch=2, expected_lsn=1, time_ms=0)
    before = bytes(disk.files[f"log/{core.segment_name(1)}"].seen)
    assert await log.append(batch(1), epoch=1, expected_lsn=2, time_ms=0) == Fenced(1, 2)
    assert await log.append(batch(1), epoch=2, expected_lsn=3, time_ms=0) == Fenced(1, 2)
    assert bytes(disk.files[f"log/{core.segment_name(1)}"].seen) == before, "a fenced append writes nothing"
    assert await log.append(batch(1), epoch=2, expected_lsn=2, time_ms=0) == Appended(2, 2)


async def test_an_append_is_durable_before_it_returns() -> None:
    disk = FakeDisk()
    log = await open_log(disk)
    for number in range(8):
        await log.append(batch(number), epoch=1, expected_lsn=number + 1, time_ms=0)
        copy = FakeDisk()
        copy.durable_names = dict(disk.durable_names)
        left = {name: medium.durable for name, medium in copy.durable_names.items()}
        for name, data in left.items():
            copy.open(name, create=True).pwrite(0, data)
        assert len(read_all(await open_log(copy))) == number + 1


async def test_a_failed_sync_stops_the_log_for_good() -> None:
    disk = FakeDisk()
    log = await open_log(disk)
    await log.append(batch(0), epoch=1, expected_lsn=1, time_ms=0)
    disk.failing_sync = disk.syncs + 1
    with pytest.raises(SyncFailed):
        await log.append(batch(1), epoch=1, expected_lsn=2, time_ms=0)
    with pytest.raises(AssertionError, match="none after a failed one"):
        await log.append(batch(1), epoch=1, expected_lsn=2, time_ms=0)


async def test_recovery_makes_what_it_read_durable() -> None:
    disk = FakeDisk()
    await fill(disk, 1)
    log = await open_log(disk)
    disk.failing_sync = disk.syncs + 1
    with pytest.raises(SyncFailed):
        await log.append(batch(7), epoch=1, expected_lsn=2, time_ms=0)
    recovered = await open_log(disk)  # the process restarted, the machine did not
    seen = read_all(recovered)
    disk.power_cut()
    assert read_all(await open_log(disk)) == seen, "what recovery showed must survive a power cut"


@settings(max_examples=80, deadline=None)
@given(kept=st.lists(st.booleans(), min_size=8, max_size=8), batches=st.integers(1, 8), size=st.integers(1, 300))
def test_a_torn_tail_is_cut_to_what_was_acknowledged(kept: list[bool], batches: int, size: int) -> None:
    """Of an unsynced write each sector is kept or not; nothing, or the whole batch, comes back."""
    limits = Limits(segment_bytes_max=3000, log_prewrite_bytes=64)

    async def body() -> None:
        disk = FakeDisk()
        commands = await fill(disk, batches, limits)
        log = await open_log(disk, limits)
        disk.failing_sync = disk.syncs + 1
        unsynced = batch(99, size)
        with pytest.raises(SyncFailed):
            await log.append(unsynced, epoch=1, expected_lsn=len(commands) + 1, time_ms=9)

        def torn(path: str, durable: bytes, seen: bytes) -> bytes:
            left = bytearray(durable)
            for number, at in enumerate(range(0, len(seen), core.SECTOR_BYTES)):
                if kept[number % len(kept)]:
                    left += bytes(max(0, at - len(left)))
                    left[at : at + core.SECTOR_BYTES] = seen[at : at + core.SECTOR_BYTES]
            return bytes(left)

        disk.power_cut(torn)
        found = read_all(await open_log(disk, limits))
        assert found in (commands, commands + unsynced)
        events: Events = []
        again = await open_log(disk, limits, events)
        assert read_all(again) == found
        assert not events, "the tail is cut once"
        await again.append(batch(1), epoch=1, expected_lsn=len(found) + 1, time_ms=0)
        assert read_all(await open_log(disk, limits)) == found + batch(1)

    trio.run(body)


@pytest.mark.parametrize("size", [1, 60, 75, 76, 77, 78, 79])
async def test_damage_to_the_last_frame_is_told_from_a_torn_tail(size: int) -> None:
    """A power cut takes whole sectors; a changed byte in a frame that is all there was acknowledged and is damage."""
    for prewrite in (0, 64):
        disk = FakeDisk()
        limits = Limits(log_prewrite_bytes=prewrite)
        log = await open_log(disk, limits)
        await log.append(batch(1, size), epoch=1, expected_lsn=1, time_ms=0)
        name = f"log/{core.segment_name(1)}"
        length = len(disk.files[name].seen.rstrip(b"\0"))
        start = core.SEGMENT_HEADER.size
        for at in range(start, length):
            disk.files[name].seen[at] ^= 0x10
            with pytest.raises(LogCorrupt, match=f"{name}: damaged at byte {start}"):
                await open_log(disk, limits)
            disk.files[name].seen[at] ^= 0x10


async def test_a_cut_tail_is_told() -> None:
    disk = FakeDisk()
    commands = await fill(disk, 2, Limits(log_prewrite_bytes=0))
    name = f"log/{core.segment_name(1)}"
    disk.open(name).pwrite(disk.open(name).size(), b"UFRM\x00\x01")
    events: Events = []
    log = await open_log(disk, events=events)
    assert events == [LogTailCut("log", 6)]
    assert read_all(log) == commands


@settings(max_examples=300, deadline=None)
@given(data=st.data(), batches=st.integers(1, 12), segment_bytes=st.sampled_from([300, 10_000]))
def test_a_flipped_bit_is_a_named_error(data: st.DataObject, batches: int, segment_bytes: int) -> None:
    """No bit of what was synced can change without being found, wherever frames and sectors end."""
    limits = Limits(segment_bytes_max=segment_bytes, log_prewrite_bytes=64)

    async def body() -> None:
        disk = FakeDisk()
        await fill(disk, batches, limits)
        name = data.draw(st.sampled_from(sorted(disk.files)))
        size = len(disk.files[name].seen.rstrip(b"\0"))
        bit = data.draw(st.integers(0, size * 8 - 1))
        disk.files[name].seen[bit // 8] ^= 1 << bit % 8
        with pytest.raises(LogError, match=name):
            read_all(await open_log(disk, limits))

    trio.run(body)


@settings(max_examples=150, deadline=None)
@given(
    names=st.lists(st.sampled_from([core.segment_name(1), core.segment_name(5), "x", "1.log"]), max_size=3),
    data=st.data(),
)
def test_arbitrary_files_are_a_named_error_or_an_empty_log(names: list[str], data: st.DataObject) -> None:
    async def body() -> None:
        disk = FakeDisk()
        header = core.encode_segment_header(IDENTITY, 1)
        for name in names:
            content = data.draw(st.binary(max_size=200))
            disk.open(f"log/{name}", create=True).pwrite(0, data.draw(st.sampled_from([b"", header])) + content)
        try:
            log = await open_log(disk)
            assert read_all(log) == []
        except LogError as error:
            assert "log/" in str(error)  # noqa: PT017

    trio.run(body)


async def test_damage_before_the_tail_refuses_to_start_and_names_the_place() -> None:
    disk = FakeDisk()
    await fill(disk, 3, Limits(log_prewrite_bytes=0))
    name = f"log/{core.segment_name(1)}"
    offset = core.SEGMENT_HEADER.size
    disk.files[name].seen[offset + core.FRAME_HEADER_BYTES + 2] ^= 1
    with pytest.raises(LogCorrupt, match=rf"{name}: damaged at byte {offset}: .* a good frame follows"):
        await open_log(disk)


@pytest.mark.parametrize("window_bytes", [core.FRAME_HEADER_BYTES, 64, 100, 700])
async def test_a_segment_is_read_in_windows_and_replayed_from_near_its_end(
    window_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the windows cut: frames that begin in one and end behind it, and are longer than one."""
    monkeypatch.setattr(core, "WINDOW_BYTES", window_bytes)
    disk = FakeDisk()
    commands = await fill(disk, 30, Limits(log_prewrite_bytes=0))
    for lsn_first in (1, 2, 17, len(commands)):
        log = await open_log(disk)
        reads = disk.files[f"log/{core.segment_name(1)}"].reads
        reads.clear()
        assert read_all(log, lsn_first) == commands[lsn_first - 1 :]
        assert max(length for _, length in reads) <= max(window_bytes, 200), "a window, or one frame"
        if lsn_first == len(commands):
            assert min(offset for offset, _ in reads if offset) > 1_000, "what lies before is not read again"
        log.close()


async def test_a_missing_segment_refuses() -> None:
    disk = FakeDisk()
    await fill(disk, 12)
    names = disk.list_dir("log")
    disk.unlink(f"log/{names[1]}")
    log = await open_log(disk)
    with pytest.raises(LogCorrupt, match="are missing"):
        read_all(log)
    disk.unlink(f"log/{names[0]}")
    log = await open_log(disk)
    assert log.lsn_first > 1
    with pytest.raises(LogCorrupt, match="before the first segment"):
        read_all(log)


async def test_a_newer_format_and_a_foreign_log_are_refused_by_name() -> None:
    disk = FakeDisk()
    await fill(disk, 1)
    name = f"log/{core.segment_name(1)}"
    head = bytearray(core.encode_segment_header(IDENTITY, 1))
    head[9] = core.SEGMENT_FORMAT + 1
    head[-8:] = core.xxh3_64(bytes(head[:-8])).digest()
    good = bytes(disk.files[name].seen[: len(head)])
    disk.files[name].seen[: len(head)] = head
    with pytest.raises(LogNewer, match=f"{name}: log format 3 is newer"):
        await open_log(disk)
    disk.files[name].seen[: len(head)] = core.encode_segment_header(IDENTITY + 1, 1)
    with pytest.raises(LogForeign, match=f"{name}: belongs to log"):
        await open_log(disk)
    disk.files[name].seen[: len(head)] = b"PK" + good[2:]
    with pytest.raises(LogForeign, match=f"{name}: not a log segment"):
        await open_log(disk)
    disk.files[name].seen[: len(head)] = good
    disk.open("log/notes.txt", create=True)
    with pytest.raises(LogForeign, match=r"log/notes.txt: not a segment"):
        await open_log(disk)


async def test_a_segment_whose_header_was_not_synced_is_dropped() -> None:
    header = core.encode_segment_header(IDENTITY, 4)
    for left in (b"", bytes(40), header[:17]):
        disk = FakeDisk()
        commands = await fill(disk, 2, Limits(log_prewrite_bytes=0))
        assert len(commands) == 3
        disk.open(f"log/{core.segment_name(4)}", create=True).pwrite(0, left)
        log = await open_log(disk)
        assert read_all(log) == commands
        assert disk.list_dir("log") == [core.segment_name(1)]
        await log.append(batch(5), epoch=1, expected_lsn=4, time_ms=0)


async def test_an_empty_last_segment_keeps_the_epoch() -> None:
    disk = FakeDisk()
    await fill(disk, 2, Limits(log_prewrite_bytes=0))
    disk.open(f"log/{core.segment_name(4)}", create=True).pwrite(0, core.encode_segment_header(IDENTITY, 4))
    log = await open_log(disk)
    assert (log.lsn_last, log.epoch_last) == (3, 1)
    assert len(read_all(log)) == 3


def golden_segment(format_: int) -> bytes:
    return bytes.fromhex((GOLDEN / f"log_segment_v{format_}.hex").read_text().replace("\n", ""))


async def test_an_older_format_is_read_and_never_appended_to() -> None:
    old = golden_segment(1)
    disk = FakeDisk()
    disk.open(f"log/{core.segment_name(1)}", create=True).pwrite(0, old)
    log = await open_log(disk)
    commands = batch(0) + batch(1, 2)
    assert read_all(log) == commands
    await log.append(batch(7), epoch=1, expected_lsn=4, time_ms=0)
    assert bytes(disk.files[f"log/{core.segment_name(1)}"].seen) == old
    assert disk.list_dir("log") == [core.segment_name(1), core.segment_name(4)]
    again = await open_log(disk)
    assert read_all(again) == commands + batch(7)
    await again.append(batch(8), epoch=1, expected_lsn=5, time_ms=0)
    assert len(disk.list_dir("log")) == 2, "the new segment is of the new format"


async def test_an_empty_segment_of_an_older_format_is_begun_anew() -> None:
    disk = FakeDisk()
    disk.open(f"log/{core.segment_name(1)}", create=True).pwrite(0, golden_segment(1)[: core.SEGMENT_HEADER.size])
    log = await open_log(disk)
    await log.append(batch(7), epoch=1, expected_lsn=1, time_ms=0)
    assert read_all(await open_log(disk)) == batch(7)
    assert disk.list_dir("log") == [core.segment_name(1)]


async def test_the_bytes_of_a_segment_are_golden() -> None:
    disk = FakeDisk()
    await fill(disk, 2, Limits(log_prewrite_bytes=8))
    found = bytes(disk.files[f"log/{core.segment_name(1)}"].seen)
    assert found == golden_segment(core.SEGMENT_FORMAT)


async def test_a_full_disk_stops_the_log_and_keeps_what_was_acknowledged() -> None:
    disk = FakeDisk()
    commands = await fill(disk, 3)
    log = await open_log(disk)

    def refuse(data: bytes) -> None:
        raise DiskFull("no space is left")

    disk.before_write = refuse
    with pytest.raises(DiskFull):
        await log.append(batch(9), epoch=1, expected_lsn=len(commands) + 1, time_ms=0)
    disk.before_write = lambda data: None
    assert read_all(await open_log(disk)) == commands


async def test_trimming_drops_whole_segments_and_never_the_last() -> None:
    disk = FakeDisk()
    commands = await fill(disk, 12)
    log = await open_log(disk)
    firsts = [core.segment_lsn("log", name) for name in disk.list_dir("log")]
    assert len(firsts) > 3
    assert (await log.trim(firsts[1] - 2)).segments == 0, "a segment with a record that is wanted stays"
    sizes = [len(disk.files[f"log/{core.segment_name(lsn)}"].seen) for lsn in firsts]
    assert await log.trim(firsts[2] - 1) == Trimmed(firsts[2], 2, sizes[0] + sizes[1])
    assert read_all(log, firsts[2]) == commands[firsts[2] - 1 :]
    disk.power_cut()
    again = await open_log(disk)
    assert (again.lsn_first, again.lsn_last) == (firsts[2], len(commands))
    await again.trim(len(commands))
    assert again.lsn_first == firsts[-1]
    await again.append(batch(1), epoch=1, expected_lsn=len(commands) + 1, time_ms=0)
    assert read_all(await open_log(disk), firsts[-1]) == commands[firsts[-1] - 1 :] + batch(1)


async def test_a_crash_while_trimming_leaves_no_gap() -> None:
    for sync in range(1, 4):
        disk = FakeDisk()
        commands = await fill(disk, 12)
        log = await open_log(disk)
        disk.failing_sync = disk.syncs + sync
        with pytest.raises(SyncFailed):
            await log.trim(len(commands))
        disk.power_cut()
        again = await open_log(disk)
        assert read_all(again, again.lsn_first) == commands[again.lsn_first - 1 :]


async def test_a_closed_segment_can_be_trimmed_once_the_next_is_begun() -> None:
    disk = FakeDisk()
    plain = Limits(log_prewrite_bytes=0)
    log = await open_log(disk, plain)
    await log.append(batch(0, 5), epoch=1, expected_lsn=1, time_ms=0)
    log.close_segment()
    assert (await log.trim(5)).segments == 0
    assert log.bytes_after(5) == 0
    await log.append(batch(1), epoch=1, expected_lsn=6, time_ms=0)
    assert (await log.trim(5)).lsn_first == 6
    assert log.bytes_after(5) == len(disk.files[f"log/{core.segment_name(6)}"].seen)
    await log.append(batch(2), epoch=1, expected_lsn=7, time_ms=0)
    assert disk.list_dir("log") == [core.segment_name(6)]


async def test_the_only_segment_of_a_trimmed_log_must_have_its_header() -> None:
    disk = FakeDisk()
    disk.open(f"log/{core.segment_name(9)}", create=True).pwrite(0, bytes(40))
    with pytest.raises(LogCorrupt, match="it is the only segment"):
        await open_log(disk)


async def test_a_batch_is_bounded_by_its_bytes() -> None:
    limits = Limits(log_prewrite_bytes=0, batch_bytes_max=20)
    disk = FakeDisk()
    log = await open_log(disk, limits)
    commands = batch(3, 10)
    lsn = 1
    while lsn <= 10:
        found = await log.append(commands[lsn - 1 :], epoch=1, expected_lsn=lsn, time_ms=0)
        assert isinstance(found, Appended)
        assert 1 <= found.lsn_last - found.lsn_first + 1 <= 3
        lsn = found.lsn_last + 1
    assert read_all(await open_log(disk, limits)) == commands
    huge = [Complete("x", 1, Success(bytes(500)))]
    assert await log.append(huge, epoch=1, expected_lsn=11, time_ms=0) == Appended(11, 11), "one always goes"


@settings(max_examples=60, deadline=None)
@given(zeros=st.integers(0, 3000), before=st.integers(0, 600), prewrite=st.sampled_from([0, 64, 5000]))
def test_rot_in_a_frame_of_zeros_is_no_torn_tail(zeros: int, before: int, prewrite: int) -> None:
    """A payload may hold sectors of zeros: that one is missing shows in the count, not in its bytes."""

    async def body() -> None:
        disk = FakeDisk()
        log = await open_log(disk, Limits(log_prewrite_bytes=prewrite))
        value = b"x" * before + bytes(zeros) + b"y"
        await log.append([Complete("x", 1, Success(value))], epoch=1, expected_lsn=1, time_ms=0)
        seen = disk.files[f"log/{core.segment_name(1)}"].seen
        start, end = core.SEGMENT_HEADER.size, len(seen.rstrip(b"\0"))
        for at in (start, start + 30, start + core.FRAME_HEADER_BYTES - 2, (start + end) // 2, end - 2, end - 1):
            seen[at] ^= 0x10
            with pytest.raises(LogCorrupt, match="damaged at byte"):
                await open_log(disk)
            seen[at] ^= 0x10
        whole = bytes(seen)
        for sector in range(start // core.SECTOR_BYTES, end // core.SECTOR_BYTES + 1):
            at = max(start, sector * core.SECTOR_BYTES)
            upto = min((sector + 1) * core.SECTOR_BYTES, len(whole))
            seen[at:upto] = bytes(upto - at)
            expected = [] if bytes(seen) != whole else [Complete("x", 1, Success(value))]
            assert read_all(await open_log(disk)) == expected
            seen[:] = whole

    trio.run(body)
