"""A program full of what trio orders by address or by set, as a script: prints one digest per seed.

    python tests/sim/kernel/nasty.py FIRST COUNT [junk] [hypothesis]

Nested nurseries, `nursery.start`, equal deadlines, one Event with many waiters, a limiter, channels,
abandoned async generators, cancelled subtrees whose abort order shows, crashes, pauses, streams, exchanges
and a disk.  Equal runs must print equal lines in every process, whatever the hash seed, the Python or trio
version, the modules imported and the junk on the heap.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any

import trio
import trio.testing
from understudy_sim.kernel.choices import SeededChoices
from understudy_sim.kernel.kernel import Kernel
from understudy_sim.kernel.network import Slowness

JUNK: list[object] = []


class Log:
    """Notes go into the trace, so that the digest covers the order in which things happened."""

    def __init__(self, kernel: Kernel, junk: bool) -> None:
        self.kernel = kernel
        self.junk = junk

    def __call__(self, *words: int) -> None:
        self.kernel.trace.note("log", self.kernel.now_ns, *words)
        if self.junk:
            JUNK.append([object() for _ in range(len(JUNK) % 7)])
            if len(JUNK) > 500:
                del JUNK[::2]


async def numbers(log: Log, key: int) -> AsyncIterator[int]:
    try:
        for number in range(100):
            await trio.lowlevel.checkpoint()
            yield number
    finally:
        log(1, key)


async def waiter(log: Log, event: trio.Event, key: int) -> None:
    try:
        await event.wait()
        log(2, key)
        await trio.sleep(0.5)
        log(3, key)
    except trio.Cancelled:
        log(4, key)
        raise


async def starter(log: Log, key: int, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
    await trio.sleep(0.1)
    task_status.started(key)
    try:
        await trio.sleep_forever()
    finally:
        log(5, key)


async def parked(log: Log, key: int) -> None:
    """Shows the order in which a cancel walks its tasks: the abort function itself notes."""

    def abort(_: object) -> trio.lowlevel.Abort:
        log(13, key)
        return trio.lowlevel.Abort.SUCCEEDED

    await trio.lowlevel.wait_task_rescheduled(abort)


async def in_scope(log: Log, key: int) -> None:
    with trio.CancelScope():
        await parked(log, key)


async def deadlines(log: Log, key: int) -> None:
    with trio.move_on_after(1):
        async with trio.open_nursery() as nursery:
            for child in range(4):
                nursery.start_soon(waiter, log, trio.Event(), 100 * key + child)
    log(6, key)


async def channels(log: Log) -> None:
    send, receive = trio.open_memory_channel[int](2)

    async def produce(channel: trio.MemorySendChannel[int], base: int) -> None:
        async with channel:
            for item in range(5):
                await channel.send(base + item)

    async def consume(channel: trio.MemoryReceiveChannel[int], key: int) -> None:
        async with channel:
            async for item in channel:
                log(7, key, item)

    async with trio.open_nursery() as nursery:
        async with send, receive:
            for index in range(3):
                nursery.start_soon(produce, send.clone(), 100 * index)
                nursery.start_soon(consume, receive.clone(), index)


async def limited(log: Log, limiter: trio.CapacityLimiter, key: int) -> None:
    async with limiter:
        log(8, key)
        await trio.sleep(0.01 * (key % 3))
    async for number in numbers(log, key):
        if number == key % 4:
            break  # The generator is abandoned on purpose.


async def nasty(log: Log) -> None:
    event = trio.Event()
    limiter = trio.CapacityLimiter(2)
    async with trio.open_nursery() as outer:
        for key in range(8):
            outer.start_soon(waiter, log, event, key)
            outer.start_soon(limited, log, limiter, key)
        for key in range(5):
            outer.start_soon(deadlines, log, key)
        await outer.start(starter, log, 1)
        await outer.start(starter, log, 2)
        outer.start_soon(channels, log)
        for key in range(30):
            outer.start_soon(parked, log, key)
        for key in range(30, 40):
            outer.start_soon(in_scope, log, key)
        await trio.sleep(0.2)
        event.set()
        await trio.sleep(2)
        outer.cancel_scope.cancel()


async def echo(kernel: Kernel, log: Log) -> None:
    process = kernel.current_process
    assert process is not None
    disk = kernel.medium("server").mount(process)
    file = disk.open("log", create=True)
    log(9, file.size())
    listener = kernel.network.listen(process, 80)

    async def serve(stream: trio.abc.HalfCloseableStream) -> None:
        try:
            async for data in stream:
                file.pwrite(file.size(), data)
                await file.fdatasync()
                await stream.send_all(data)
        except trio.BrokenResourceError:
            log(10)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        while True:
            nursery.start_soon(serve, await listener.accept())


async def client(kernel: Kernel, log: Log, key: int) -> None:
    process = kernel.current_process
    assert process is not None
    for call in range(10):
        with trio.move_on_after(3):
            try:
                stream = await kernel.network.dial(process, "server", 80)
                await stream.send_all(bytes([key, call]) * 300)
                await stream.send_eof()
                async for data in stream:
                    log(11, key, len(data))
            except (OSError, trio.BrokenResourceError):
                log(12, key)
        await trio.sleep(0.05)


async def main(kernel: Kernel, log: Log) -> None:
    ended: list[str] = []
    server = kernel.process("server")
    server.start(echo, kernel, log)
    kernel.process("nasty").start(nasty, log, on_exit=lambda process, result: ended.append(process.name))
    for key in range(3):
        name = f"client{key}"
        kernel.process(name).start(client, kernel, log, key, on_exit=lambda process, result: ended.append(process.name))
    choices = kernel.choices
    for _ in range(4):
        await kernel.sleep_ns(choices.integer("main.wait", 1, 400_000_000))
        kernel.network.block("client1", "server")
        kernel.network.slow("server", "client2", Slowness(1_000_000, 10_000))
        server.pause(50_000_000)
        await kernel.sleep_ns(100_000_000)
        server.crash()
        await kernel.sleep_ns(50_000_000)
        server.start(echo, kernel, log)
        kernel.network.heal()
    while len(ended) < 4:
        await kernel.sleep_ns(1_000_000_000)
    await trio.testing.wait_all_tasks_blocked()


def digest(seed: int, junk: bool = False) -> str:
    """Run the program and name the run."""
    with Kernel(SeededChoices(seed)) as kernel:
        outcome = kernel.run(main, kernel, Log(kernel, junk))
        outcome.value()
        return f"{seed} {outcome.digest} {outcome.steps} {outcome.time_ns}"


if __name__ == "__main__":
    if "hypothesis" in sys.argv:
        import hypothesis

        hypothesis.settings()
    for number in range(int(sys.argv[1]), int(sys.argv[1]) + int(sys.argv[2])):
        print(digest(number, "junk" in sys.argv))
