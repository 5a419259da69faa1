"""A world that costs nothing: a disk of byte arrays whose sync returns at once, no network, a real wall clock.

For measuring what the server and the SDK themselves cost.  It forgets everything and survives nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeVar

import trio
from understudy_runtime.storage.memory import MemoryMedium, MemoryStorage

T = TypeVar("T")


class MemoryFile:
    """A byte array."""

    def __init__(self, data: bytearray) -> None:
        self._data = data

    def size(self) -> int:
        return len(self._data)

    def pread(self, offset: int, length: int) -> bytes:
        return bytes(self._data[offset : offset + length])

    def pwrite(self, offset: int, data: bytes) -> None:
        if len(self._data) < offset:
            self._data.extend(bytes(offset - len(self._data)))
        self._data[offset : offset + len(data)] = data

    def truncate(self, length: int) -> None:
        del self._data[length:]

    async def fdatasync(self) -> None:
        pass

    def close(self) -> None:
        pass


class MemoryDisk:
    """Files by name."""

    def __init__(self) -> None:
        self._files: dict[str, bytearray] = {}

    def open(self, path: str, *, create: bool = False) -> MemoryFile:
        if path not in self._files and not create:
            raise FileNotFoundError(path)
        return MemoryFile(self._files.setdefault(path, bytearray()))

    def exists(self, path: str) -> bool:
        return path in self._files

    def list_dir(self, path: str) -> list[str]:
        return sorted(name.removeprefix(f"{path}/") for name in self._files if name.startswith(f"{path}/"))

    def make_dir(self, path: str) -> None:
        pass

    def rename(self, source: str, target: str) -> None:
        self._files[target] = self._files.pop(source)

    def unlink(self, path: str) -> None:
        del self._files[path]

    async def sync_dir(self, path: str) -> None:
        pass

    def lock(self, path: str) -> None:
        pass


class MemoryWorld:
    """The ports of a server that lives for one measurement."""

    def __init__(self) -> None:
        self.disk = MemoryDisk()

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def entropy(self, length: int) -> bytes:
        return os.urandom(length)

    def open_storage(self, name: str) -> MemoryStorage:
        return MemoryStorage(MemoryMedium())

    def set_aside_storage(self, name: str) -> None:
        pass

    async def dial(self, host: str, port: int) -> NoReturn:
        raise OSError("there is no network in this world")

    async def listen(self, host: str, port: int) -> NoReturn:
        raise OSError("there is no network in this world")

    async def run_sync(self, function: Callable[[], object]) -> object:
        return function()


class MemoryHost:
    """The SDK's host in that world: blocking functions run inline."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    async def run_sync(self, function: Callable[[], T]) -> T:
        return function()

    def start_task(self, function: Callable[[], Awaitable[None]]) -> None:
        self._nursery.start_soon(function)

    def report_hazard(self, kind: str, detail: str, filename: str, line: int) -> None:
        raise AssertionError(f"a benchmark's handler is no hazard: {kind} at {filename}:{line}")
