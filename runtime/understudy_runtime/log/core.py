"""What a log looks like on a disk, and every decision about it.  Sans-IO: bytes in, values or named errors out.

A log is a folder of segments.  A segment is a header and frames; a frame is a header, one batch of records and an end
mark.  The header has a checksum of the batch and one of its own, so that its length can be trusted where the batch
cannot; both are seeded with the log's identity, so a frame of another log never reads as one of ours.  The mark is no
zero: the share of a frame in its last sector is never zeros alone.  At most one frame is ever written and not yet
synced, therefore:

- behind the last frame of the *last* segment may lie the remains of one frame: a torn tail, cut, never acknowledged;
  a medium writes sectors whole, so of a torn frame at least one sector's share is missing or still zero;
- any other bad frame is damage and the log refuses to open, naming file and offset;
- zeros behind the last frame are the prewritten end of a segment, in any segment.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

import attrs
from xxhash import xxh3_64, xxh3_64_intdigest

SEGMENT_MAGIC: Final = b"UNDERLOG"
SEGMENT_FORMAT: Final = 1
SEGMENT_HEADER: Final = struct.Struct(">8sHHIQQQ")  # magic, format, header bytes, zero, identity, lsn_first, checksum
SEGMENT_SUFFIX: Final = ".log"
LSN_DIGITS: Final = 20
SECTOR_BYTES: Final = 512
FRAME_MAGIC: Final = b"UFRM"
# magic, payload bytes, lsn_first, epoch, time_ms, record count, payload checksum; the header's own checksum follows.
FRAME_HEADER: Final = struct.Struct(">4sIQQqIQ")
CHECKSUM: Final = struct.Struct(">Q")
FRAME_HEADER_BYTES: Final = FRAME_HEADER.size + CHECKSUM.size
FRAME_END: Final = b"."


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


def encode_segment_header(identity: int, lsn_first: int) -> bytes:
    assert lsn_first >= 1, "LSNs start at 1"
    body = SEGMENT_HEADER.pack(SEGMENT_MAGIC, SEGMENT_FORMAT, SEGMENT_HEADER.size, 0, identity, lsn_first, 0)[
        : -CHECKSUM.size
    ]
    return body + CHECKSUM.pack(xxh3_64(body).intdigest())


def is_unfinished_segment(data: bytes, identity: int, lsn_first: int) -> bool:
    """Whether *data* is what a crash leaves of an unsynced segment header: zeros, or the header's beginning."""
    header = encode_segment_header(identity, lsn_first)
    return not any(data) or (len(data) < len(header) and header.startswith(data))


def check_segment_header(path: str, head: bytes, *, identity: int, lsn_first: int) -> None:
    """Raises LogNewer, LogForeign or LogCorrupt unless *head* opens this log's segment from *lsn_first* on."""
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


def encode_frame(payload: bytes, *, identity: int, lsn_first: int, count: int, epoch: int, time_ms: int) -> bytes:
    """One batch of *count* records as bytes."""
    assert payload, "a frame holds a batch"
    assert count >= 1, "a batch holds a record"
    checksum = xxh3_64_intdigest(payload, identity)
    head = FRAME_HEADER.pack(FRAME_MAGIC, len(payload), lsn_first, epoch, time_ms, count, checksum)
    return b"".join((head, CHECKSUM.pack(xxh3_64_intdigest(head, identity)), payload, FRAME_END))


def has_good_header(data: bytes, offset: int, identity: int) -> bool:
    """Whether a whole frame header lies at *offset* and says what was written."""
    head_end = offset + FRAME_HEADER.size
    if len(data) < offset + FRAME_HEADER_BYTES or not data.startswith(FRAME_MAGIC, offset):
        return False
    (checksum,) = CHECKSUM.unpack_from(data, head_end)
    return bool(checksum == xxh3_64_intdigest(data[offset:head_end], identity))


