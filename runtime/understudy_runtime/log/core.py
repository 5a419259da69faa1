"""What a log looks like on a disk, and every decision about it.  Sans-IO: bytes in, values or named errors out.

A log is a folder of segments.  A segment is a header and frames; a frame is a header, one batch of records and an end
mark.  The header has a checksum of the batch and one of its own, so that its length can be trusted where the batch
cannot; both are seeded with the log's identity, so a frame of another log never reads as one of ours.  A frame says how
many of the sectors it covers are zeros as written, and header and batch each end with a mark that is no zero: so a
sector that is missing is always told from one that was written.  At most one frame is ever written and not yet synced,
therefore:

- behind the last frame of the *last* segment may lie the remains of one frame: a torn tail, cut, never acknowledged;
  a medium writes sectors whole, so of a torn frame at least one sector's share is missing or still zero;
- any other bad frame is damage and the log refuses to open, naming file and offset;
- zeros behind the last frame are the prewritten end of a segment, in any segment.

The first segments of a log may be gone: who trims it has a snapshot of what they did.

Format 1 neither counted zero sectors nor marked the end of a frame's header; it is read, and never appended to.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import attrs
from xxhash import xxh3_64, xxh3_64_intdigest

SEGMENT_MAGIC: Final = b"UNDERLOG"
SEGMENT_FORMAT: Final = 2
SEGMENT_HEADER: Final = struct.Struct(">8sHHIQQQ")  # magic, format, header bytes, zero, identity, lsn_first, checksum
SEGMENT_SUFFIX: Final = ".log"
LSN_DIGITS: Final = 20
SECTOR_BYTES: Final = 512
FRAME_MAGIC: Final = b"UFRM"
CHECKSUM: Final = struct.Struct(">Q")
MARK: Final = b"."
ZERO_SECTOR: Final = bytes(SECTOR_BYTES)
# magic, payload bytes, lsn_first, epoch, time_ms, record count, zero sectors, payload checksum; then the header's own
# checksum and a mark.
FRAME_HEADER: Final = struct.Struct(">4sIQQqIIQ")
FRAME_HEADER_BYTES: Final = FRAME_HEADER.size + CHECKSUM.size + len(MARK)
# Format 1: magic, payload bytes, lsn_first, epoch, time_ms, record count, payload checksum; the checksum follows.
FRAME_HEADER_1: Final = struct.Struct(">4sIQQqIQ")
FRAME_HEADER_1_BYTES: Final = FRAME_HEADER_1.size + CHECKSUM.size
# What a frame has beside its payload.
FRAME_EXTRA_BYTES: Final = FRAME_HEADER_BYTES + len(MARK)
FRAME_BYTES_MAX: Final = (1 << 32) - 1
# What is read at once: a whole segment would be in memory otherwise, and its pages would stay with the process.
WINDOW_BYTES: Final = 256 * 1024


class LogError(Exception):
    """A log cannot be opened: which file, what was found, what was expected, what to do."""


class LogForeign(LogError):
    """A file in the log's folder is not of this log."""


class LogNewer(LogError):
    """A segment was written in a format newer than this program knows."""


class LogCorrupt(LogError):
    """Bytes that were acknowledged are damaged or missing."""

    def __init__(self, path: str, offset: int, reason: str) -> None:
        super().__init__(
            f"{path}: damaged at byte {offset}: {reason}. The log is the only copy of what was acknowledged: "
            "restore the data folder from a backup; nothing has been changed"
        )
        self.path = path
        self.offset = offset


@attrs.frozen
class Appended:
    """The records are durable and have these numbers: *lsn_first* to *lsn_last*."""

    lsn_first: int
    lsn_last: int


@attrs.frozen
class Fenced:
    """Another leader has spoken: the log is at *lsn_last* in *epoch*."""

    lsn_last: int
    epoch: int


@attrs.frozen
class Unknown:
    """The medium did not say whether the records are durable: read back before acting.  A local file always knows."""


class FrameHead(NamedTuple):
    """What a frame's header says.  `start` and `end` bound its payload; `zero_sectors` None: format 1 did not count."""

    start: int
    end: int
    lsn_first: int
    epoch: int
    time_ms: int
    record_count: int
    zero_sectors: int | None
    checksum: int


