"""asyncio programs in simulated processes: clock, connections, order and end of theirs, and what they are refused."""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import trio
from understudy_sim.kernel.aio_loop import NotSimulated, SimAsyncioLoop, open_loop
from understudy_sim.kernel.choices import SeededChoices
from understudy_sim.kernel.fence import Fence, RealWorldUsed, Zone
from understudy_sim.kernel.kernel import Kernel, KernelOutcome
from understudy_sim.kernel.process import Process

Main = Callable[[], Awaitable[Any]]
ROOT = Path(__file__).resolve().parents[3]


def rehearsed(kernel: Kernel, *mains: tuple[str, Main], seconds: float = 60) -> dict[str, Any]:
    """Run each main on an asyncio loop in a process of its name; what they return or raise, by name."""
    results: dict[str, Any] = {}

    def start(name: str, main: Main) -> None:
        async def hosted() -> None:
            async with open_loop(kernel) as loop:
                try:
                    results[name] = await loop.run_aio_coroutine(main())
                except Exception as error:
                    results[name] = error
                await trio.sleep_forever()

        kernel.process(name).start(hosted)

    async def scenario() -> None:
        for name, main in mains:
            start(name, main)
        await trio.sleep(seconds)

    def zone() -> Zone:
        process = kernel.current_process
        return Zone.OUTSIDE if process is None or process.name == "main" else Zone.RUN

    with Fence(kernel, zone, lambda hazard: None):
        outcome: KernelOutcome = kernel.run(scenario)
    outcome.value()
    results["digest"] = outcome.digest
    return results


def alone(main: Main, *, seed: int = 7) -> Any:
    """What *main* comes to, alone in the world."""
    with Kernel(SeededChoices(seed)) as kernel:
        return rehearsed(kernel, ("app", main))["app"]


# --- what works -----------------------------------------------------------------------------------------------


async def echo_server(port: int = 80) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        await asyncio.sleep(1)
        writer.write(b"echo " + line)
        await writer.drain()
        writer.close()

    await asyncio.start_server(handle, "0.0.0.0", port)


async def ask(number: int) -> bytes:
    while True:
        try:
            reader, writer = await asyncio.open_connection("server", 80)
            break
        except ConnectionRefusedError:
            await asyncio.sleep(0.1)
    writer.write(b"%d\n" % number)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def five() -> list[bytes]:
    return await asyncio.gather(*(ask(number) for number in range(5)))


def test_streams_reach_simulated_hosts() -> None:
    with Kernel(SeededChoices(7)) as kernel:
        results = rehearsed(kernel, ("server", echo_server), ("client", five))
    assert results["client"] == [b"echo %d\n" % number for number in range(5)]


def test_equal_seeds_are_equal_runs_and_others_are_not() -> None:
    digests = []
    for seed in (1, 1, 2):
        with Kernel(SeededChoices(seed)) as kernel:
            digests.append(rehearsed(kernel, ("server", echo_server), ("client", five))["digest"])
    assert digests[0] == digests[1] != digests[2]


def test_time_is_virtual() -> None:
    async def main() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        before = loop.time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(20):
                await asyncio.sleep(3600)
        return loop.time() - before, time.monotonic()

    began = time.perf_counter()
    took, monotonic = alone(main)
    assert 20 <= took < 20.001
    assert 20 <= monotonic < 21
    assert time.perf_counter() - began < 5


def test_callbacks_and_timers_run_in_asyncios_order() -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        seen: list[str] = []
        loop.call_later(2, seen.append, "two")
        loop.call_later(1, seen.append, "one, first")
        loop.call_later(1, seen.append, "one, second")
        loop.call_later(-1, seen.append, "at once")
        cancelled = loop.call_later(1, seen.append, "never")
        for number in range(3):
            loop.call_soon(seen.append, f"soon {number}")
        cancelled.cancel()
        await asyncio.sleep(3)
        return seen

    assert alone(main) == ["soon 0", "soon 1", "soon 2", "at once", "one, first", "one, second", "two"]


def test_many_cancelled_timers_are_let_go() -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimAsyncioLoop)
        for _ in range(2_000):
            loop.call_later(1_000, print).cancel()
        await asyncio.sleep(0)
        return len(loop._due)

    assert alone(main) < 300


def test_what_was_meant_for_a_thread_runs_in_the_loop() -> None:
    async def main() -> tuple[str, list[int]]:
        here = threading.current_thread().name
        there = await asyncio.to_thread(lambda: threading.current_thread().name)
        assert here == there
        loop = asyncio.get_running_loop()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            squares = await asyncio.gather(*(loop.run_in_executor(pool, pow, n, 2) for n in range(3)))
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        return there, squares

    assert alone(main)[1] == [0, 1, 4]


def test_anyio_and_httpx_reach_simulated_hosts() -> None:
    async def server() -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            body = head.split(b" ")[1]
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
            writer.close()

        await asyncio.start_server(handle, "", 80)

    async def client() -> tuple[str, bytes]:
        await asyncio.sleep(1)
        async with httpx.AsyncClient(base_url="http://server", trust_env=False) as http:
            answers = [(await http.get(f"/{number}")).text for number in range(2)]
        with anyio.fail_after(5):
            async with await anyio.connect_tcp("server", 80) as stream:
                await stream.send(b"GET /anyio HTTP/1.1\r\n\r\n")
                return " ".join(answers), await stream.receive()

    with Kernel(SeededChoices(7)) as kernel:
        text, raw = rehearsed(kernel, ("server", server), ("client", client))["client"]
    assert text == "/0 /1"
    assert raw.startswith(b"HTTP/1.1 200 OK")


