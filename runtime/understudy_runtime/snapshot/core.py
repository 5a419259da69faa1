"""What a snapshot looks like on a disk, and every decision about it.  Sans-IO: bytes in, values or named errors out.

A snapshot is a header, frames of rows in key order, and an end mark.  The header names format, identity and LSN, and
its checksum seeds all others: a frame of another snapshot never reads as one of this.  Frames are numbered and the end
mark counts them, so a snapshot is whole or SnapshotDamaged.  It is written aside, synced and renamed: under its own
name there is no half one.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import Enum
from typing import Final, NamedTuple

import attrs
from xxhash import xxh3_64_intdigest

from understudy_runtime.storage.port import StorageError

MAGIC: Final = b"UNDERSNP"
FORMAT: Final = 1
# magic, format, header bytes, zero, identity, applied LSN; the checksum follows.
HEADER: Final = struct.Struct(">8sHHIQQ")
CHECKSUM: Final = struct.Struct(">Q")
HEADER_BYTES: Final = HEADER.size + CHECKSUM.size
FRAME_MAGIC: Final = b"USFR"
# magic, frame number, rows, payload bytes, payload checksum; the checksum of these follows.
FRAME_HEADER: Final = struct.Struct(">4sIIIQ")
FRAME_HEADER_BYTES: Final = FRAME_HEADER.size + CHECKSUM.size
END_MAGIC: Final = b"USEN"
# magic, frames, rows; the checksum follows.
END: Final = struct.Struct(">4sIQ")
END_BYTES: Final = END.size + CHECKSUM.size
ROW: Final = struct.Struct(">II")  # bytes of the key, bytes of the value; both follow
SUFFIX: Final = ".snapshot"
UNFINISHED: Final = ".new"
LSN_DIGITS: Final = 20
# A snapshot is written again when the log has grown by one such part of it: so at most that many times the log.
LOG_SHARE: Final = 4

Row = tuple[bytes, bytes]


class SnapshotError(StorageError):
    """A snapshot cannot be used: which file, what was found, what was expected, what to do."""


class SnapshotForeign(SnapshotError):
    """A file in the snapshots' folder is not of this partition."""


class SnapshotNewer(SnapshotError):
    """A snapshot was written in a format newer than this program knows."""


class SnapshotDamaged(SnapshotError):
    """A snapshot's bytes are not what was written."""

    def __init__(self, path: str, offset: int, reason: str) -> None:
        super().__init__(f"{path}: damaged at byte {offset}: {reason}")
        self.path = path
        self.offset = offset


class NothingToStartFrom(SnapshotError):
    """The log has been trimmed, and no readable snapshot holds what came before it."""


def snapshot_name(lsn: int) -> str:
    """
    >>> snapshot_name(7)
    '00000000000000000007.snapshot'
    """
    assert lsn >= 1, "a snapshot holds the work of a record"
    return f"{lsn:0{LSN_DIGITS}d}{SUFFIX}"


def snapshot_lsn(folder: str, name: str) -> int:
    """The LSN a snapshot's *name* tells.  Raises SnapshotForeign for any other name."""
    stem = name.removesuffix(SUFFIX)
    if len(name) != LSN_DIGITS + len(SUFFIX) or not (stem.isascii() and stem.isdigit()) or int(stem) < 1:
        raise SnapshotForeign(f"{folder}/{name}: not a snapshot; move it out of the data folder")
    return int(stem)


def encode_header(identity: int, applied_lsn: int) -> bytes:
    assert applied_lsn >= 1, "a snapshot holds the work of a record"
    head = HEADER.pack(MAGIC, FORMAT, HEADER_BYTES, 0, identity, applied_lsn)
    return head + CHECKSUM.pack(xxh3_64_intdigest(head))


def seed_of(header: bytes) -> int:
    """What seeds the checksums of the snapshot that begins with *header*."""
    assert len(header) == HEADER_BYTES, "a whole header"
    return int(CHECKSUM.unpack_from(header, HEADER.size)[0])


def check_header(path: str, header: bytes, *, identity: int, applied_lsn: int) -> None:
    """Raises SnapshotDamaged, SnapshotForeign or SnapshotNewer unless *header* begins this very snapshot."""
    if len(header) < HEADER_BYTES:
        raise SnapshotDamaged(path, 0, "the header is incomplete")
    magic, format_, _, _, found_identity, found_lsn = HEADER.unpack_from(header)
    if magic != MAGIC or seed_of(header) != xxh3_64_intdigest(header[: HEADER.size]):
        raise SnapshotDamaged(path, 0, "the header's checksum does not match")
    if format_ > FORMAT:
        raise SnapshotNewer(
            f"{path}: snapshot format {format_} is newer than this program knows ({FORMAT}); "
            "start the version that wrote it, or a newer one"
        )
    if found_identity != identity:
        raise SnapshotForeign(
            f"{path}: belongs to partition {found_identity:016x}, this one is {identity:016x}: "
            "it was copied from another data folder"
        )
    if found_lsn != applied_lsn:
        raise SnapshotDamaged(path, 0, f"it is of record {found_lsn}, its name says {applied_lsn}")


