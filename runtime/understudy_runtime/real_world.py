"""The World on the operating system: the one file that touches its clock, entropy, sockets, files and threads.

Everything durable lies in one folder, mode 0700, held by one process.  Syncs run in the loop's thread: a hand-over to
another costs more than the sync on the disks this is meant for.  A failed sync is SyncFailed, whatever the system said:
what was written is in doubt then, and the caller stops the process.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import resource
import socket
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Sequence
from inspect import CO_COROUTINE
from pathlib import Path, PurePosixPath
from types import FrameType
from typing import Final

import trio

from understudy_runtime.offload import Offload
from understudy_runtime.storage.port import Storage
from understudy_runtime.storage.sqlite import SqliteStorage
from understudy_runtime.telemetry.stalls import LOOK_MS, Look, Place, Stall, StallCore
from understudy_runtime.world import DiskError, DiskFull, DiskLocked, SyncFailed

FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Accept fails for want of a file descriptor or memory: connections in the backlog wait until some were closed.
EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
EXHAUSTED_PAUSE_SECONDS: Final = 0.1
# The connection was gone before it was accepted: not ours to report.
GONE_BEFORE: Final = (errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.EHOSTUNREACH, errno.ENETUNREACH)
BACKLOG: Final = 4096
# The function of trio's loop that calls tasks.  Under another name no stall would be seen; the live tests would tell.
LOOP_FUNCTION: Final = "unrolled_run"


def disk_error(what: str, path: str, error: OSError) -> DiskError:
    """What the port says of *error*, naming the file."""
    kind = DiskFull if error.errno in FULL else DiskError
    return kind(f"{path}: cannot {what}: {error.strerror or error}")


def thread_waits() -> Callable[[], int]:
    """A count of the times the calling thread gave up its core by itself.

    A system that does not count them is taken to have seen one at every look.
    """
    of_thread = getattr(resource, "RUSAGE_THREAD", None)
    if of_thread is None:
        return itertools.count().__next__
    return lambda: resource.getrusage(of_thread).ru_nvcsw


def sync(descriptor: int) -> None:
    """Make a file's data durable, on the medium and not only in its cache."""
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(descriptor)


class RealFile:
    """An open file; see `File`."""

    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def pread(self, offset: int, length: int) -> bytes:
        """At most *length* bytes from *offset*; fewer at the end of the file.  Raises DiskError."""
        parts = []
        try:
            while length > 0 and (part := os.pread(self._descriptor, length, offset)):
                parts.append(part)
                offset += len(part)
                length -= len(part)
        except OSError as error:
            raise disk_error("read", self._path, error) from error
        return b"".join(parts)

    def pwrite(self, offset: int, data: bytes) -> None:
        """Write all of *data* at *offset*.  Raises DiskError, DiskFull."""
        left = memoryview(data)
        try:
            while left:
                written = os.pwrite(self._descriptor, left, offset)
                offset += written
                left = left[written:]
        except OSError as error:
            raise disk_error("write", self._path, error) from error

    def truncate(self, length: int) -> None:
        try:
            os.ftruncate(self._descriptor, length)
        except OSError as error:
            raise disk_error("truncate", self._path, error) from error

    async def fdatasync(self) -> None:
        """Make what was written durable.  Raises SyncFailed."""
        try:
            sync(self._descriptor)
        except OSError as error:
            raise SyncFailed(f"{self._path}: the system could not make writes durable: {error.strerror}") from error

    def close(self) -> None:
        os.close(self._descriptor)


