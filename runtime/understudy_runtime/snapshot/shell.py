"""The snapshots of one partition on a disk: written in slices while the partition goes on, read when it starts.

One is written aside, synced, renamed, its folder synced; only then those before it go.  A crash at any point leaves the
old one or the new one.  A failed sync stops the process, as the log's does; a full disk only gives the snapshot up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from understudy_runtime.snapshot import core
from understudy_runtime.snapshot.core import Row, SnapshotDamaged
from understudy_runtime.storage.port import View
from understudy_runtime.world import Disk, DiskFull, File

# A slice is what the partition's loop waits for between two batches.
SLICE_BYTES: Final = 128 * 1024
# So many bytes are synced at once: a sync of a whole snapshot would stop the loop for as long as the medium needs.
SYNC_BYTES: Final = 1024 * 1024


@attrs.frozen
class Written:
    """A snapshot is durable: everything up to record *lsn*."""

    lsn: int
    rows: int
    bytes: int


class Writing:
    """One snapshot being written from *view*."""

    def __init__(self, disk: Disk, path: str, identity: int, view: View) -> None:
        self.lsn = view.applied_lsn
        self.path = path
        self.rows = 0
        self.bytes = 0
        self._frames = 0
        self._unsynced = 0
        self._view = view
        self._header = core.encode_header(identity, self.lsn)
        self._seed = core.seed_of(self._header)
        self._file: File = disk.open(path, create=True)

    def start(self) -> None:
        """Write the header.  Raises DiskFull."""
        self._file.truncate(0)
        self._put(self._header)

    def _put(self, data: bytes) -> None:
        self._file.pwrite(self.bytes, data)
        self.bytes += len(data)
        self._unsynced += len(data)

    async def step(self, rows_max: int) -> bool:
        """Write the next slice of at most *rows_max* rows; False when there is none and the file is synced.

        Raises DiskFull, SyncFailed.
        """
        rows = self._view.take(rows_max, SLICE_BYTES)
        if not rows:
            self._put(core.encode_end(self._seed, self._frames, self.rows))
            await self._file.fdatasync()
            return False
        self._put(core.encode_frame(self._seed, self._frames, rows))
        self._frames += 1
        self.rows += len(rows)
        if self._unsynced >= SYNC_BYTES:
            self._unsynced = 0
            await self._file.fdatasync()
        return True

    def close(self) -> None:
        """Give view and file back.  Nothing is written."""
        self._view.close()
        self._file.close()


class Snapshots:
    """The snapshots of one partition in *folder*.  Build it with `Snapshots.open`."""

    def __init__(self, disk: Disk, folder: str, identity: int) -> None:
        self._disk = disk
        self._folder = folder
        self._identity = identity
        self._lsns: list[int] = []
        self._writing: Writing | None = None
        # Bytes of the newest one; 0 without one.
        self.bytes_last = 0

    @classmethod
    async def open(cls, disk: Disk, folder: str, *, identity: int) -> Snapshots:
        """Open or create *folder*; what was never finished is removed.

        Raises SnapshotForeign (names the file) and DiskError.
        """
        snapshots = cls(disk, folder, identity)
        if not disk.exists(folder):
            disk.make_dir(folder)
            await disk.sync_dir("")
        for name in disk.list_dir(folder):
            if name.endswith(core.UNFINISHED):
                disk.unlink(f"{folder}/{name}")
            else:
                snapshots._lsns.append(core.snapshot_lsn(folder, name))
        if snapshots._lsns:
            snapshots.bytes_last = snapshots._size(snapshots.lsn_last)
        return snapshots

    @property
    def lsns(self) -> Sequence[int]:
        """The LSNs of the snapshots there are, oldest first."""
        return self._lsns

    @property
    def lsn_last(self) -> int:
        """The LSN of the newest snapshot; 0 without one."""
        return self._lsns[-1] if self._lsns else 0

    @property
    def is_writing(self) -> bool:
        return self._writing is not None

    @property
    def folder(self) -> str:
        return self._folder

    def path_of(self, lsn: int) -> str:
        return f"{self._folder}/{core.snapshot_name(lsn)}"

    def _size(self, lsn: int) -> int:
        file = self._disk.open(self.path_of(lsn))
        try:
            return file.size()
        finally:
            file.close()

    def begin(self, view: View) -> None:
        """Start to write what *view* holds.  Raises DiskFull: the snapshot is given up then."""
        assert self._writing is None, "one snapshot at a time"
        assert view.applied_lsn > self.lsn_last, "a snapshot holds more than the one before"
        path = self.path_of(view.applied_lsn) + core.UNFINISHED
        try:
            self._writing = Writing(self._disk, path, self._identity, view)
        except DiskFull:
            view.close()
            raise
        try:
            self._writing.start()
        except DiskFull:
            self.give_up()
            raise

    async def step(self, rows_max: int) -> Written | None:
        """Write one slice of at most *rows_max* rows; after the last one the snapshot is durable under its name.

        Raises DiskFull: the snapshot is given up then.  Raises SyncFailed: the process must stop.
        """
        writing = self._writing
        assert writing is not None, "a snapshot is being written"
        try:
            if await writing.step(rows_max):
                return None
        except DiskFull:
            self.give_up()
            raise
        writing.close()
        self._writing = None
        self._disk.rename(writing.path, self.path_of(writing.lsn))
        await self._disk.sync_dir(self._folder)
        self._lsns.append(writing.lsn)
        self.bytes_last = writing.bytes
        return Written(writing.lsn, writing.rows, writing.bytes)

    async def drop_older(self) -> None:
        """Remove all snapshots but the newest."""
        if len(self._lsns) < 2:
            return
        for lsn in self._lsns[:-1]:
            self._disk.unlink(self.path_of(lsn))
        del self._lsns[:-1]
        await self._disk.sync_dir(self._folder)

    def give_up(self) -> None:
        """Forget the snapshot that is being written, and give its room back."""
        if self._writing is not None:
            self._writing.close()
            self._disk.unlink(self._writing.path)
            self._writing = None

    def close(self) -> None:
        """Release what is open.  Nothing is written."""
        if self._writing is not None:
            self._writing.close()
            self._writing = None

    def rows(self, lsn: int) -> Iterator[Row]:
        """The rows of the snapshot at *lsn*, in key order.

        Raises SnapshotDamaged, perhaps after some rows; SnapshotForeign, SnapshotNewer.
        """
        path = self.path_of(lsn)
        file = self._disk.open(path)
        try:
            yield from read_rows(path, file, self._identity, lsn)
        finally:
            file.close()


def read_rows(path: str, file: File, identity: int, lsn: int) -> Iterator[Row]:
    """The rows of the snapshot in *file*; see `Snapshots.rows`."""
    header = file.pread(0, core.HEADER_BYTES)
    core.check_header(path, header, identity=identity, applied_lsn=lsn)
    seed = core.seed_of(header)
    end_at = file.size() - core.END_BYTES
    offset, frames, rows = core.HEADER_BYTES, 0, 0
    while offset < end_at:
        data = file.pread(offset, core.FRAME_HEADER_BYTES)
        head = core.read_frame_head(path, offset, data, seed=seed, number=frames)
        offset += core.FRAME_HEADER_BYTES
        found = core.read_payload(path, offset, file.pread(offset, head.payload_bytes), head, seed)
        yield from found
        offset += head.payload_bytes
        frames += 1
        rows += len(found)
    if offset != end_at or core.read_end(file.pread(offset, core.END_BYTES), seed) != (frames, rows):
        raise SnapshotDamaged(path, offset, f"no end mark after {frames} frames with {rows} rows")
