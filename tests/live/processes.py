"""Real processes under test: started, waited for with a deadline, killed, stopped; none is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import trio
from understudy_runtime.http.h1_client import ClientPool, ConnectionLost
from understudy_runtime.real_world import RealNetwork

ROOT: Final = Path(__file__).parents[2]
READY_SECONDS: Final = 60
END_SECONDS: Final = 60
LOOK_SECONDS: Final = 0.02
LOOK_SECONDS_MAX: Final = 5
TOLD_BYTES: Final = 4_000


class WillNotRun(Exception):
    """A process did not come up, or did not end: which, and what it said last."""


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


async def answers(port: int, path: str) -> bool:
    """Whether somebody answers GET *path* on *port*, whatever the answer is."""
    pool = ClientPool(partial(RealNetwork().dial, "127.0.0.1", port), idle_max=0)
    try:
        with trio.fail_after(LOOK_SECONDS_MAX):
            await pool.request("GET", path, [("host", "localhost")])
    except (OSError, ConnectionLost, trio.TooSlowError):
        return False
    return True


class Role:
    """One of the processes: `understudy` *arguments*, again and again.  It is ready when *is_ready* says so.

    What it writes goes to a file of its own in *folder*.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        folder: Path,
        is_ready: Callable[[], Awaitable[bool]],
        environment: Mapping[str, str],
    ) -> None:
        self.name = name
        self.lives = 0
        self._command = [sys.executable, "-m", "understudy", *arguments]
        self._told = folder / f"{name}.log"
        self._is_ready = is_ready
        self._environment = {**os.environ, **environment}
        self._process: trio.Process | None = None

    async def start(self) -> None:
        """The next life; returns when it is ready.  Raises WillNotRun."""
        assert self._process is None, "one life at a time"
        self.lives += 1
        with self._told.open("ab") as output:
            self._process = process = await trio.lowlevel.open_process(
                self._command, cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        with trio.move_on_after(READY_SECONDS):
            while process.poll() is None:
                if await self._is_ready():
                    return
                await trio.sleep(LOOK_SECONDS)
        raise WillNotRun(f"life {self.lives} of {self.name} {self._fate(process)}; it said:\n{self.told()}")

    async def kill(self) -> None:
        """`kill -9`."""
        process = self._running()
        process.kill()
        await self._end(process)

    async def stop(self) -> int:
        """SIGTERM; the exit code.  Raises WillNotRun when it does not end."""
        process = self._running()
        process.send_signal(signal.SIGTERM)
        return await self._end(process)

    async def _end(self, process: trio.Process) -> int:
        with trio.move_on_after(END_SECONDS):
            code = await process.wait()
            self._process = None
            return code
        raise WillNotRun(f"life {self.lives} of {self.name} did not end; it said:\n{self.told()}")

    def destroy(self) -> None:
        """See to it that nothing is left running."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    def told(self) -> str:
        """The last of what it wrote."""
        return self._told.read_bytes()[-TOLD_BYTES:].decode(errors="replace")

    def _running(self) -> trio.Process:
        assert self._process is not None, "it runs"
        assert self._process.poll() is None, f"{self.name} ended by itself:\n{self.told()}"
        return self._process

    def _fate(self, process: trio.Process) -> str:
        code = process.poll()
        return f"ended with {code}" if code is not None else f"was not ready after {READY_SECONDS} s"