class RealDisk:
    """One folder; see `Disk`.  Made with mode 0700, tightened to it when it exists.  Raises DiskError."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._locks: list[int] = []
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if root.stat().st_mode & 0o077:
                root.chmod(0o700)
        except OSError as error:
            raise disk_error("use as the data folder", str(root), error) from error

    def path_of(self, path: str) -> str:
        """Where *path* lies on the system."""
        parts = PurePosixPath(path).parts
        assert ".." not in parts, "a path stays in its folder"
        assert not path.startswith("/"), "a path is relative"
        return str(self._root.joinpath(*parts))

    def open(self, path: str, *, create: bool = False) -> RealFile:
        """Open *path*.  Raises FileNotFoundError, DiskError."""
        real = self.path_of(path)
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        try:
            return RealFile(real, os.open(real, flags, 0o600))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise disk_error("open", real, error) from error

    def exists(self, path: str) -> bool:
        return os.path.exists(self.path_of(path))

    def list_dir(self, path: str) -> list[str]:
        try:
            return sorted(os.listdir(self.path_of(path)))
        except FileNotFoundError:
            return []

    def make_dir(self, path: str) -> None:
        real = self.path_of(path)
        try:
            os.makedirs(real, mode=0o700, exist_ok=True)
        except OSError as error:
            raise disk_error("make the folder", real, error) from error

    def rename(self, source: str, target: str) -> None:
        real = self.path_of(source)
        try:
            os.replace(real, self.path_of(target))
        except OSError as error:
            raise disk_error("rename", real, error) from error

    def unlink(self, path: str) -> None:
        real = self.path_of(path)
        try:
            os.unlink(real)
        except OSError as error:
            raise disk_error("remove", real, error) from error

    async def sync_dir(self, path: str) -> None:
        """Make the names in folder *path* durable.  Raises SyncFailed."""
        real = self.path_of(path)
        try:
            descriptor = os.open(real, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise SyncFailed(f"{real}: the system could not make names durable: {error.strerror}") from error

    def lock(self, path: str) -> None:
        """Hold *path* until the process ends, or `unlock`.  Raises DiskLocked, DiskError."""
        real = self.path_of(path)
        try:
            descriptor = os.open(real, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise disk_error("open the lock", real, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise DiskLocked(
                f"the data folder {self._root} is held by another process: stop that one, or name another folder"
            ) from None
        self._locks.append(descriptor)

    def unlock(self) -> None:
        """Let go of all locks, as the end of the process would."""
        while self._locks:
            os.close(self._locks.pop())


class RealListener:
    """A bound TCP address; see `Listener`."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self._listener = listener

    @property
    def port(self) -> int:
        port = self._listener.socket.getsockname()[1]
        assert isinstance(port, int), "a TCP address has a port"
        return port

    async def accept(self) -> trio.abc.HalfCloseableStream:
        """Wait for the next stream.  Raises trio.ClosedResourceError after `aclose`."""
        while True:
            try:
                return await self._listener.accept()
            except OSError as error:
                if error.errno in EXHAUSTED:
                    await trio.sleep(EXHAUSTED_PAUSE_SECONDS)
                elif error.errno not in GONE_BEFORE:
                    raise

    async def aclose(self) -> None:
        await self._listener.aclose()


