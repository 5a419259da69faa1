"""Closed-loop HTTP/1.1 load: C clients, one keep-alive connection each; prints one JSON object.

Every client sends its next request when the previous answer is complete.  One *op* is one unit of a workload: a single
request, or (tickets) four in sequence.  The ops that end inside the window count, also those that began before it: with
long ops and short windows anything else would favour the fast.  Every answer is checked.  Standard library only, so
that it costs the machine as little as possible.

    python -m tests.bench.loadgen --url http://127.0.0.1:8080 --workload echo -c 8 -d 8 --watch dev=1234
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from tests.bench.procfs import Window, latency_ms


class WrongAnswer(Exception):
    """The server answered something else than the workload expects, or not at all."""


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request at a time: the smallest parser that does."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._body_at = -1
        self._body_bytes = -1
        self._status = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self._answer and not self._answer.done():
            self._answer.set_exception(WrongAnswer(f"connection lost: {exc!r}"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._body_at < 0 and not self._read_head():
            return
        body = self._chunked_body() if self._body_bytes < 0 else self._sized_body()
        if body is None:
            return
        self._buffer.clear()
        self._body_at = -1
        answer, self._answer = self._answer, None
        if answer and not answer.done():
            answer.set_result((self._status, body))

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._buffer[:end]).lower() + b"\r\n"
        self._status = int(head[9:12])
        self._body_at = end + 4
        _, found, rest = head.partition(b"\r\ncontent-length:")
        self._body_bytes = int(rest.partition(b"\r\n")[0]) if found else -1
        return True

    def _sized_body(self) -> bytes | None:
        end = self._body_at + self._body_bytes
        return bytes(self._buffer[self._body_at : end]) if len(self._buffer) >= end else None

    def _chunked_body(self) -> bytes | None:
        if not self._buffer.endswith(b"0\r\n\r\n"):
            return None
        body, at = b"", self._body_at
        while True:
            end = self._buffer.find(b"\r\n", at)
            length = int(self._buffer[at:end], 16)
            if length == 0:
                return body
            body += self._buffer[end + 2 : end + 2 + length]
            at = end + 2 + length + 2

    def send(self, request: bytes) -> Awaitable[tuple[int, bytes]]:
        """Send one whole request; the answer is (status, body)."""
        if self.transport is None:
            raise WrongAnswer("not connected")
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._answer


class Client:
    """One client: connects when it must."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._connection: Connection | None = None
        self._head = f" HTTP/1.1\r\nHost: {host}:{port}\r\n".encode()
        self.requests = 0

    async def connect(self) -> None:
        _, self._connection = await asyncio.get_running_loop().create_connection(Connection, self._host, self._port)

    def close(self) -> None:
        if self._connection and self._connection.transport:
            self._connection.transport.close()
        self._connection = None

    async def ok(self, path: str, body: bytes | None = None, headers: bytes = b"") -> bytes:
        """POST, and the body of the answer, which must be a success.  *headers* are whole lines."""
        if self._connection is None or self._connection.transport is None:
            await self.connect()
        assert self._connection is not None
        kind = b"" if body is None else b"content-type: application/json\r\n"
        length = b"content-length: %d\r\n\r\n" % len(body or b"")
        self.requests += 1
        status, answer = await self._connection.send(
            b"".join((b"POST ", path.encode(), self._head, headers, kind, length, body or b""))
        )
        if status not in (200, 202):
            raise WrongAnswer(f"{path}: {status} {answer[:200]!r}")
        return answer


Op = Callable[[Client, random.Random, int, int], Awaitable[None]]
RUN = f"{os.getpid():x}{time.time_ns() & 0xFFFFFF:x}"  # Keys differ from run to run.


def expect(found: bytes, wanted: bytes) -> None:
    """Both must be equal."""
    if found != wanted:
        raise WrongAnswer(f"wrong answer {found[:200]!r}, expected {wanted[:200]!r}")


async def echo(client: Client, rng: random.Random, number: int, sequence: int) -> None:
    """A service handler returns its input."""
    body = b'"hello %d-%d"' % (number, sequence)
    expect(await client.ok("/Echo/echo", body), body)


async def counter(client: Client, rng: random.Random, number: int, sequence: int) -> None:
    """A Virtual Object reads and writes its state; 1,000 keys, uniformly."""
    if int(await client.ok(f"/Counter/k{rng.randrange(1000)}/add", b"1")) < 1:
        raise WrongAnswer("the counter went backwards")


async def counter_hot(client: Client, rng: random.Random, number: int, sequence: int) -> None:
    """The same on one key."""
    if int(await client.ok("/Counter/hot/add", b"1")) < 1:
        raise WrongAnswer("the counter went backwards")


