"""What an echo, ten steps and a fan-out cost in CPU, without disk and sockets, as a ratio to a fixed piece of Python.

The request enters at the ingress's `handle` and passes through every line of server and SDK up to the answer; 64
clients in a closed loop.  Wall-clock rates depend on the neighbours, process time on the machine's speed of the moment;
the ratio of two process times, taken next to each other and as the least of several rounds, depends on neither.

    python -m tests.bench.cpu_cost
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

import attrs
import trio
from understudy_runtime.ingress.port import Request
from understudy_runtime.ingress.shell import Ingress
from understudy_runtime.invoker.inprocess import InProcessTransport
from understudy_runtime.limits import Limits
from understudy_runtime.node import Deployment, Node

from tests.bench.memory_world import MemoryHost, MemoryWorld
from tests.bench.services import app

CLIENTS = 64
RequestOf = Callable[[int], tuple[Request, bytes]]
JSON = (("content-type", "application/json"),)


@attrs.frozen
class Cost:
    """The least of several rounds: CPU microseconds per op, and the same in units of the calibration loop."""

    us_per_op: float
    ratio: float


def calibration_s() -> float:
    """CPU seconds of a fixed piece of Python: calls, attributes, small dicts, bytes; about a millisecond."""
    start = time.process_time()
    table: dict[int, bytes] = {}
    total = 0
    for i in range(4_000):
        pair = (i, i ^ 0x55)
        table[i & 255] = b"%d" % pair[1]
        total += len(table[i & 255])
        total = max(total & 0xFFFF, pair[0])
    assert total
    return time.process_time() - start


def echo_request(number: int) -> tuple[Request, bytes]:
    """An echo and its answer."""
    body = b'"hello %d"' % number
    return Request("POST", "/Echo/echo", JSON, body), body


def steps_request(number: int) -> tuple[Request, bytes]:
    """Ten steps and their sum."""
    return Request("POST", "/Steps/ten", JSON, b"%d" % number), b"%d" % (number + 45)


def fanout_request(number: int) -> tuple[Request, bytes]:
    """Twenty calls and the sum of their answers."""
    return Request("POST", "/Fan/out", JSON, b"%d" % number), b"%d" % (20 * number + 190)


CASES: Mapping[str, tuple[RequestOf, int]] = MappingProxyType(
    {"echo": (echo_request, 600), "ten steps": (steps_request, 100), "fan-out": (fanout_request, 64)}
)


async def measure(request_of: RequestOf, ops: int, rounds: int) -> Cost:
    """The cost of *ops* requests, the least of *rounds*."""
    world, limits = MemoryWorld(), Limits()
    async with trio.open_nursery() as nursery:
        transport = InProcessTransport(app, MemoryHost(nursery))
        deployment = Deployment("dp_bench", transport, (await transport.discover()).manifest)
        node = Node(world, limits, deployments=[deployment], observe=lambda event: None)
        await nursery.start(node.run)
        ingress = Ingress(node, limits)
        await run_round(ingress, request_of, ops)
        costs = [await timed_round(ingress, request_of, ops) for _ in range(rounds)]
        nursery.cancel_scope.cancel()
    return Cost(min(cost.us_per_op for cost in costs), min(cost.ratio for cost in costs))


async def timed_round(ingress: Ingress, request_of: RequestOf, ops: int) -> Cost:
    """One round between two calibrations."""
    gc.collect()
    before_s = min(calibration_s() for _ in range(5))
    start = time.process_time()
    await run_round(ingress, request_of, ops)
    used_s = time.process_time() - start
    unit_s = (before_s + min(calibration_s() for _ in range(5))) / 2
    return Cost(used_s / ops * 1e6, used_s / ops / unit_s)


async def run_round(ingress: Ingress, request_of: RequestOf, ops: int) -> None:
    """*ops* requests from CLIENTS clients, every answer checked."""
    numbers = iter(range(ops))

    async def client() -> None:
        for number in numbers:
            request, wanted = request_of(number)
            response = await ingress.handle(request)
            assert (response.status, response.body) == (200, wanted), response

    async with trio.open_nursery() as nursery:
        for _ in range(CLIENTS):
            nursery.start_soon(client)


def main() -> None:
    """Print the costs."""
    for name, (request_of, ops) in CASES.items():
        cost = trio.run(measure, request_of, ops, 15)
        print(f"{name}: {cost.us_per_op:.0f} µs CPU, {cost.ratio:.4f} calibration loops")


if __name__ == "__main__":
    main()
