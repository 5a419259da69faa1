"""A disk that outlives its process: what is written is visible at once, and durable only after a sync.

At a power cut each unsynced write is kept, lost, or torn at a 512-byte sector, as drawn; names not yet synced
are lost from some point on.  Folders themselves are durable at once.  A failed sync drops what was in doubt,
as file systems do: the process must stop.  When it goes down the cache goes with it, or, as drawn, it stays and is
taken for clean: the next process reads what no sync of its own will make durable.  Promise (single copy): lost and
torn *unsynced* writes, slow and failing syncs, a full disk.  Nothing that was synced is ever hurt in
here: `damage.py` does that, on request.

A `Medium` is the disk; `Medium.mount` gives one incarnation its `SimDisk`, whose calls are void once that
incarnation is dead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import attrs
import trio

from understudy_sim.kernel.choices import Choices, Stream, stable_seed
from understudy_sim.kernel.inodes import CutReport, Fate, Inode, Write, apply_write, commit_writes, cut_inode
from understudy_sim.kernel.loop import Loop, ProcessRunner
from understudy_sim.kernel.process import Process

DETAIL_MAX: Final = 2**16 - 1
# Of a thousand caches that a failed sync left in doubt, so many outlive their process.
CACHE_STAYS_THOUSANDTHS: Final = 500


class DiskErrors(Protocol):
    """The exception classes the program under test expects of its disk (a module or class with these
    attributes).
    """

    DiskError: type[Exception]
    SyncFailed: type[Exception]
    DiskFull: type[Exception]
    DiskLocked: type[Exception]


class PlainDiskErrors:
    """For programs that have no classes of their own."""

    DiskError: type[Exception] = OSError
    SyncFailed: type[Exception] = OSError
    DiskFull: type[Exception] = OSError
    DiskLocked: type[Exception] = OSError


@attrs.define
class DiskProfile:
    """How the disk behaves.  Drawn once per run; faults change it for a while."""

    sync_low_ns: int = 50_000
    sync_high_ns: int = 2_000_000
    lose_writes: bool = True  # At a power cut, unsynced writes may be lost.
    tear_writes: bool = True  # … or torn at a sector.
    capacity_bytes: int | None = None


@attrs.frozen
class _NameChange:
    """*path* now means *inode* (None: nothing); *source* is the name it had before, for a rename."""

    folders: tuple[str, ...]
    path: str
    inode: Inode | None
    source: str | None = None


class DiskDoor(Protocol):
    """Who is told of every write and sync, before and after it.  It may cut the process, and let a sync wait."""

    def writes(self, medium: Medium, path: str, offset: int, data: bytes | None, side: str) -> None:
        """*data* is written at *offset* (None: the file is cut there); *side* is before or after."""

    async def syncs(self, medium: Medium, what: str, ordinal: int, writes: Sequence[bytes], side: str) -> None:
        """Sync number *ordinal*, of a file or folder, which makes *writes* durable."""


OnSync = Callable[[int, str], object]
OnCut = Callable[[CutReport], object]


class Medium:
    """The disk of one host.

    `syncs` counts syncs begun; *on_sync* hears `(ordinal, "before" | "after")` of each.
    """

    def __init__(
        self, loop: Loop, choices: Choices, name: str, errors: DiskErrors | type[PlainDiskErrors] | None = None
    ) -> None:
        self.name = name
        self.profile = DiskProfile()
        self.errors: DiskErrors | type[PlainDiskErrors] = errors if errors is not None else PlainDiskErrors
        self.syncs = 0
        self.writes = 0
        self.slow_ns = 0  # Added to every sync while a slow-sync fault lasts.
        self.fail_syncs = 0  # How many of the next syncs fail.
        self.fail_detail = 0  # Seeds what a failed sync leaves behind.
        self.failed_syncs = 0
        self.full_writes = 0
        self.open_files: dict[SimFile, None] = {}
        self.damages = 0  # how often what was synced was changed
        self.slowed_syncs = 0
        self.on_sync: OnSync | None = None
        self.on_cut: OnCut | None = None
        self.door: DiskDoor | None = None
        self.stall: Callable[[ProcessRunner], object] | None = None  # Told of every read and write.
        self.on_commit: Callable[[Inode, Sequence[Write]], object] | None = None  # Before writes become durable.
        self.fate: Callable[[], Fate] | None = None  # Says what a power cut does, instead of a draw.
        self.loop = loop
        self._choices = choices
        self._stream: Stream | None = None
        self._names: dict[str, Inode] = {}
        self._durable_names: dict[str, Inode] = {}
        self._changes: list[_NameChange] = []
        self._folders: dict[str, None] = {"": None}
        self._locks: dict[str, ProcessRunner] = {}
        self._write_last = 0
        self._head_sync = loop.trace.head(f"disk.sync {name}", 3)
        self._tainted = False  # A sync failed: what the cache has may never become durable.

    def mount(self, process: Process) -> SimDisk:
        """The disk as *process*'s current incarnation has it."""
        self.open_files = {file: None for file in self.open_files if not file.runner.dead}
        return SimDisk(self, process.runner)

    def open_paths(self, runner: ProcessRunner) -> list[str]:
        """The files that *runner* has open, in the order they were opened; one that it opened twice is there twice."""
        return [file.path for file in self.open_files if file.runner is runner]

    @property
    def refusals(self) -> int:
        """How often it refused to write or to sync."""
        return self.failed_syncs + self.full_writes

    @property
    def unsynced(self) -> int:
        """How many writes and names are not durable: whether a power cut now can bite."""
        return sum(len(inode.unsynced) for inode in self._inodes()) + len(self._changes)

    def visible_bytes(self, path: str, length: int) -> bytes:
        """The first *length* bytes of what processes read under *path*."""
        return bytes(self._names[path].visible[:length])

    @property
    def durable_files(self) -> dict[str, Inode]:
        """What has a durable name, in order of the names."""
        return dict(sorted(self._durable_names.items()))

    def durable_bytes(self, path: str) -> bytes | None:
        """What the medium holds under *path*; None without such a durable name."""
        inode = self._durable_names.get(path)
        return bytes(inode.durable) if inode is not None else None

    def _inodes(self) -> list[Inode]:
        return list(dict.fromkeys((*self._names.values(), *self._durable_names.values())))

    # The end of a process

    def process_down(self, process: Process, runner: ProcessRunner, power: bool) -> None:
        """An incarnation ended:

        its locks are free; after a power cut only what is durable (or lucky) is left.
        """
        self._locks = {path: holder for path, holder in self._locks.items() if holder is not runner}
        if power or (self._tainted and not self._cache_stays()):
            self.power_cut()
        self._tainted = False

    def _cache_stays(self) -> bool:
        """Whether what a failed sync dropped is still read by the next process, though no sync writes it any more."""
        return self._choices.chance(f"disk.{self.name}.cache_stays", CACHE_STAYS_THOUSANDTHS)

    def power_cut(self) -> CutReport:
        """Lose what is not durable, as drawn.  0 is the tame draw: everything happened to be written out."""
        report = CutReport(unsynced_writes=sum(len(inode.unsynced) for inode in self._inodes()))
        if report.unsynced_writes + len(self._changes) > 0:
            self._decide_fate(report)
        mode, stream = report.mode, Stream(stable_seed("disk.cut", report.detail))
        self._cut_names(mode, stream, report)
        for inode in self._inodes():
            cut_inode(inode, mode, stream, report)
        self._names = dict(self._durable_names)
        self._tainted = False
        self.loop.trace.note("disk.cut", self.name, report.lost_writes, report.torn_writes, report.lost_names)
        if self.on_cut is not None:
            self.on_cut(report)
        return report

    def _decide_fate(self, report: CutReport) -> None:
        if self.fate is not None:
            fate = self.fate()
            report.mode, report.detail = fate.mode, fate.detail
            return
        kinds = 3 if self.profile.tear_writes else 1 if self.profile.lose_writes else 0
        report.mode = self._choices.integer(f"disk.{self.name}.cut", 0, kinds)
        if report.mode:
            last = self._choices.recorded[-1]
            report.switch = (last.label, last.ordinal)
            report.detail = self._choices.integer(f"disk.{self.name}.cut_detail", 0, DETAIL_MAX)

    def _cut_names(self, mode: int, stream: Stream, report: CutReport) -> None:
        changes, self._changes = self._changes, []
        kept = len(changes) if mode == 0 else stream.integer(0, len(changes))
        for change in changes[:kept]:
            _apply_name(self._durable_names, change)
        report.lost_names = len(changes) - kept

    def _details(self) -> Stream:
        if self._stream is None:
            self._stream = self._choices.stream(f"disk.{self.name}")
        return self._stream

    # What SimDisk and SimFile do (their owner is alive)

    def next_write(self) -> int:
        """Number a write."""
        self.writes += 1
        self._write_last += 1
        return self._write_last

    @property
    def used_bytes(self) -> int:
        """How much lies in files."""
        return sum(len(inode.visible) for inode in self._names.values())

    def lacks(self, growth: int) -> int:
        """How many of *growth* more bytes do not fit."""
        capacity = self.profile.capacity_bytes
        return 0 if capacity is None or growth <= 0 else max(0, min(growth, self.used_bytes + growth - capacity))

    def full(self, lacking: int) -> Exception:
        """What a write is told that lacks *lacking* bytes of room."""
        self.full_writes += 1
        return self.errors.DiskFull(
            f"the disk of {self.name} is full: {self.used_bytes} of {self.profile.capacity_bytes} bytes are used, "
            f"{lacking} more were wanted"
        )

    async def sync(
        self,
        runner: ProcessRunner,
        what: str,
        commit: Callable[[], object],
        drop: Callable[[], object],
        writes: Sequence[bytes] = (),
    ) -> None:
        """One sync of *what*, which holds *writes*: takes time, then *commit*s; or *drop*s and raises SyncFailed."""
        self.syncs += 1
        ordinal = self.syncs
        await self._tell_sync(runner, what, ordinal, writes, "before")
        profile = self.profile
        delay_ns = self._details().integer(profile.sync_low_ns, profile.sync_high_ns) + self.slow_ns
        failing = self.fail_syncs > 0
        if failing:
            self.fail_syncs -= 1
            self.failed_syncs += 1
        if self.slow_ns:
            self.slowed_syncs += 1
        await self.loop.sleep_until_ns(self.loop.now_ns + delay_ns)
        self.loop.trace.extend((self._head_sync, ordinal, self.loop.now_ns, int(failing)))
        if failing:
            self._tainted = True
            drop()
            raise self.errors.SyncFailed(
                f"the disk of {self.name} failed to sync {what}: what was written since the last sync is in doubt. "
                "Stop the process; do not retry."
            )
        commit()
        await self._tell_sync(runner, what, ordinal, writes, "after")

    async def _tell_sync(
        self, runner: ProcessRunner, what: str, ordinal: int, writes: Sequence[bytes], phase: str
    ) -> None:
        if self.on_sync is not None:
            self.on_sync(ordinal, phase)
            if runner.dead:  # The hook cut the process within this very step: nothing after may run.
                await trio.sleep_forever()
        if self.door is not None:
            await self.door.syncs(self, what, ordinal, writes, phase)

    def doubt(self) -> Stream:
        """What a failed sync leaves to chance."""
        return Stream(stable_seed("disk.doubt", self.fail_detail))

    def change_name(self, change: _NameChange) -> None:
        """Make a name change visible; it is durable after `sync_dir` of its folder."""
        _apply_name(self._names, change)
        self._changes.append(change)

    def commit_names(self, folder: str, upto: int) -> None:
        """The first *upto* changes, as far as they concern *folder*, are durable."""
        rest: list[_NameChange] = []
        for index, change in enumerate(self._changes):
            if index < upto and folder in change.folders:
                _apply_name(self._durable_names, change)
            else:
                rest.append(change)
        self._changes = rest

    def drop_names(self, folder: str) -> None:
        """A folder's sync failed: nobody knows which changes made it."""
        keep = self.doubt().integer(0, len(self._changes))
        self.commit_names(folder, keep)