def read_frame(data: bytes, offset: int, identity: int) -> Frame | str:
    """The frame at *offset* of a segment's bytes, or why there is none."""
    if not has_good_header(data, offset, identity):
        return "no frame header is here"
    _, length, lsn_first, epoch, time_ms, count, checksum = FRAME_HEADER.unpack_from(data, offset)
    start = offset + FRAME_HEADER_BYTES
    end = start + length
    if len(data) <= end:
        return "the frame is incomplete"
    payload = data[start:end]
    if checksum != xxh3_64_intdigest(payload, identity) or not data.startswith(FRAME_END, end):
        return "the frame's checksum does not match"
    return Frame(offset, end + len(FRAME_END), lsn_first, count, epoch, time_ms, payload)


@attrs.frozen
class SegmentScan:
    """What lies in a segment: its frames, where they end, and how many bytes behind them are a torn tail (0: clean)."""

    frames: Sequence[Frame]
    end: int
    torn_bytes: int


def scan_segment(path: str, data: bytes, *, identity: int, lsn_first: int, is_last: bool) -> SegmentScan:
    """Read the frames behind the header of the segment *data*.

    Raises LogCorrupt for a bad frame that a crash cannot explain.
    """
    frames: list[Frame] = []
    offset, lsn_next, epoch_last = SEGMENT_HEADER.size, lsn_first, 0
    while offset < len(data):
        frame = read_frame(data, offset, identity)
        if isinstance(frame, str):
            return SegmentScan(frames, offset, judge_tail(path, data, offset, frame, identity, is_last))
        if frame.lsn_first != lsn_next or frame.record_count < 1:
            raise LogCorrupt(path, offset, f"record {lsn_next} is expected, the frame has {frame.lsn_first}")
        if frame.epoch < epoch_last:
            raise LogCorrupt(path, offset, f"epoch {frame.epoch} follows epoch {epoch_last}")
        frames.append(frame)
        offset, lsn_next, epoch_last = frame.end, frame.lsn_last + 1, frame.epoch
    return SegmentScan(frames, offset, 0)


def judge_tail(path: str, data: bytes, offset: int, reason: str, identity: int, is_last: bool) -> int:
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
        if not isinstance(read_frame(data, at, identity), str):
            raise LogCorrupt(path, offset, f"{reason}, but a good frame follows at byte {at}")
        at = data.find(FRAME_MAGIC, at + 1)
    if not misses_a_sector(data, offset, frame_end(data, offset, identity)):
        raise LogCorrupt(path, offset, f"{reason}, and nothing of the frame is missing as after a power cut")
    return len(rest.rstrip(b"\0"))


def frame_end(data: bytes, offset: int, identity: int) -> int:
    """Where the bytes end that must be there for the frame at *offset* to have been written whole.

    That is what its header says.  Without a good header these are the sectors the header lies in: a write that was torn
    elsewhere has left them as they should be.
    """
    if has_good_header(data, offset, identity):
        _, length, *_ = FRAME_HEADER.unpack_from(data, offset)
        return offset + FRAME_HEADER_BYTES + int(length) + len(FRAME_END)
    head_end = offset + FRAME_HEADER_BYTES
    sector_end = -(-head_end // SECTOR_BYTES) * SECTOR_BYTES
    return max(head_end, min(sector_end, len(data)))


def misses_a_sector(data: bytes, offset: int, end: int) -> bool:
    """Whether of data[offset:end] some sector's share is not there, or all zeros."""
    if end > len(data):
        return True
    at = offset
    while at < end:
        upto = min(end, (at // SECTOR_BYTES + 1) * SECTOR_BYTES)
        if not any(data[at:upto]):
            return True
        at = upto
    return False


def needs_segment(size: int, frame_bytes: int, segment_bytes_max: int) -> bool:
    """Whether a frame goes into a new segment: the current one holds a frame and would grow beyond the bound."""
    return size > SEGMENT_HEADER.size and size + frame_bytes > segment_bytes_max