async def steps10(client: Client, rng: random.Random, number: int, sequence: int) -> None:
    """Ten `ctx.run` in sequence."""
    expect(await client.ok("/Steps/ten", b"%d" % sequence), b"%d" % (sequence + 45))


async def tickets(client: Client, rng: random.Random, number: int, sequence: int) -> None:
    """One user: three times addTicket, then checkout (8 invocations before the answer, 6 sends after it)."""
    user = f"u{RUN}-{number}-{sequence}"
    for i in range(3):
        expect(await client.ok(f"/CartObject/{user}/addTicket", f'"seat-{user}-{i}"'.encode()), b"true")
    expect(await client.ok(f"/CartObject/{user}/checkout"), b"true")


async def fanout20(client: Client, rng: random.Random, number: int, sequence: int) -> None:
    """A handler calls 20 others at once and gathers."""
    expect(await client.ok("/Fan/out", b"%d" % sequence), b"%d" % (20 * sequence + 190))


WORKLOADS: Mapping[str, Op] = MappingProxyType(
    {op.__name__: op for op in (echo, counter, counter_hot, steps10, tickets, fanout20)}
)


class Run:
    """One closed loop: warm-up, window, end."""

    def __init__(self, host: str, port: int, op: Op, clients: int) -> None:
        self._op = op
        self._pool = [Client(host, port) for _ in range(clients)]
        self._latencies: list[float] = []
        self._errors: list[str] = []
        self._window: tuple[float, float] = (float("inf"), float("inf"))
        self._stopped = False

    async def measure(self, duration_s: float, warmup_s: float, watch: Mapping[str, int]) -> dict[str, Any]:
        """All figures of the window."""
        for client in self._pool:
            await client.connect()
        tasks = [asyncio.create_task(self._client(i, client)) for i, client in enumerate(self._pool)]
        await asyncio.sleep(warmup_s)
        self._errors.clear()
        gc.collect()
        gc.disable()
        window = Window({**watch, "loadgen": os.getpid()})
        window.start()
        start = time.perf_counter()
        self._window = (start, float("inf"))
        await asyncio.sleep(duration_s)
        end = time.perf_counter()
        self._window = (start, end)
        usage = window.stop()
        self._stopped = True
        gc.enable()
        _, stuck = await asyncio.wait(tasks, timeout=60)
        for task in stuck:
            task.cancel()
        for client in self._pool:
            client.close()
        return self._figures(end - start, usage, len(stuck))

    async def _client(self, number: int, client: Client) -> None:
        rng = random.Random(number * 7919 + 1)
        for sequence in itertools.count():
            if self._stopped:
                return
            start = time.perf_counter()
            try:
                await self._op(client, rng, number, sequence)
            except (WrongAnswer, OSError, ValueError) as error:
                self._errors.append(f"{type(error).__name__}: {error}"[:300])
                client.close()
                await asyncio.sleep(0.01)
                continue
            end = time.perf_counter()
            if self._window[0] <= end <= self._window[1]:
                self._latencies.append(end - start)

    def _figures(self, took_s: float, usage: dict[str, Any], stuck: int) -> dict[str, Any]:
        ops = len(self._latencies)
        return {
            "clients": len(self._pool),
            "duration_s": round(took_s, 3),
            "ops": ops,
            "ops_per_s": round(ops / took_s, 2),
            "latency_ms": latency_ms(self._latencies),
            "errors": len(self._errors),
            "error_examples": sorted(set(self._errors))[:3],
            "stuck_clients": stuck,
            "cpu_us_per_op": {name: round(used / ops * 1e6, 1) for name, used in usage["cpu_s"].items()} if ops else {},
            "usage": usage,
        }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True, help="the ingress, for example http://127.0.0.1:8080")
    parser.add_argument("--workload", choices=sorted(WORKLOADS), required=True)
    parser.add_argument("-c", "--clients", type=int, default=8)
    parser.add_argument("-d", "--duration", type=float, default=8.0, help="seconds")
    parser.add_argument("-w", "--warmup", type=float, default=2.0, help="seconds")
    parser.add_argument("--watch", action="append", default=[], metavar="NAME=PID", help="a process to account for")
    args = parser.parse_args()
    url = urlsplit(args.url)
    watch = {name: int(pid) for name, _, pid in (pair.partition("=") for pair in args.watch)}
    run = Run(url.hostname or "127.0.0.1", url.port or 8080, WORKLOADS[args.workload], args.clients)
    figures = asyncio.run(run.measure(args.duration, args.warmup, watch))
    json.dump({"workload": args.workload, **figures}, sys.stdout)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