class SimFile:
    """A file opened by one incarnation."""

    def __init__(self, medium: Medium, runner: ProcessRunner, path: str, inode: Inode) -> None:
        self.path = path
        self.runner = runner
        self._medium = medium
        self._inode = inode
        self._closed = False
        medium.open_files[self] = None

    def _check(self) -> None:
        if self._closed:
            raise self._medium.errors.DiskError(f"{self.path} was closed: open it again")

    def size(self) -> int:
        """Bytes."""
        self._check()
        return len(self._inode.visible)

    def pread(self, offset: int, length: int) -> bytes:
        """At most *length* bytes from *offset*; fewer at the end of the file."""
        self._check()
        assert offset >= 0, "an offset is not negative"
        assert length >= 0, "a length is not negative"
        if self._medium.stall is not None:
            self._medium.stall(self.runner)
        return bytes(self._inode.visible[offset : offset + length])

    def pwrite(self, offset: int, data: bytes) -> None:
        """Write all of *data* at *offset*, growing the file with zeros if needed.

        Raises DiskError; DiskFull when only the beginning fits.
        """
        self._check()
        assert offset >= 0, "an offset is not negative"
        if self.runner.dead or not data:
            return
        lacking = self._medium.lacks(offset + len(data) - len(self._inode.visible))
        if not lacking:
            self._change(offset, bytes(data))
            return
        if lacking < len(data):
            self._change(offset, bytes(data[:-lacking]))  # What fits is there, as after a short write.
        raise self._medium.full(lacking)

    def truncate(self, length: int) -> None:
        """Cut or grow the file to *length* bytes."""
        self._check()
        assert length >= 0, "a length is not negative"
        if not self.runner.dead:
            self._change(length, None)

    def _change(self, offset: int, data: bytes | None) -> None:
        medium = self._medium
        if medium.stall is not None:
            medium.stall(self.runner)
        if medium.door is not None:
            medium.door.writes(medium, self.path, offset, data, "before")
            if self.runner.dead:  # It was cut within this very step: nothing is written any more.
                return
        apply_write(self._inode.visible, offset, data)
        self._inode.unsynced.append(Write(medium.next_write(), offset, data))
        if medium.door is not None:
            medium.door.writes(medium, self.path, offset, data, "after")

    async def fdatasync(self) -> None:
        """Make what was written before this call durable.

        Raises SyncFailed; the caller stops the process then.
        """
        self._check()
        inode = self._inode
        upto = inode.unsynced[-1].number if inode.unsynced else 0
        writes = [one.data or b"" for one in inode.unsynced] if self._medium.door is not None else ()
        await self._medium.sync(self.runner, self.path, lambda: self._commit(upto), lambda: self._drop(upto), writes)

    def _commit(self, upto: int) -> None:
        if self._medium.on_commit is not None:
            self._medium.on_commit(self._inode, [one for one in self._inode.unsynced if one.number <= upto])
        commit_writes(self._inode, upto)

    def _drop(self, upto: int) -> None:
        """A failed sync: each write made it or did not; none will be tried again."""
        stream = self._medium.doubt()
        for write in [one for one in self._inode.unsynced if one.number <= upto]:
            if stream.chance(500):
                apply_write(self._inode.durable, write.offset, write.data)
        self._inode.unsynced = [one for one in self._inode.unsynced if one.number > upto]

    def close(self) -> None:
        """Give the file back.  Closing twice does nothing; closing syncs nothing."""
        self._closed = True
        self._medium.open_files.pop(self, None)


