"""What happens at the bounds: slots that waiting attempts give back, a queue that is full, clients that are refused.

Server and SDK in memory, on the real clock; the disk takes as long as it is told to.

    python -m tests.bench.pressure
"""

from __future__ import annotations

import collections
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio
from understudy_runtime.ingress.port import Request
from understudy_runtime.ingress.shell import Ingress
from understudy_runtime.invoker.inprocess import InProcessTransport
from understudy_runtime.limits import Limits
from understudy_runtime.node import Deployment, Node

from tests.bench.cpu_cost import JSON, echo_request, steps_request
from tests.bench.memory_world import MemoryDisk, MemoryFile, MemoryHost, MemoryWorld
from tests.bench.procfs import latency_ms
from tests.bench.services import app

PROBES = 20
LOOK_S = 0.001


class SlowFile(MemoryFile):
    """A file whose sync takes a while, and lets others run meanwhile."""

    sync_s = 0.0

    async def fdatasync(self) -> None:
        await trio.sleep(self.sync_s)


class SlowDisk(MemoryDisk):
    """Files that take *sync_s* to sync."""

    def __init__(self, sync_s: float) -> None:
        super().__init__()
        self._sync_s = sync_s

    def open(self, path: str, *, create: bool = False) -> MemoryFile:
        if path not in self._files and not create:
            raise FileNotFoundError(path)
        file = SlowFile(self._files.setdefault(path, bytearray()))
        file.sync_s = self._sync_s
        return file


@asynccontextmanager
async def serving(limits: Limits, sync_s: float = 0.0) -> AsyncIterator[tuple[Node, Ingress]]:
    """A node with the benchmark's services."""
    world = MemoryWorld()
    world.disk = SlowDisk(sync_s)
    async with trio.open_nursery() as nursery:
        transport = InProcessTransport(app, MemoryHost(nursery))
        deployment = Deployment("dp_bench", transport, (await transport.discover()).manifest)
        node = Node(world, limits, deployments=[deployment], observe=lambda event: None)
        await nursery.start(node.run)
        yield node, Ingress(node, limits)
        nursery.cancel_scope.cancel()


async def slots_given_back(slots: int) -> str:
    """How long an echo waits while every slot is held by a handler that only waits."""
    latencies = []
    async with serving(attrs.evolve(Limits(), attempts_max=slots, inactivity_timeout_ms=600_000)) as (_, ingress):
        for probe in range(PROBES):
            for number in range(slots):
                response = await ingress.handle(Request("POST", "/Sleeper/waiting/send", JSON, b"%d" % number))
                assert response.status == 202, response
            request, wanted = echo_request(probe)
            began = time.perf_counter()
            response = await ingress.handle(request)
            latencies.append(time.perf_counter() - began)
            assert response.body == wanted, response
    figures = latency_ms(latencies)
    return (
        f"{slots} slots, all held by handlers that sleep for an hour: an echo is answered in "
        f"{figures['p50']:.0f} ms (median of {PROBES}), {figures['max']:.0f} ms at worst"
    )


async def full_queue(queue_max: int, clients: int, sync_ms: float, batch_max: int) -> str:
    """How long the queue of a slow disk gets while handlers propose steps as fast as they may."""
    limits = attrs.evolve(Limits(), queue_commands_max=queue_max, batch_commands_max=batch_max)
    lengths: list[int] = []
    answers: collections.Counter[int] = collections.Counter()
    async with serving(limits, sync_ms / 1000) as (node, ingress):
        async with trio.open_nursery() as nursery:

            async def look() -> None:
                while True:
                    lengths.append(node.partitions[0].queue_length)
                    await trio.sleep(LOOK_S)

            async def client(number: int) -> None:
                request, wanted = steps_request(number)
                response = await ingress.handle(request)
                answers[response.status] += 1
                assert response.status == 429 or response.body == wanted, response

            nursery.start_soon(look)
            began = time.perf_counter()
            async with trio.open_nursery() as callers:
                for number in range(clients):
                    callers.start_soon(client, number)
            took_s = time.perf_counter() - began
            nursery.cancel_scope.cancel()
    return (
        f"a queue of {queue_max}, {batch_max} a batch, {sync_ms:g} ms a sync, {clients} ten steps at once: "
        f"{answers[200]} answered, {answers[429]} refused with 429, queue at most {max(lengths)}, "
        f"median {statistics.median(lengths):.0f}, {answers[200] / took_s:.0f} ops/s"
    )


def main() -> None:
    """Print what was seen."""
    for slots in (50, 1_000):
        print(trio.run(slots_given_back, slots))
    for queue_max, clients in ((10_000, 400), (100, 400), (20, 400)):
        print(trio.run(full_queue, queue_max, clients, 2.0, 16))


if __name__ == "__main__":
    main()
