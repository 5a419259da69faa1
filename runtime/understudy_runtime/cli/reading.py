"""A data folder looked at and left as it is: its journals, read by the server's own recovery.

Recovery writes while it reads (it settles the log's end, it takes the lead).  Here all of that goes into memory: files
are opened for reading, and what is written lies over them until the process ends.  The store is not looked at: the
newest snapshot and the log behind it say the same.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

import attrs
from understudy.protocol.framing import Frame
from understudy.replaying import Recorded

from understudy_runtime.cli.journals import Journal
from understudy_runtime.limits import Limits
from understudy_runtime.machine.invocation import Invocation
from understudy_runtime.machine.start import eager_state
from understudy_runtime.machine.tables import Tables
from understudy_runtime.model.events import Event
from understudy_runtime.model.invocation import Status
from understudy_runtime.node import FORMAT_FILE, LOCK_FILE, DataFolderError, partition_identity, read_format
from understudy_runtime.partition import Partition
from understudy_runtime.real_world import RealFile, RealNetwork, disk_error
from understudy_runtime.recovery import open_partition
from understudy_runtime.storage.memory import MemoryMedium, MemoryStorage
from understudy_runtime.world import Disk, DiskLocked

# Nothing is written ahead, and no state is left out for its size.
LIMITS: Final = Limits(log_prewrite_bytes=0, eager_state_bytes_max=1 << 40)


@attrs.frozen
class Read:
    """The journals of a folder that are not over, and how many invocations have not begun one."""

    journals: tuple[Journal, ...]
    waiting: int


async def read_folder(folder: Path) -> Read:
    """What runs or waits in *folder*.

    Raises DataFolderError, DiskError (DiskLocked while a server uses it), LogError, StorageError.
    """
    if not (folder / FORMAT_FILE).exists():
        raise DataFolderError(f"{folder}: there is no data folder here (it would have a file {FORMAT_FILE})")
    world = _World(folder)
    lock = _hold(folder)
    try:
        found: list[Journal] = []
        waiting = 0
        about = read_format(world.disk)
        for index in range(about.partition_count):
            identity = partition_identity(about.identity, index)
            tables = await _tables(world, index, about.partition_count, identity)
            for invocation in tables.live():
                if invocation.journal_length == 0 or invocation.status in (Status.SCHEDULED, Status.INBOXED):
                    waiting += 1
                else:
                    found.append(_journal(tables, invocation))
        return Read(tuple(sorted(found, key=lambda one: one.recorded.invocation_id)), waiting)
    finally:
        if lock is not None:
            os.close(lock)


async def _tables(world: _World, index: int, partition_count: int, identity: int) -> Tables:
    """A partition's tables at the end of its log."""
    opened = await open_partition(world, index, partition_count, identity=identity, limits=LIMITS, observe=_ignore)
    partition = Partition(
        index,
        world=world,
        limits=LIMITS,
        observe=_ignore,
        log=opened.log,
        storage=opened.storage,
        tables=opened.tables,
        snapshots=opened.snapshots,
    )
    await partition.recover()
    return partition.tables


def _journal(tables: Tables, invocation: Invocation) -> Journal:
    state, is_partial = eager_state(tables, invocation, LIMITS.eager_state_bytes_max)
    target = invocation.target
    recorded = Recorded(
        service=target.service,
        handler=target.handler,
        key=target.key or "",
        invocation_id=invocation.id,
        random_seed=invocation.random_seed,
        frames=tuple(Frame(entry.type, entry.payload) for entry in tables.entries(invocation)),
        state=tuple(state),
        state_complete=not is_partial,
    )
    if invocation.protocol_version:
        recorded = attrs.evolve(recorded, protocol_version=invocation.protocol_version)
    return Journal(recorded, invocation.deployment_id, invocation.status.name.lower())


def _ignore(event: Event) -> None:
    """Nobody listens."""