class SimDisk:
    """One incarnation's view of its medium.  Paths are relative and `/`-separated."""

    def __init__(self, medium: Medium, runner: ProcessRunner) -> None:
        self._medium = medium
        self._runner = runner

    def open(self, path: str, *, create: bool = False) -> SimFile:
        """Open *path*; with *create*, make it when it does not exist.  Raises FileNotFoundError."""
        path = _normal(path)
        inode = self._medium._names.get(path)
        if inode is None:
            if not create:
                raise FileNotFoundError(f"{self._medium.name} has no file {path!r}")
            if _folder(path) not in self._medium._folders:
                raise FileNotFoundError(f"{self._medium.name} has no folder {_folder(path)!r}: make it first")
            inode = Inode()
            if not self._runner.dead:
                self._medium.change_name(_NameChange((_folder(path),), path, inode))
        return SimFile(self._medium, self._runner, path, inode)

    def exists(self, path: str) -> bool:
        """Whether there is a file or folder of that name."""
        path = _normal(path)
        return path in self._medium._names or path in self._medium._folders

    def list_dir(self, path: str) -> list[str]:
        """Names in folder *path*, sorted; empty when the folder does not exist."""
        folder = _normal(path)
        files = [_base(name) for name in self._medium._names if _folder(name) == folder]
        folders = [_base(name) for name in self._medium._folders if name and _folder(name) == folder]
        return sorted([*files, *folders])

    def make_dir(self, path: str) -> None:
        """Make folder *path* and its parents; nothing happens when it exists."""
        if self._runner.dead:
            return
        path = _normal(path)
        while path:
            self._medium._folders[path] = None
            path = _folder(path)

    def rename(self, source: str, target: str) -> None:
        """Atomically give *source* the name *target*, replacing what had it.  Raises FileNotFoundError."""
        source, target = _normal(source), _normal(target)
        inode = self._medium._names.get(source)
        if inode is None:
            raise FileNotFoundError(f"{self._medium.name} has no file {source!r} to rename")
        if not self._runner.dead:
            folders = (_folder(source), _folder(target))
            self._medium.change_name(_NameChange(folders, target, inode, source))

    def unlink(self, path: str) -> None:
        """Remove the name *path*.  Raises FileNotFoundError."""
        path = _normal(path)
        if path not in self._medium._names:
            raise FileNotFoundError(f"{self._medium.name} has no file {path!r} to remove")
        if not self._runner.dead:
            self._medium.change_name(_NameChange((_folder(path),), path, None))

    async def sync_dir(self, path: str) -> None:
        """Make the names in folder *path* durable.  Raises SyncFailed."""
        folder, medium = _normal(path), self._medium
        upto = len(medium._changes)
        await medium.sync(
            self._runner,
            f"folder {folder!r}",
            lambda: medium.commit_names(folder, upto),
            lambda: medium.drop_names(folder),
        )

    def lock(self, path: str) -> None:
        """Hold *path* exclusively until the process ends.

        Raises DiskLocked when another process holds it.
        """
        holder = self._medium._locks.get(path)
        if holder is not None and holder is not self._runner and not holder.dead:
            raise self._medium.errors.DiskLocked(
                f"{path!r} on {self._medium.name} is held by process {holder.process.name!r}: stop that one first"
            )
        self._medium._locks[path] = self._runner


def _apply_name(names: dict[str, Inode], change: _NameChange) -> None:
    if change.source is not None and names.get(change.source) is change.inode:
        del names[change.source]
    if change.inode is None:
        names.pop(change.path, None)
    else:
        names[change.path] = change.inode


def _normal(path: str) -> str:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    assert ".." not in parts, f"{path!r} leaves the folder"
    assert not path.startswith("/"), f"{path!r} is not relative"
    return "/".join(parts)


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _base(path: str) -> str:
    return path.rpartition("/")[2]