class Frame(NamedTuple):
    """One checked frame at *offset* of its segment; the next one starts at *end*."""

    offset: int
    end: int
    lsn_first: int
    record_count: int
    epoch: int
    time_ms: int
    payload: bytes

    @property
    def lsn_last(self) -> int:
        return self.lsn_first + self.record_count - 1


def segment_name(lsn_first: int) -> str:
    """
    >>> segment_name(1)
    '00000000000000000001.log'
    """
    assert lsn_first >= 1, "LSNs start at 1"
    return f"{lsn_first:0{LSN_DIGITS}d}{SEGMENT_SUFFIX}"


def segment_lsn(folder: str, name: str) -> int:
    """The first LSN a segment's *name* tells.  Raises LogForeign for any other name."""
    stem = name.removesuffix(SEGMENT_SUFFIX)
    if len(name) != LSN_DIGITS + len(SEGMENT_SUFFIX) or not (stem.isascii() and stem.isdigit()) or int(stem) < 1:
        raise LogForeign(f"{folder}/{name}: not a segment of a log; move it out of the data folder")
    return int(stem)


def encode_segment_header(identity: int, lsn_first: int, format_: int = SEGMENT_FORMAT) -> bytes:
    assert lsn_first >= 1, "LSNs start at 1"
    body = SEGMENT_HEADER.pack(SEGMENT_MAGIC, format_, SEGMENT_HEADER.size, 0, identity, lsn_first, 0)[: -CHECKSUM.size]
    return body + CHECKSUM.pack(xxh3_64(body).intdigest())


def is_unfinished_segment(data: bytes, identity: int, lsn_first: int) -> bool:
    """Whether *data* is what a crash leaves of an unsynced segment header: zeros, or a header's beginning."""
    if not any(data):
        return True
    headers = [encode_segment_header(identity, lsn_first, format_) for format_ in range(1, SEGMENT_FORMAT + 1)]
    return any(len(data) < len(header) and header.startswith(data) for header in headers)


def check_segment_header(path: str, head: bytes, *, identity: int, lsn_first: int) -> int:
    """The format of the segment.

    Raises LogNewer, LogForeign or LogCorrupt unless *head* opens this log's segment from *lsn_first* on.
    """
    assert len(head) == SEGMENT_HEADER.size, "a whole header"
    magic, format_, _, _, found_identity, found_lsn, checksum = SEGMENT_HEADER.unpack(head)
    if magic != SEGMENT_MAGIC:
        raise LogForeign(f"{path}: not a log segment (it starts with {magic!r}); move it out of the data folder")
    if checksum != xxh3_64(head[: -CHECKSUM.size]).intdigest():
        raise LogCorrupt(path, 0, "the segment header's checksum does not match")
    if format_ > SEGMENT_FORMAT:
        raise LogNewer(
            f"{path}: log format {format_} is newer than this program knows ({SEGMENT_FORMAT}); "
            "start the version that wrote it, or a newer one"
        )
    if found_identity != identity:
        raise LogForeign(
            f"{path}: belongs to log {found_identity:#018x}, not to {identity:#018x}; it was copied from another folder"
        )
    if found_lsn != lsn_first:
        raise LogCorrupt(path, 0, f"the header says the first record is {found_lsn}, the name says {lsn_first}")
    return int(format_)


def encode_frame(
    payload: bytes, *, identity: int, lsn_first: int, count: int, epoch: int, time_ms: int, offset: int
) -> bytes:
    """One batch of *count* records as the bytes that go to *offset* of a segment."""
    assert payload, "a frame holds a batch"
    assert count >= 1, "a batch holds a record"
    assert len(payload) <= FRAME_BYTES_MAX, "a batch is bounded where it is made"
    zero_sectors = 0
    if ZERO_SECTOR in payload:
        zero_sectors = zero_sectors_in(payload, offset + FRAME_HEADER_BYTES)
    checksum = xxh3_64_intdigest(payload, identity)
    head = FRAME_HEADER.pack(FRAME_MAGIC, len(payload), lsn_first, epoch, time_ms, count, zero_sectors, checksum)
    return b"".join((head, CHECKSUM.pack(xxh3_64_intdigest(head, identity)), MARK, payload, MARK))


def zero_sectors_in(data: bytes, offset: int) -> int:
    """How many whole sectors are zeros when *data* lies at *offset*."""
    first = -offset % SECTOR_BYTES
    return sum(data.startswith(ZERO_SECTOR, at) for at in range(first, len(data) - SECTOR_BYTES + 1, SECTOR_BYTES))


