"""The server's World over the kernel: a process's wall clock, entropy, disk, stores and streams, all simulated.

What survives a crash belongs to the host, not to the process: the disk's medium, and the stores' media, of which a
power cut takes the newest commits, and sometimes everything: a store is derived.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio
from understudy_runtime import world as ports
from understudy_runtime.storage.memory import MemoryMedium, MemoryStorage
from understudy_runtime.storage.port import Storage

from understudy_sim.kernel.choices import Choices
from understudy_sim.kernel.kernel import Kernel
from understudy_sim.kernel.loop import ProcessRunner
from understudy_sim.kernel.process import Process


class Host:
    """What of one machine outlives its processes."""

    def __init__(self, kernel: Kernel, choices: Choices, name: str, store_gone_thousandths: int = 0) -> None:
        self.store_gone_thousandths = store_gone_thousandths
        self.kernel = kernel
        self.choices = choices
        self.process = kernel.process(name)
        self.medium = kernel.medium(name)
        self.stores: dict[str, MemoryMedium] = {}
        self.stores_damaged = 0  # how often
        self.stream = choices.stream(f"entropy/{name}")
        self.process.on_down(self._process_down)

    def store(self, name: str) -> MemoryMedium:
        """The medium of the store *name*."""
        return self.stores.setdefault(name, MemoryMedium())

    @contextmanager
    def legible(self) -> Iterator[None]:
        """For checkers: every row can be read meanwhile.  Damage is for the server to find and to stop for."""
        rotten = [(medium, medium.damaged) for medium in self.stores.values() if medium.damaged]
        for medium, _ in rotten:
            medium.damaged = {}
        try:
            yield
        finally:
            for medium, damaged in rotten:
                medium.damaged = {key: None for key in damaged if key in medium.rows}

    def _process_down(self, process: Process, runner: ProcessRunner, power: bool) -> None:
        for name, medium in list(self.stores.items()):
            if self.choices.chance(f"store/{name}/gone", self.store_gone_thousandths if power else 0):
                del self.stores[name]
                continue
            lost = 0
            if power and medium.commits_kept:
                lost = self.choices.integer(f"store/{name}/commits_lost", 0, medium.commits_kept)
            medium.power_cut(lost)


class SimWorld:
    """One incarnation's World (`understudy_runtime.world.World`)."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._process = host.process
        self._network = host.kernel.network
        self._disk = host.medium.mount(host.process)

    def now_ms(self) -> int:
        return self._process.wall.now_ms()

    def entropy(self, length: int) -> bytes:
        return self._host.stream.bytes(length)

    @property
    def disk(self) -> ports.Disk:
        return self._disk

    def open_storage(self, name: str) -> Storage:
        return MemoryStorage(self._host.store(name))

    def set_aside_storage(self, name: str) -> None:
        self._host.stores.pop(name, None)

    async def dial(self, host: str, port: int) -> trio.abc.HalfCloseableStream:
        return await self._network.dial(self._process, host, port)

    async def listen(self, host: str, port: int) -> ports.Listener:
        return self._network.listen(self._process, port)

    async def run_sync(self, function: Callable[[], object]) -> object:
        return function()
