"""The ports: everything the server wants from outside itself comes through a World, and nothing else.

`real_world.py` implements these on the operating system; the simulator implements them by shape.  Product code never
touches a clock, entropy source, socket, file or thread in any other way (a tidy test enforces it).

Back-off and timeouts use trio's clock (`trio.current_time`), which belongs to the run loop and is virtual in the
simulator.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from understudy_runtime.storage.port import Storage


class DiskError(Exception):
    """The medium refused: what failed, on which path, and the operating system's reason."""


class SyncFailed(DiskError):
    """fdatasync failed.  What was written is in doubt: the process must stop and never retry the sync."""


class DiskFull(DiskError):
    """No space is left on the medium."""


class File(Protocol):
    """A file opened for reading and writing.  Writes are visible at once and durable after `fdatasync`."""

    def size(self) -> int: ...

    def pread(self, offset: int, length: int) -> bytes:
        """At most *length* bytes from *offset*; fewer at the end of the file."""

    def pwrite(self, offset: int, data: bytes) -> None:
        """Write all of *data* at *offset*, growing the file with zeros if needed.  Raises DiskError, DiskFull."""

    def truncate(self, length: int) -> None: ...

    async def fdatasync(self) -> None:
        """Make what was written durable.  Raises SyncFailed; the caller stops the process then."""

    def close(self) -> None: ...


class Disk(Protocol):
    """A folder of the process's own.  Paths are relative, `/`-separated.  Names are durable after `sync_dir`."""

    def open(self, path: str, *, create: bool = False) -> File:
        """Open *path*; with *create*, make it when it does not exist.  Raises FileNotFoundError."""

    def exists(self, path: str) -> bool: ...

    def list_dir(self, path: str) -> list[str]:
        """Names in folder *path*, sorted; empty when the folder does not exist."""

    def make_dir(self, path: str) -> None:
        """Make folder *path* and its parents; nothing happens when it exists."""

    def rename(self, source: str, target: str) -> None:
        """Atomically give *source* the name *target*, replacing what had it."""

    def unlink(self, path: str) -> None: ...

    async def sync_dir(self, path: str) -> None:
        """Make the names in folder *path* durable.  Raises SyncFailed."""

    def lock(self, path: str) -> None:
        """Hold *path* exclusively until the process ends.  Raises DiskLocked when another process holds it."""


class DiskLocked(DiskError):
    """Another process holds the data folder."""


class Listener(Protocol):
    """A bound address that accepts streams."""

    @property
    def port(self) -> int: ...

    async def accept(self) -> trio.abc.HalfCloseableStream:
        """Wait for the next stream.  Raises trio.ClosedResourceError after `aclose`."""

    async def aclose(self) -> None: ...


class World(Protocol):
    """One process's outside: wall clock, entropy, disk, storage, network, and its own end."""

    def now_ms(self) -> int:
        """Wall clock, epoch milliseconds.  May jump, also backwards."""

    def entropy(self, length: int) -> bytes:
        """*length* random bytes."""

    @property
    def disk(self) -> Disk: ...

    def open_storage(self, name: str) -> Storage:
        """The derived store called *name* (one per partition), as the last commit that survived left it.

        Raises StorageError; StorageDamaged when what lies there cannot be read.
        """

    def set_aside_storage(self, name: str) -> None:
        """Move what lies under *name* out of the way, if anything does: the next open makes a new store.

        It is closed.  Nothing is destroyed but what was set aside before.
        """

    async def dial(self, host: str, port: int) -> trio.abc.HalfCloseableStream:
        """Open a stream.  Raises OSError when nobody listens or the network refuses."""

    async def listen(self, host: str, port: int) -> Listener:
        """Bind *host*:*port* (port 0: any).  Raises OSError when the address is taken."""

    async def run_sync(self, function: Callable[[], object]) -> object:
        """Run a blocking *function* without stopping the loop (a worker thread; inline in the simulator)."""


Main = Callable[[World], Awaitable[None]]