def read_head(data: bytes, offset: int, identity: int, format_: int) -> FrameHead | None:
    """What the frame header at *offset* says; None when there is no good one."""
    if not data.startswith(FRAME_MAGIC, offset):
        return None
    form = FRAME_HEADER_1 if format_ == 1 else FRAME_HEADER
    head_end = offset + form.size
    start = offset + (FRAME_HEADER_1_BYTES if format_ == 1 else FRAME_HEADER_BYTES)
    if len(data) < start:
        return None
    (checksum,) = CHECKSUM.unpack_from(data, head_end)
    if checksum != xxh3_64_intdigest(data[offset:head_end], identity):
        return None
    if format_ == 1:
        _, length, lsn_first, epoch, time_ms, count, payload_checksum = form.unpack_from(data, offset)
        return FrameHead(start, start + length, lsn_first, epoch, time_ms, count, None, payload_checksum)
    if not data.startswith(MARK, start - len(MARK)):
        return None
    _, length, lsn_first, epoch, time_ms, count, zero_sectors, payload_checksum = form.unpack_from(data, offset)
    return FrameHead(start, start + length, lsn_first, epoch, time_ms, count, zero_sectors, payload_checksum)


def read_frame(data: bytes, offset: int, identity: int, format_: int = SEGMENT_FORMAT, base: int = 0) -> Frame | str:
    """The frame at *offset* of *data*, or why there is none.  *data* lies at *base* of its segment."""
    head = read_head(data, offset, identity, format_)
    if head is None:
        return "no frame header is here"
    if len(data) <= head.end:
        return "the frame is incomplete"
    payload = data[head.start : head.end]
    if head.checksum != xxh3_64_intdigest(payload, identity) or not data.startswith(MARK, head.end):
        return "the frame's checksum does not match"
    end = base + head.end + len(MARK)
    return Frame(base + offset, end, head.lsn_first, head.record_count, head.epoch, head.time_ms, payload)


class SegmentReader:
    """Reads one segment from its header on, WINDOW_BYTES at a time (more for a longer frame): walk `frames`.

    *pread* is the file's, *size* its size.  The other attributes are true of what has been walked.
    Raises LogNewer, LogForeign; LogCorrupt for a bad header.
    """

    def __init__(
        self, path: str, pread: Callable[[int, int], bytes], size: int, *, identity: int, lsn_first: int, is_last: bool
    ) -> None:
        assert WINDOW_BYTES >= FRAME_HEADER_BYTES, "a window holds a frame's header"
        head = pread(0, min(SEGMENT_HEADER.size, size))
        if len(head) < SEGMENT_HEADER.size:
            raise LogCorrupt(path, 0, "the segment header is incomplete")
        self.format = check_segment_header(path, head, identity=identity, lsn_first=lsn_first)
        # Where the last frame begins (0: none was seen), where it ends, and what follows in it and after it.
        self.last_offset = 0
        self.end = SEGMENT_HEADER.size
        self.lsn_next = lsn_first
        self.epoch_last = 0
        # Bytes behind the last frame that are a torn tail; 0: the end is clean.
        self.torn_bytes = 0
        # (first LSN, offset) of the first frame of each window.
        self.marks: list[tuple[int, int]] = []
        self._path = path
        self._pread = pread
        self._size = size
        self._identity = identity
        self._is_last = is_last
        self._window = b""
        self._base = 0

    def skip(self, marks: Sequence[tuple[int, int]], lsn: int) -> None:
        """Begin at the last of *marks* that is not behind record *lsn*: they are of frames that were read before."""
        assert not self.last_offset, "nothing has been walked"
        self.lsn_next, self.end = max((mark for mark in marks if mark[0] <= lsn), default=(self.lsn_next, self.end))

    def frames(self) -> Iterator[Frame]:
        """Frame after frame.  Raises LogCorrupt for a bad one that a crash cannot explain."""
        while self.end < self._size:
            frame = self._frame(self.end)
            if isinstance(frame, str):
                self.torn_bytes = self._judged(frame)
                return
            if frame.lsn_first != self.lsn_next or frame.record_count < 1:
                raise LogCorrupt(
                    self._path, self.end, f"record {self.lsn_next} is expected, the frame has {frame.lsn_first}"
                )
            if frame.epoch < self.epoch_last:
                raise LogCorrupt(self._path, self.end, f"epoch {frame.epoch} follows epoch {self.epoch_last}")
            self.last_offset, self.end = frame.offset, frame.end
            self.lsn_next, self.epoch_last = frame.lsn_last + 1, frame.epoch
            yield frame

    def _frame(self, offset: int) -> Frame | str:
        """The frame at *offset*, or why there is none."""
        found = read_frame(self._window, offset - self._base, self._identity, self.format, self._base)
        if isinstance(found, str) and self._move(offset):
            found = read_frame(self._window, offset - self._base, self._identity, self.format, self._base)
        return found

    def _move(self, offset: int) -> bool:
        """Let the window begin at *offset* and hold the whole frame there; False when it held all there is."""
        if self._base + len(self._window) >= self._size:
            return False
        self._window = self._pread(offset, min(WINDOW_BYTES, self._size - offset))
        self._base = offset
        self.marks.append((self.lsn_next, offset))
        head = read_head(self._window, 0, self._identity, self.format)
        if head is not None and head.end >= len(self._window):
            self._window = self._pread(offset, min(head.end + len(MARK), self._size - offset))
        return True

    def _judged(self, reason: str) -> int:
        """The torn bytes from `end` on.  What follows is read as a whole: little, unless the segment is damaged."""
        base = self.end // SECTOR_BYTES * SECTOR_BYTES
        data = self._pread(base, self._size - base)
        self._window = b""
        return judge_tail(self._path, data, self.end - base, reason, self._identity, self._is_last, self.format, base)


