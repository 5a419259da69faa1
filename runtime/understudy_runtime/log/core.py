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
from collections.abc import Sequence
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


def read_frame(data: bytes, offset: int, identity: int, format_: int = SEGMENT_FORMAT) -> Frame | str:
    """The frame at *offset* of a segment's bytes, or why there is none."""
    head = read_head(data, offset, identity, format_)
    if head is None:
        return "no frame header is here"
    if len(data) <= head.end:
        return "the frame is incomplete"
    payload = data[head.start : head.end]
    if head.checksum != xxh3_64_intdigest(payload, identity) or not data.startswith(MARK, head.end):
        return "the frame's checksum does not match"
    end = head.end + len(MARK)
    return Frame(offset, end, head.lsn_first, head.record_count, head.epoch, head.time_ms, payload)


@attrs.frozen
class SegmentScan:
    """What lies in a segment: its frames, where they end, and how many bytes behind them are a torn tail (0: clean)."""

    format: int
    frames: Sequence[Frame]
    end: int
    torn_bytes: int


def scan_segment(path: str, data: bytes, *, identity: int, lsn_first: int, is_last: bool) -> SegmentScan:
    """Read the segment *data*: its header, then frame after frame.

    Raises LogNewer, LogForeign; LogCorrupt for a bad header, or a bad frame that a crash cannot explain.
    """
    if len(data) < SEGMENT_HEADER.size:
        raise LogCorrupt(path, 0, "the segment header is incomplete")
    format_ = check_segment_header(path, data[: SEGMENT_HEADER.size], identity=identity, lsn_first=lsn_first)
    frames: list[Frame] = []
    offset, lsn_next, epoch_last = SEGMENT_HEADER.size, lsn_first, 0
    while offset < len(data):
        frame = read_frame(data, offset, identity, format_)
        if isinstance(frame, str):
            torn_bytes = judge_tail(path, data, offset, frame, identity, is_last, format_)
            return SegmentScan(format_, frames, offset, torn_bytes)
        if frame.lsn_first != lsn_next or frame.record_count < 1:
            raise LogCorrupt(path, offset, f"record {lsn_next} is expected, the frame has {frame.lsn_first}")
        if frame.epoch < epoch_last:
            raise LogCorrupt(path, offset, f"epoch {frame.epoch} follows epoch {epoch_last}")
        frames.append(frame)
        offset, lsn_next, epoch_last = frame.end, frame.lsn_last + 1, frame.epoch
    return SegmentScan(format_, frames, offset, 0)


def judge_tail(path: str, data: bytes, offset: int, reason: str, identity: int, is_last: bool, format_: int) -> int:
    """The torn bytes from *offset* on, where no frame could be read; 0 for a prewritten end.

    Raises LogCorrupt when this is not the last segment, when a good frame follows (so the bad one had been synced), or
    when no sector of the bad one is missing (so it was written whole, and changed later).
    """
    rest = data[offset:]
    if rest.count(0) == len(rest):
        return 0
    if not is_last:
        raise LogCorrupt(path, offset, reason)
    at = data.find(FRAME_MAGIC, offset + 1)
    while at != -1:
        if not isinstance(read_frame(data, at, identity, format_), str):
            raise LogCorrupt(path, offset, f"{reason}, but a good frame follows at byte {at}")
        at = data.find(FRAME_MAGIC, at + 1)
    if not misses_a_sector(data, offset, identity, format_):
        raise LogCorrupt(path, offset, f"{reason}, and nothing of the frame is missing as after a power cut")
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
