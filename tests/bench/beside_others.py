"""Three small programs, written for our kernel, simloop and simloom, timed in one process on one interpreter.

    pip install simloop simloom     # both want Python 3.12 or newer
    python -m tests.bench.beside_others

* *steps*: a hundred tasks that give way a hundred times each: CPU per scheduling step.
* *heartbeats*: fifty tasks that sleep for a second, a thousand times: virtual seconds per CPU second.
* *seeds*: a server and two clients over the simulated network, who lose an update: seeds per CPU second, all of the run
  included, and how many of them lost it.

Rounds alternate between the three and the least CPU time counts: neighbours only ever slow a run down.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import platform
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from understudy_sim.kernel.choices import SeededChoices
from understudy_sim.kernel.kernel import Kernel

ROUNDS = 5
TASKS, TURNS = 100, 100
HEARTS, BEATS = 50, 1_000
SEEDS = 100
PORT = 8080


# --- the programs, once for trio and once for asyncio --------------------------------------------------------------


async def steps_trio(kernel: Kernel) -> None:
    async def give_way() -> None:
        for _ in range(TURNS):
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for _ in range(TASKS):
            nursery.start_soon(give_way)


async def steps_asyncio() -> None:
    async def give_way() -> None:
        for _ in range(TURNS):
            await asyncio.sleep(0)

    await asyncio.gather(*(give_way() for _ in range(TASKS)))


async def hearts_trio(kernel: Kernel) -> None:
    async def beat() -> None:
        for _ in range(BEATS):
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        for _ in range(HEARTS):
            nursery.start_soon(beat)


async def hearts_asyncio() -> None:
    async def beat() -> None:
        for _ in range(BEATS):
            await asyncio.sleep(1)

    await asyncio.gather(*(beat() for _ in range(HEARTS)))


async def line_of(stream: Any) -> bytes:
    """One line: our streams cut what is sent anywhere."""
    line = b""
    while not line.endswith(b"\n"):
        line += await stream.receive_some()
    return line


async def lost_update_trio(kernel: Kernel) -> bool:
    """A counter on one host, two clients who read it and write back one more.  Whether an update was lost."""
    count = 0
    server, *clients = (kernel.process(name) for name in ("counter", "a", "b"))
    left, done = [len(clients)], trio.Event()

    async def serve() -> None:
        listener = kernel.network.listen(server, PORT)

        async def handle(stream: Any) -> None:
            nonlocal count
            line = await line_of(stream)
            if line == b"get\n":
                await stream.send_all(b"%d\n" % count)
            else:
                count = int(line)
                await stream.send_all(b"ok\n")
            await stream.aclose()

        async with trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(handle, await listener.accept())

    async def call(process: Any, line: bytes) -> bytes:
        stream = await kernel.network.dial(process, "counter", PORT)
        await stream.send_all(line)
        reply = await line_of(stream)
        await stream.aclose()
        return reply

    async def increment(process: Any) -> None:
        seen = int(await call(process, b"get\n"))
        await call(process, b"%d\n" % (seen + 1))
        left[0] -= 1
        if not left[0]:
            done.set()

    server.start(serve)
    await trio.sleep(1)
    clients[0].start(increment, clients[0])
    await trio.sleep(0.02)
    clients[1].start(increment, clients[1])
    await done.wait()
    return count != len(clients)


async def counter_asyncio(spawn: Callable[[str, Callable[[], Awaitable[Any]]], Any]) -> bool:
    """The same for asyncio; *spawn* runs a coroutine on a host."""
    count = 0

    async def serve() -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal count
            line = await reader.readline()
            if line == b"get\n":
                writer.write(b"%d\n" % count)
            else:
                count = int(line)
                writer.write(b"ok\n")
            writer.close()

        server = await asyncio.start_server(handle, "counter", PORT)
        async with server:
            await server.serve_forever()

    async def call(line: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("counter", PORT)
        writer.write(line)
        reply = await reader.readline()
        writer.close()
        return reply

    async def increment() -> None:
        seen = int(await call(b"get\n"))
        await call(b"%d\n" % (seen + 1))

    spawn("counter", serve)
    await asyncio.sleep(1)
    first = spawn("a", increment)
    await asyncio.sleep(0.02)
    second = spawn("b", increment)
    await asyncio.gather(first, second)
    return count != 2


# --- the simulators ------------------------------------------------------------------------------------------------


def ours(main: Callable[[Kernel], Awaitable[Any]], seed: int) -> Any:
    with Kernel(SeededChoices(seed)) as kernel:
        kernel.network.profile.latency_low_ns, kernel.network.profile.latency_high_ns = 1_000_000, 50_000_000
        return kernel.run(main, kernel).value()


def in_simloop(main: Callable[[], Any], seed: int) -> Any:
    import simloop

    results: list[Any] = []

    async def workload() -> None:
        results.append(await main())

    failed = simloop.explore(workload, [seed])
    assert failed is None, failed
    return results[0]


async def lost_update_simloop() -> bool:
    net: Any = asyncio.get_running_loop().net  # type: ignore[attr-defined]
    net.set_defaults(latency=(0.001, 0.050))
    return await counter_asyncio(lambda host, fn: net.host(host).create_task(fn()))


def in_simloom(main: Callable[..., Any], seed: int) -> Any:
    import simloom

    return simloom.run(main, seed=seed).value


async def lost_update_simloom(world: Any) -> bool:
    world.net.set_latency(0.001, 0.050)
    return await counter_asyncio(lambda host, fn: world.host(host).spawn(fn))


SIMULATORS: dict[str, tuple[Callable[[Any, int], Any], Any, Any, Any]] = {
    "understudy": (ours, steps_trio, hearts_trio, lost_update_trio),
    "simloop": (in_simloop, steps_asyncio, hearts_asyncio, lost_update_simloop),
    "simloom": (in_simloom, steps_asyncio, hearts_asyncio, lost_update_simloom),
}


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    began = time.process_time()
    result = run()
    return time.process_time() - began, result


def measure(round_number: int, best: dict[str, dict[str, float]]) -> None:
    """One round of everything; keeps the least of each."""
    for name, (run, steps, hearts, lost) in SIMULATORS.items():
        row = best.setdefault(name, {})
        took, _ = timed(lambda run=run, steps=steps: run(steps, round_number))
        row["steps_us"] = min(row.get("steps_us", 1e9), took * 1e6 / (TASKS * TURNS))
        took, _ = timed(lambda run=run, hearts=hearts: run(hearts, round_number))
        row["virtual_per_s"] = max(row.get("virtual_per_s", 0.0), BEATS / took)
        took, found = timed(lambda run=run, lost=lost: [run(lost, seed) for seed in range(SEEDS)])
        row["seeds_per_s"] = max(row.get("seeds_per_s", 0.0), SEEDS / took)
        row["lost"] = sum(found)


def main() -> None:
    """The command line."""
    best: dict[str, dict[str, float]] = {}
    for number in range(ROUNDS):
        measure(number, best)
    print(f"Python {platform.python_version()}, trio {trio.__version__}")
    for name, row in best.items():
        version = importlib.metadata.version(name)
        print(
            f"{name:11} {version:8} {row['steps_us']:6.2f} us a step  {row['virtual_per_s']:8,.0f} virtual s per s  "
            f"{row['seeds_per_s']:6.0f} seeds/s, {row['lost']:.0f} of {SEEDS} lost an update"
        )
    if "--json" in sys.argv:
        print(json.dumps(best))


if __name__ == "__main__":
    main()