def _hold(folder: Path) -> int | None:
    """Hold the folder's lock as a server does; its descriptor.  Raises DiskLocked."""
    try:
        descriptor = os.open(folder / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise disk_error("open the lock", str(folder / LOCK_FILE), error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise DiskLocked(
            f"the data folder {folder} is held by another process: stop that one, or ask it with --admin"
        ) from None
    return descriptor


class _Over:
    """A file and what was written over it.  *below* None: there is none."""

    def __init__(self, below: RealFile | None) -> None:
        self._below = below
        self._size = 0 if below is None else below.size()
        self._written: list[tuple[int, bytes]] = []

    def size(self) -> int:
        return self._size

    def pread(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self._size - offset))
        data = bytearray(b"" if self._below is None else self._below.pread(offset, length))
        data += bytes(length - len(data))
        for start, piece in self._written:
            left, right = max(start, offset), min(start + len(piece), offset + length)
            if left < right:
                data[left - offset : right - offset] = piece[left - start : right - start]
        return bytes(data)

    def pwrite(self, offset: int, data: bytes) -> None:
        self._written.append((offset, bytes(data)))
        self._size = max(self._size, offset + len(data))

    def truncate(self, length: int) -> None:
        if length > self._size:
            self._written.append((self._size, bytes(length - self._size)))
        elif length < self._size:
            # What lies behind the new end is gone, also when the file grows again.
            self._written.append((length, bytes(self._size - length)))
        self._size = length

    async def fdatasync(self) -> None:
        """It is as durable as it gets."""

    def close(self) -> None:
        """It stays open: others read it, too."""


class _Files:
    """A `Disk` over a folder that is never written to.  *root* exists."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: dict[str, _Over] = {}
        self._gone: dict[str, None] = {}

    def open(self, path: str, *, create: bool = False) -> _Over:
        """Raises FileNotFoundError, DiskError."""
        if path not in self._open:
            if self.exists(path):
                self._open[path] = _Over(self._real(path))
            elif create:
                self._open[path] = _Over(None)
                self._gone.pop(path, None)
            else:
                raise FileNotFoundError(path)
        return self._open[path]

    def _real(self, path: str) -> RealFile:
        real = str(self._root / path)
        try:
            return RealFile(real, os.open(real, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            raise disk_error("open", real, error) from error

    def exists(self, path: str) -> bool:
        return path in self._open or (path not in self._gone and (self._root / path).exists())

    def list_dir(self, path: str) -> list[str]:
        folder = self._root / path
        names = dict.fromkeys(one.name for one in folder.iterdir()) if folder.is_dir() else {}
        names |= dict.fromkeys(one.rpartition("/")[2] for one in self._open if one.rpartition("/")[0] == path)
        return sorted(name for name in names if f"{path}/{name}" not in self._gone)

    def make_dir(self, path: str) -> None:
        """A folder is where its files are."""

    def rename(self, source: str, target: str) -> None:
        self._open[target] = self.open(source)
        self._gone.pop(target, None)
        self.unlink(source)

    def unlink(self, path: str) -> None:
        self._open.pop(path, None)
        self._gone[path] = None

    async def sync_dir(self, path: str) -> None:
        """Its names are in memory."""

    def lock(self, path: str) -> None:
        raise AssertionError("who reads holds the real lock")


class _World(RealNetwork):
    """The world of a recovery that leaves no trace."""

    def __init__(self, root: Path) -> None:
        self.disk: Disk = _Files(root)

    def now_ms(self) -> int:
        return 0

    def entropy(self, length: int) -> bytes:
        return bytes(length)

    def open_storage(self, name: str) -> MemoryStorage:
        return MemoryStorage(MemoryMedium(0))

    def set_aside_storage(self, name: str) -> None:
        """A new one is new anyway."""

    async def run_sync(self, function: object) -> object:
        raise AssertionError("a recovery runs in the loop")
