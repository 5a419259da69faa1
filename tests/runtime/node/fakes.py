"""A world in memory for tests of the server's parts: a wall clock to turn by hand, a disk that can lose power."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NoReturn

import attrs
import trio
from understudy_runtime.storage.port import View
from understudy_runtime.storage.view import SlicedView
from understudy_runtime.world import Listener, SyncFailed


@attrs.define
class Medium:
    """One file: what programs see, and what a power cut leaves."""

    seen: bytearray = attrs.field(factory=bytearray)
    durable: bytes = b""
    # (offset, length) of every read.
    reads: list[tuple[int, int]] = attrs.field(factory=list)


class FakeFile:
    def __init__(self, disk: FakeDisk, medium: Medium) -> None:
        self._disk = disk
        self._medium = medium

    def size(self) -> int:
        return len(self._medium.seen)

    def pread(self, offset: int, length: int) -> bytes:
        self._medium.reads.append((offset, length))
        return bytes(self._medium.seen[offset : offset + length])

    def pwrite(self, offset: int, data: bytes) -> None:
        self._disk.before_write(data)
        seen = self._medium.seen
        if len(seen) < offset:
            seen += bytes(offset - len(seen))
        seen[offset : offset + len(data)] = data

    def truncate(self, length: int) -> None:
        del self._medium.seen[length:]

    async def fdatasync(self) -> None:
        self._disk.count_sync()
        self._medium.durable = bytes(self._medium.seen)

    def close(self) -> None:
        pass


class FakeDisk:
    """`power_cut` leaves what was synced; *torn* keeps some bytes of each unsynced write instead."""

    def __init__(self) -> None:
        self.files: dict[str, Medium] = {}
        self.durable_names: dict[str, Medium] = {}
        self.syncs = 0
        self.failing_sync = -1
        self.locked: list[str] = []
        self.before_write: Callable[[bytes], None] = lambda data: None

    def count_sync(self) -> None:
        self.syncs += 1
        if self.syncs == self.failing_sync:
            raise SyncFailed("the fake disk fails this sync")

    def open(self, path: str, *, create: bool = False) -> FakeFile:
        if path not in self.files:
            if not create:
                raise FileNotFoundError(path)
            self.files[path] = Medium()
        return FakeFile(self, self.files[path])

    def exists(self, path: str) -> bool:
        return path in self.files

    def list_dir(self, path: str) -> list[str]:
        prefix = f"{path}/" if path not in ("", ".") else ""
        names = [name.removeprefix(prefix) for name in self.files if name.startswith(prefix)]
        return sorted({name.split("/")[0] for name in names})

    def make_dir(self, path: str) -> None:
        pass

    def rename(self, source: str, target: str) -> None:
        self.files[target] = self.files.pop(source)

    def unlink(self, path: str) -> None:
        del self.files[path]

    async def sync_dir(self, path: str) -> None:
        self.count_sync()
        prefix = f"{path}/" if path not in ("", ".") else ""
        gone = [name for name in self.durable_names if name.startswith(prefix) and name not in self.files]
        for name in gone:
            del self.durable_names[name]
        for name, medium in self.files.items():
            if name.startswith(prefix):
                self.durable_names[name] = medium

    def lock(self, path: str) -> None:
        self.locked.append(path)

    def power_cut(self, torn: Callable[[str, bytes, bytes], bytes] | None = None) -> None:
        """Lose what was not synced.  *torn(path, durable, seen)* may leave a mixture instead."""
        self.files = dict(self.durable_names)
        for path, medium in self.files.items():
            left = medium.durable if torn is None else torn(path, medium.durable, bytes(medium.seen))
            medium.seen = bytearray(left)
            medium.durable = left
        self.locked = []


@attrs.define
class FakeStorage:
    """A store in memory that keeps every commit; the test keeps the object to reopen it."""

    rows: dict[bytes, bytes] = attrs.field(factory=dict)
    lsn: int = 0
    is_damaged: bool = False

    def get(self, key: bytes) -> bytes | None:
        return self.rows.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return iter(sorted(item for item in self.rows.items() if item[0].startswith(prefix)))

    def commit(self, rows: Mapping[bytes, bytes | None], applied_lsn: int) -> None:
        assert applied_lsn >= self.lsn, "commits never go back"
        for key, value in rows.items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value
        self.lsn = applied_lsn

    def replace(self, rows: Iterable[tuple[bytes, bytes]], applied_lsn: int) -> None:
        self.rows, self.lsn = dict(rows), applied_lsn

    def view(self) -> View:
        rows = sorted(self.rows.items())
        return SlicedView(self.lsn, lambda after: (row for row in rows if after is None or row[0] > after))

    def applied_lsn(self) -> int:
        return self.lsn

    def close(self) -> None:
        pass


@attrs.define(slots=False)
class FakeWorld:
    """Entropy is a counter's hash; the wall clock stands still until a test turns it, or follows trio's clock."""

    disk: FakeDisk = attrs.field(factory=FakeDisk)
    wall_ms: int = 1_700_000_000_000
    follows_trio: bool = True
    stores: dict[str, FakeStorage] = attrs.field(factory=dict)
    drawn: int = 0

    def now_ms(self) -> int:
        return self.wall_ms + (int(trio.current_time() * 1000) if self.follows_trio else 0)

    def entropy(self, length: int) -> bytes:
        self.drawn += 1
        return hashlib.shake_128(self.drawn.to_bytes(8, "big")).digest(length)

    def open_storage(self, name: str) -> FakeStorage:
        return self.stores.setdefault(name, FakeStorage())

    def set_aside_storage(self, name: str) -> None:
        self.stores.pop(name, None)

    async def dial(self, host: str, port: int) -> NoReturn:
        raise OSError(f"the fake world has no network ({host}:{port})")

    async def listen(self, host: str, port: int) -> Listener:
        raise OSError(f"the fake world has no network ({host}:{port})")

    async def run_sync(self, function: Callable[[], object]) -> object:
        return function()
