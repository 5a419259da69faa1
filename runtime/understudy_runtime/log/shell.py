"""A log on a disk: open and recover, read, append, trim.  What the bytes mean is decided in `core.py`.

`append` returns only after the batch is synced.  A failed sync raises SyncFailed and leaves the log unusable: it is
never retried, because what reached the medium is unknown; the process stops and the next one reads back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

import attrs

from understudy_runtime.limits import Limits
from understudy_runtime.log import core
from understudy_runtime.log.codec import Codec, CodecError
from understudy_runtime.log.core import Appended, Fenced, Frame, LogCorrupt, SegmentReader, Unknown
from understudy_runtime.model.events import LogTailCut, Observe
from understudy_runtime.world import Disk, File

C = TypeVar("C")


@attrs.frozen
class Segment:
    """A segment's path and the number of its first record."""

    path: str
    lsn_first: int


@attrs.frozen
class Trimmed:
    """Segments are gone for good: the first record left is *lsn_first*."""

    lsn_first: int
    segments: int
    bytes: int


@attrs.frozen
class Replayed(Generic[C]):
    """A batch read back: *commands* have the numbers from *lsn_first* on and one stamp."""

    lsn_first: int
    epoch: int
    time_ms: int
    commands: Sequence[C]


class Log(Generic[C]):
    """One log, opened for appending by its only owner.  Build it with `Log.open`."""

    def __init__(self, disk: Disk, folder: str, *, identity: int, codec: Codec, limits: Limits) -> None:
        self._disk = disk
        self._folder = folder
        self._identity = identity
        self._codec = codec
        self._limits = limits
        self._segments: list[Segment] = []
        self._file: File | None = None
        self._end = 0
        self._prewritten = 0
        self._is_closed = False
        self._in_doubt = False
        # Where frames of the last segment begin, a window apart, as recovery found them: a replay skips to its end.
        self._marks: list[tuple[int, int]] = []
        # Bytes of frames appended since the log was opened.
        self.bytes_appended = 0
        self.lsn_last = 0
        self.epoch_last = 0

    @classmethod
    async def open(
        cls, disk: Disk, folder: str, *, identity: int, codec: Codec, limits: Limits, observe: Observe
    ) -> Log[C]:
        """Open or create the log in *folder*; cut a torn tail.

        Raises LogForeign, LogNewer, LogCorrupt (each names the file) and DiskError.
        """
        log = cls(disk, folder, identity=identity, codec=codec, limits=limits)
        if not disk.exists(folder):
            disk.make_dir(folder)
            await disk.sync_dir("")
        await log._recover(observe)
        return log

    async def append(
        self, commands: Sequence[C], *, epoch: int, expected_lsn: int, time_ms: int
    ) -> Appended | Fenced | Unknown:
        """Make *commands* durable as the records from *expected_lsn* on, all stamped *time_ms*.

        Only the first of them, down to one, when all together are more than `limits.batch_bytes_max`: what was appended
        says how many.  Fenced when a newer epoch has written or *expected_lsn* is not the next one: nothing was written
        then.
        Raises SyncFailed, DiskFull, DiskError; the log is unusable afterwards.
        """
        assert commands, "an empty batch is never appended"
        assert not self._in_doubt, "one append at a time, and none after a failed one"
        if epoch < self.epoch_last or expected_lsn != self.lsn_last + 1:
            return Fenced(self.lsn_last, self.epoch_last)
        payload, count = self._codec.encode_within(commands, self._limits.batch_bytes_max)
        self._in_doubt = True
        if self._file is None or self._needs_segment(len(payload) + core.FRAME_EXTRA_BYTES):
            await self._new_segment(expected_lsn)
        frame = core.encode_frame(
            payload,
            identity=self._identity,
            lsn_first=expected_lsn,
            count=count,
            epoch=epoch,
            time_ms=time_ms,
            offset=self._end,
        )
        self.bytes_appended += len(frame)
        await self._write(frame)
        self._in_doubt = False
        self.epoch_last = epoch
        self.lsn_last += count
        assert self.lsn_last == expected_lsn + count - 1, "numbers have no gaps"
        return Appended(expected_lsn, self.lsn_last)

    @property
    def lsn_first(self) -> int:
        """The number of the first record that has not been trimmed, or of the first there will be."""
        return self._segments[0].lsn_first if self._segments else 1

    def bytes_after(self, lsn: int) -> int:
        """Bytes of the segments that begin after record *lsn*, and of the last one if it holds a later record."""
        if lsn >= self.lsn_last:
            return 0
        size = self._end
        for segment in self._segments[:-1]:
            if segment.lsn_first > lsn:
                size += self._size(segment)
        return size

    def close_segment(self) -> None:
        """Let the next append begin a segment, so that all before it can be trimmed."""
        self._is_closed = True

    async def trim(self, lsn: int) -> Trimmed:
        """Drop the segments that lie wholly at or below record *lsn*; the last one always stays.

        One by one, oldest first, each gone for good before the next: a crash leaves no gap.  Raises SyncFailed.
        """
        assert lsn <= self.lsn_last, "only what was appended is trimmed"
        segments = size = 0
        while len(self._segments) > 1 and self._segments[1].lsn_first <= lsn + 1:
            size += self._size(self._segments[0])
            self._disk.unlink(self._segments[0].path)
            await self._disk.sync_dir(self._folder)
            del self._segments[0]
            segments += 1
        return Trimmed(self.lsn_first, segments, size)

    def records(self, lsn_first: int = 1) -> Iterator[Replayed[C]]:
        """The batches that hold the records from *lsn_first* on, in order; the first may begin earlier.

        Raises LogCorrupt when records are missing, or a frame is damaged or not to be decoded.
        """
        assert lsn_first >= 1, "LSNs start at 1"
        if lsn_first < self.lsn_first:
            raise LogCorrupt(self._segments[0].path, 0, "the records before the first segment are missing")
        for position, segment in enumerate(self._segments):
            is_last = position + 1 == len(self._segments)
            lsn_end = self.lsn_last + 1 if is_last else self._segments[position + 1].lsn_first
            if lsn_end <= lsn_first:
                continue
            with self._reading(segment, is_last=is_last) as reader:
                if is_last:
                    reader.skip(self._marks, lsn_first)
                for frame in reader.frames():
                    if frame.lsn_last >= lsn_first:
                        yield self._decode(segment, frame)
            if reader.lsn_next != lsn_end:
                raise LogCorrupt(
                    segment.path, reader.end, f"the records {reader.lsn_next} to {lsn_end - 1} are missing"
                )

    def close(self) -> None:
        """Release the file.  Nothing is written."""
        if self._file is not None:
            self._file.close()
            self._file = None

    async def _recover(self, observe: Observe) -> None:
        names = self._disk.list_dir(self._folder)
        self._segments = [Segment(f"{self._folder}/{name}", core.segment_lsn(self._folder, name)) for name in names]
        await self._drop_unfinished_segment()
        if not self._segments:
            return
        last = self._segments[-1]
        scan = self._scan(last, is_last=True)
        self._marks = scan.marks
        self.lsn_last = scan.lsn_next - 1
        self.epoch_last = scan.epoch_last if scan.last_offset else self._epoch_before(last)
        self._file = self._disk.open(last.path)
        self._end = scan.end
        self._is_closed = scan.format < core.SEGMENT_FORMAT
        self._prewritten = self._file.size()
        if scan.torn_bytes:
            self._file.truncate(scan.end)
            self._prewritten = scan.end
            observe(LogTailCut(self._folder, scan.torn_bytes))
        await self._settle(scan)

    async def _settle(self, scan: SegmentReader) -> None:
        """Make what was just read durable: the process that wrote it may have died, or its sync failed, before it was.

        A failed sync can leave the last frame in the system's cache only, marked clean: so it is written again.  Where
        there is no frame, it is the segment's header.
        """
        assert self._file is not None, "a segment is open"
        if scan.last_offset:
            self._file.pwrite(scan.last_offset, self._file.pread(scan.last_offset, scan.end - scan.last_offset))
        else:
            self._file.pwrite(0, self._file.pread(0, scan.end))
        await self._file.fdatasync()
        await self._disk.sync_dir(self._folder)

    async def _drop_unfinished_segment(self) -> None:
        """Remove the last segment when the power went before its header was durable: nothing was ever in it."""
        if not self._segments:
            return
        last = self._segments[-1]
        head = self._read_head(last)
        has_begun = len(head) == core.SEGMENT_HEADER.size and any(head)
        if not has_begun and core.is_unfinished_segment(self._read(last), self._identity, last.lsn_first):
            if len(self._segments) == 1 and last.lsn_first > 1:
                raise LogCorrupt(last.path, 0, "the segment header is missing, and it is the only segment")
            self._disk.unlink(last.path)
            await self._disk.sync_dir(self._folder)
            self._segments.pop()

    def _epoch_before(self, last: Segment) -> int:
        """The epoch of the last frame before an empty last segment."""
        if len(self._segments) == 1:
            return 0
        scan = self._scan(self._segments[-2], is_last=False)
        assert scan.last_offset, "a segment is closed only after it held a frame"
        if scan.lsn_next != last.lsn_first:
            raise LogCorrupt(last.path, 0, f"the records before {last.lsn_first} are missing in the segment before")
        return scan.epoch_last

    def _read(self, segment: Segment) -> bytes:
        file = self._disk.open(segment.path)
        try:
            return file.pread(0, file.size())
        finally:
            file.close()

    def _read_head(self, segment: Segment) -> bytes:
        file = self._disk.open(segment.path)
        try:
            return file.pread(0, core.SEGMENT_HEADER.size)
        finally:
            file.close()

    @contextmanager
    def _reading(self, segment: Segment, *, is_last: bool) -> Iterator[SegmentReader]:
        file = self._disk.open(segment.path)
        try:
            size = file.size()
            yield SegmentReader(
                segment.path, file.pread, size, identity=self._identity, lsn_first=segment.lsn_first, is_last=is_last
            )
        finally:
            file.close()

    def _scan(self, segment: Segment, *, is_last: bool) -> SegmentReader:
        """What is in *segment*: nothing of it is kept but where it ends."""
        with self._reading(segment, is_last=is_last) as reader:
            for _ in reader.frames():
                pass
        return reader

    def _decode(self, segment: Segment, frame: Frame) -> Replayed[C]:
        try:
            commands = self._codec.decode(frame.payload)
        except CodecError as error:
            raise LogCorrupt(segment.path, frame.offset, str(error)) from error
        if len(commands) != frame.record_count:
            raise LogCorrupt(
                segment.path, frame.offset, f"{len(commands)} records, the frame says {frame.record_count}"
            )
        return Replayed(frame.lsn_first, frame.epoch, frame.time_ms, commands)

    def _size(self, segment: Segment) -> int:
        file = self._disk.open(segment.path)
        try:
            return file.size()
        finally:
            file.close()

    def _needs_segment(self, frame_bytes: int) -> bool:
        return self._is_closed or core.needs_segment(self._end, frame_bytes, self._limits.segment_bytes_max)

    async def _new_segment(self, lsn_first: int) -> None:
        """Start a segment: header, sync the file, sync the name; only then a frame may go in."""
        if self._file is not None:
            self._file.close()
        if self._segments and self._segments[-1].lsn_first == lsn_first:
            self._segments.pop()  # It holds no record: its header is written anew.
        segment = Segment(f"{self._folder}/{core.segment_name(lsn_first)}", lsn_first)
        assert not self._segments or segment.lsn_first > self._segments[-1].lsn_first, "segments grow"
        self._file = self._disk.open(segment.path, create=True)
        self._file.pwrite(0, core.encode_segment_header(self._identity, lsn_first))
        await self._file.fdatasync()
        await self._disk.sync_dir(self._folder)
        self._segments.append(segment)
        self._end = core.SEGMENT_HEADER.size
        self._marks = []
        self._prewritten = self._file.size()
        self._is_closed = False

    async def _write(self, frame: bytes) -> None:
        """Put *frame* behind the last one and sync.  Zeros written ahead spare most syncs a change of size."""
        assert self._file is not None, "a segment is open"
        end = self._end + len(frame)
        if end > self._prewritten and self._limits.log_prewrite_bytes:
            frame += bytes(self._limits.log_prewrite_bytes)
        self._file.pwrite(self._end, frame)
        await self._file.fdatasync()
        self._prewritten = max(self._prewritten, self._end + len(frame))
        self._end = end