def test_an_unknown_host_and_a_closed_port_are_as_on_a_real_network() -> None:
    async def main() -> list[str]:
        seen = []
        for host in ("nowhere", "app"):
            try:
                await asyncio.open_connection(host, 9)
            except OSError as error:
                seen.append(type(error).__name__)
        return seen

    assert alone(main) == ["gaierror", "ConnectionRefusedError"]


def test_a_blocking_sleep_stops_the_world_for_as_long() -> None:
    async def main() -> float:
        before = asyncio.get_running_loop().time()
        time.sleep(5)  # noqa: ASYNC251  # That is the point.
        return asyncio.get_running_loop().time() - before

    assert alone(main) == pytest.approx(5)


# --- order that does not hang on addresses --------------------------------------------------------------------

ORDERS = """
import asyncio, sys
from tests.sim.kernel.test_aio_loop import alone

async def main():
    order = []
    async def work(n):
        await asyncio.sleep(0.01 * (n % 3))
        order.append(n)
        return n
    tasks = {asyncio.create_task(work(n)) for n in range(40)}
    keep = [object() for _ in range(len(sys.argv[1]))]
    for task in tasks:
        order.append(task.get_name())
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    order += [task.result() for task in done]
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        order.append(task.get_name())
        task.cancel()
    await asyncio.wait(pending)
    futures = {asyncio.get_running_loop().create_future() for _ in range(40)}
    for n, future in enumerate(futures):
        future.set_result(n)
    order += [future.result() for future in futures]
    return order

print(alone(main))
"""


def test_sets_of_tasks_and_futures_have_one_order_in_every_process() -> None:
    seen = {
        subprocess.run(
            [sys.executable, "-c", ORDERS, "x" * salt],
            cwd=ROOT,
            env={"PYTHONHASHSEED": str(salt), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for salt in (1, 77)
    }
    assert len(seen) == 1
    assert "Task-" in seen.pop()


# --- the end --------------------------------------------------------------------------------------------------


def test_a_crash_runs_nothing_and_leaves_nothing_to_say() -> None:
    seen: list[str] = []

    async def main() -> None:
        async def work() -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                seen.append("finally")
                await asyncio.sleep(1)
                seen.append("never")

        await asyncio.gather(work(), work())

    async def hosted() -> None:
        async with open_loop(kernel) as loop:
            await loop.run_aio_coroutine(main())

    async def scenario() -> None:
        process = kernel.process("app")
        process.start(hosted)
        await trio.sleep(10)
        process.crash()
        await trio.sleep(10)
        assert seen == []

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Kernel(SeededChoices(7)) as kernel:
            kernel.run(scenario).value()
    assert "never" not in seen


def test_leaving_in_order_cancels_what_runs() -> None:
    seen: list[str] = []

    async def work(name: str) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(1)
            seen.append(name)

    async def begin() -> None:
        for name in ("first", "second"):
            asyncio.create_task(work(name)).set_name(name)
        await asyncio.sleep(1)

    async def hosted() -> None:
        async with open_loop(kernel) as loop:
            await loop.run_aio_coroutine(begin())
        seen.append("left")

    def over(process: Process, result: Any) -> None:
        seen.append(type(result).__name__)

    async def scenario() -> None:
        kernel.process("app").start(hosted, on_exit=over)
        await trio.sleep(10)

    with Kernel(SeededChoices(7)) as kernel:
        kernel.run(scenario).value()
    assert seen == ["first", "second", "left", "Value"]


# --- what is refused ------------------------------------------------------------------------------------------


async def a_process_pool() -> None:
    with concurrent.futures.ProcessPoolExecutor() as pool:
        await asyncio.get_running_loop().run_in_executor(pool, print)


async def a_subprocess() -> None:
    await asyncio.create_subprocess_exec("true")


async def datagrams() -> None:
    await asyncio.get_running_loop().create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("", 1))


async def a_unix_socket() -> None:
    await asyncio.open_unix_connection("/tmp/x")


async def tls() -> None:
    await asyncio.open_connection("app", 443, ssl=True)


async def a_descriptor() -> None:
    asyncio.get_running_loop().add_reader(0, print)


@pytest.mark.parametrize("main", [a_process_pool, a_subprocess, datagrams, a_unix_socket, tls, a_descriptor])
def test_what_the_world_does_not_have_is_refused_where_it_is_asked_for(main: Main) -> None:
    error = alone(main)
    assert isinstance(error, NotSimulated)
    assert f"{main.__name__} ({__file__}:" in str(error)
    assert "Use " in str(error)


async def a_thread() -> None:
    threading.Thread(target=print).start()


async def a_socket() -> None:
    socket.create_connection(("example.org", 80))


async def a_command() -> None:
    subprocess.run(["true"], check=False)  # noqa: ASYNC221  # That is the mistake.


@pytest.mark.parametrize("main", [a_thread, a_socket, a_command])
def test_the_real_world_is_refused_where_it_is_used(main: Main) -> None:
    error = alone(main)
    assert isinstance(error, RealWorldUsed)
    assert f"{main.__name__} ({__file__}:" in str(error)