def encode_frame(seed: int, number: int, rows: Sequence[Row]) -> bytes:
    """One frame of *rows*."""
    assert rows, "a frame has rows"
    parts: list[bytes] = []
    for key, value in rows:
        parts += (ROW.pack(len(key), len(value)), key, value)
    payload = b"".join(parts)
    head = FRAME_HEADER.pack(FRAME_MAGIC, number, len(rows), len(payload), xxh3_64_intdigest(payload, seed))
    return b"".join((head, CHECKSUM.pack(xxh3_64_intdigest(head, seed)), payload))


def encode_end(seed: int, frames: int, rows: int) -> bytes:
    """The end mark after *frames* frames with *rows* rows in all."""
    head = END.pack(END_MAGIC, frames, rows)
    return head + CHECKSUM.pack(xxh3_64_intdigest(head, seed))


class FrameHead(NamedTuple):
    """What a frame's header says of its payload."""

    row_count: int
    payload_bytes: int
    checksum: int


def read_frame_head(path: str, offset: int, data: bytes, *, seed: int, number: int) -> FrameHead:
    """The header of frame *number* in *data*.  Raises SnapshotDamaged."""
    if len(data) < FRAME_HEADER_BYTES or not is_checked(data[:FRAME_HEADER_BYTES], seed):
        raise SnapshotDamaged(path, offset, f"frame {number} has no good header")
    magic, found, row_count, payload_bytes, checksum = FRAME_HEADER.unpack_from(data)
    if magic != FRAME_MAGIC or found != number:
        raise SnapshotDamaged(path, offset, f"frame {number} is expected, frame {found} is here")
    return FrameHead(row_count, payload_bytes, checksum)


def read_payload(path: str, offset: int, payload: bytes, head: FrameHead, seed: int) -> list[Row]:
    """The rows of a frame whose payload begins at *offset*.  Raises SnapshotDamaged."""
    if len(payload) != head.payload_bytes or xxh3_64_intdigest(payload, seed) != head.checksum:
        raise SnapshotDamaged(path, offset, "the frame's checksum does not match")
    rows: list[Row] = []
    at = 0
    while at < len(payload):
        key_bytes, value_bytes = ROW.unpack_from(payload, at)
        key_end = at + ROW.size + key_bytes
        at_next = key_end + value_bytes
        rows.append((payload[at + ROW.size : key_end], payload[key_end:at_next]))
        at = at_next
    assert len(rows) == head.row_count, "a frame whose checksum matches was written by us"
    return rows


def read_end(data: bytes, seed: int) -> tuple[int, int] | None:
    """(frames, rows) of the end mark that is all of *data*; None when it is no end mark."""
    if len(data) != END_BYTES or not data.startswith(END_MAGIC) or not is_checked(data, seed):
        return None
    _, frames, rows = END.unpack_from(data)
    return frames, rows


def is_checked(data: bytes, seed: int) -> bool:
    """Whether the checksum at the end of *data* is that of what lies before it."""
    (checksum,) = CHECKSUM.unpack_from(data, len(data) - CHECKSUM.size)
    return bool(checksum == xxh3_64_intdigest(data[: -CHECKSUM.size], seed))


def is_due(log_bytes: int, log_bytes_min: int, snapshot_bytes_last: int) -> bool:
    """Whether *log_bytes* since the last snapshot ask for another: a large one is not written for a little log."""
    return log_bytes >= max(log_bytes_min, snapshot_bytes_last // LOG_SHARE)


class Source(Enum):
    """What a partition's store is started from."""

    STORE = "store"
    SNAPSHOT = "snapshot"
    NOTHING = "nothing"


@attrs.frozen
class Start:
    """One way to have a store from which the log's tail can be replayed: at *lsn*, from *source*."""

    source: Source
    lsn: int


def ways_to_start(*, store_lsn: int | None, log_first: int, log_last: int, snapshots: Sequence[int]) -> list[Start]:
    """The ways that reach the log's first record, best first; *store_lsn* None: there is no store to be read.

    A store that never had a commit is worth less than a snapshot.  *snapshots* beyond the log's end are no way: the log
    has lost records that were acknowledged.
    """
    assert log_first >= 1, "LSNs start at 1"
    ways = []
    if store_lsn is not None and store_lsn > 0 and store_lsn >= log_first - 1:
        ways.append(Start(Source.STORE, store_lsn))
    ways += [Start(Source.SNAPSHOT, lsn) for lsn in sorted(snapshots, reverse=True) if log_first - 1 <= lsn <= log_last]
    if log_first == 1:
        ways.append(Start(Source.NOTHING, 0))
    return ways