class LoopWatch(trio.abc.Instrument):
    """Looks at trio's loop from a thread of its own and tells *report*, in that thread, of each stall.

    Add it as an instrument in the loop's thread, then `start` it; `stop` ends the thread.  It costs the loop two short
    calls a turn.  A step is one task's share of a turn: many short ones in a turn are no stall.
    """

    def __init__(self, report: Callable[[Stall], None], *, ours: Sequence[str] = ()) -> None:
        self._turn = 0
        self._is_running = True
        self._report = report
        self._foreign = (*ours, *(sysconfig.get_path(name) + os.sep for name in ("stdlib", "purelib", "platlib")))
        self._core = StallCore(self._is_foreign)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="loop watch", daemon=True)
        self._loop_thread = threading.get_ident()
        of_thread = getattr(time, "pthread_getcpuclockid", None)
        self._clock = None if of_thread is None else of_thread(self._loop_thread)
        # The step that was seen last: its turn, its task's outermost frame, its number.
        self._seen: tuple[int, FrameType] | None = None
        self._step = 0

    def before_io_wait(self, timeout: float) -> None:
        self._is_running = False

    def after_io_wait(self, timeout: float) -> None:
        self._turn += 1
        self._is_running = True

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(LOOK_MS / 1000):
            step = self._step_now()
            cpu_ms = None if self._clock is None else time.clock_gettime(self._clock) * 1000
            stall = self._core.look(Look(time.monotonic() * 1000, step, cpu_ms), self._stack)
            if stall is not None:
                self._report(stall)

    def _step_now(self) -> int | None:
        """The number of the step under way; None while the loop waits, or is busy with itself."""
        task = self._task_frame() if self._is_running else None
        if task is None:
            self._seen = None
            return None
        turn = self._turn
        if self._seen is None or self._seen[0] != turn or self._seen[1] is not task:
            self._seen = (turn, task)
            self._step += 1
        return self._step

    def _task_frame(self) -> FrameType | None:
        """The outermost frame of the task that runs: the coroutine that trio's loop has called."""
        frame = sys._current_frames().get(self._loop_thread)
        inner = None
        while frame is not None and frame.f_code.co_name != LOOP_FUNCTION:
            inner, frame = frame, frame.f_back
        if frame is None or inner is None or not inner.f_code.co_flags & CO_COROUTINE:
            return None
        return inner

    def _stack(self) -> list[Place]:
        """What the loop's thread runs now."""
        frame = sys._current_frames().get(self._loop_thread)
        places = []
        while frame is not None:
            code = frame.f_code
            places.append(Place(code.co_filename, frame.f_lineno or code.co_firstlineno, code.co_qualname))
            frame = frame.f_back
        places.reverse()
        return places

    def _is_foreign(self, file: str) -> bool:
        return file.startswith(("<", *self._foreign))


def end_with_parent() -> None:
    """End this process, at once, when its standard input ends: its parent holds the other side."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=watch, name="parent watch", daemon=True).start()


class BoundSocket:
    """A loopback port that is bound here and listened on by a child process, which inherits `descriptor`.

    It stays bound while the child is replaced: who connects meanwhile waits.
    """

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self.port: int = self._socket.getsockname()[1]
        self.descriptor = self._socket.fileno()

    def close(self) -> None:
        self._socket.close()


class RealNetwork:
    """Streams over TCP: the part of a World that needs no data folder."""

    async def dial(self, host: str, port: int) -> trio.abc.HalfCloseableStream:
        """Open a TCP stream (without Nagle's delay: trio sees to it).  Raises OSError."""
        try:
            return await trio.open_tcp_stream(host, port)
        except UnicodeError as error:
            raise OSError(f"{host!r} is not the name of a host: {error}") from None

    async def listen(self, host: str, port: int) -> RealListener:
        """Bind the first address of *host*; `::` means every address, of both families.  Raises OSError."""
        if host == "::":
            both = socket.create_server(
                (host, port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=socket.has_dualstack_ipv6()
            )
            return RealListener(trio.SocketListener(trio.socket.from_stdlib_socket(both)))
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)
        for extra in listeners[1:]:
            await extra.aclose()
        return RealListener(listeners[0])

    def adopt(self, descriptor: int) -> RealListener:
        """Listen on a socket that a parent process bound.  Raises OSError."""
        inherited = socket.socket(fileno=descriptor)
        return RealListener(trio.SocketListener(trio.socket.from_stdlib_socket(inherited)))


class RealWorld(RealNetwork):
    """One process's outside, with its data in folder *data*; see `World`.  Raises DiskError."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self.disk = RealDisk(data)
        self._offload = Offload(time.perf_counter_ns, thread_waits(), trio.to_thread.run_sync)

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def entropy(self, length: int) -> bytes:
        return os.urandom(length)

    def open_storage(self, name: str) -> Storage:
        return SqliteStorage(self.disk.path_of(f"{name}.sqlite"))

    def set_aside_storage(self, name: str) -> None:
        """Rename the store's files; see `World`.  Raises DiskError."""
        for suffix in ("", "-wal", "-shm"):
            path = f"{name}.sqlite{suffix}"
            if self.disk.exists(path):
                self.disk.rename(path, f"{name}.sqlite.damaged{suffix}")

    async def run_sync(self, function: Callable[[], object]) -> object:
        """Run *function* in a worker thread, or here once it is known to be quick; a cancel waits for it."""
        return await self._offload.run(function)