def judge_tail(
    path: str, data: bytes, offset: int, reason: str, identity: int, is_last: bool, format_: int, base: int = 0
) -> int:
    """The torn bytes from *offset* of *data* on, where no frame could be read; 0 for a prewritten end.

    *data* lies at *base* of its segment, where a sector begins, and goes to the segment's end.
    Raises LogCorrupt when this is not the last segment, when a good frame follows (so the bad one had been synced), or
    when no sector of the bad one is missing (so it was written whole, and changed later).
    """
    assert base % SECTOR_BYTES == 0, "sectors of the data are sectors of the segment"
    rest = data[offset:]
    if rest.count(0) == len(rest):
        return 0
    if not is_last:
        raise LogCorrupt(path, base + offset, reason)
    at = data.find(FRAME_MAGIC, offset + 1)
    while at != -1:
        if not isinstance(read_frame(data, at, identity, format_), str):
            raise LogCorrupt(path, base + offset, f"{reason}, but a good frame follows at byte {base + at}")
        at = data.find(FRAME_MAGIC, at + 1)
    if not misses_a_sector(data, offset, identity, format_):
        raise LogCorrupt(path, base + offset, f"{reason}, and nothing of the frame is missing as after a power cut")
    return len(rest.rstrip(b"\0"))


def misses_a_sector(data: bytes, offset: int, identity: int, format_: int) -> bool:
    """Whether of the frame at *offset* some sector's share is not there, or zeros where it was not written as zeros.

    Without a good header only the sectors the header lies in can be judged: a write that was torn elsewhere has left
    them as they should be.
    """
    head = read_head(data, offset, identity, format_)
    if head is not None:
        end = head.end + len(MARK)
        return end > len(data) or zero_shares(data, offset, end) > (head.zero_sectors or 0)
    end = offset + (FRAME_HEADER_1_BYTES if format_ == 1 else FRAME_HEADER_BYTES)
    if format_ == 1:  # Its last bytes may be zeros as written: what follows them in their sector is judged with them.
        end = max(end, min(-(-end // SECTOR_BYTES) * SECTOR_BYTES, len(data)))
    return end > len(data) or zero_shares(data, offset, end) > 0


def zero_shares(data: bytes, offset: int, end: int) -> int:
    """Of how many sectors the share in data[offset:end] is zeros alone."""
    count = 0
    at = offset
    while at < end:
        upto = min(end, (at // SECTOR_BYTES + 1) * SECTOR_BYTES)
        count += not any(data[at:upto])
        at = upto
    return count


def needs_segment(size: int, frame_bytes: int, segment_bytes_max: int) -> bool:
    """Whether a frame goes into a new segment: the current one holds a frame and would grow beyond the bound."""
    return size > SEGMENT_HEADER.size and size + frame_bytes > segment_bytes_max
