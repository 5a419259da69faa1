"""A fixed list of requests by several clients, and the steps' own record of what was executed.

Unlike `loadgen`, which measures a window, this ends when everything is answered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs

from tests.bench.loadgen import Client, WrongAnswer
from tests.bench.procfs import latency_ms


@attrs.frozen
class Request:
    """One POST: its path, its body, and further header lines."""

    path: str
    body: bytes | None = None
    headers: bytes = b""


@attrs.frozen
class Answers:
    """What came back: bodies in the order of their arrival, and how long it took."""

    bodies: list[bytes]
    errors: list[str]
    took_s: float
    latency_ms: dict[str, float]

    def figures(self) -> dict[str, Any]:
        """All but the bodies."""
        rate = round(len(self.bodies) / self.took_s, 1)
        errors = {"errors": len(self.errors), "error_examples": sorted(set(self.errors))[:3]}
        return {
            "answered": len(self.bodies),
            "took_s": round(self.took_s, 2),
            "per_s": rate,
            **errors,
            **self.latency_ms,
        }


def send_all(port: int, requests: Iterable[Request], clients: int) -> Answers:
    """Send *requests* with *clients* keep-alive connections; a request that fails is not sent again."""
    return asyncio.run(_send_all(port, iter(requests), clients))


async def _send_all(port: int, requests: Iterator[Request], clients: int) -> Answers:
    bodies: list[bytes] = []
    errors: list[str] = []
    latencies: list[float] = []
    began = time.perf_counter()

    async def one() -> None:
        client = Client("127.0.0.1", port)
        for request in requests:
            start = time.perf_counter()
            try:
                bodies.append(await client.ok(request.path, request.body, request.headers))
                latencies.append(time.perf_counter() - start)
            except (WrongAnswer, OSError, ValueError) as error:
                errors.append(f"{type(error).__name__}: {error}"[:300])
                client.close()
        client.close()

    await asyncio.gather(*(one() for _ in range(clients)))
    return Answers(bodies, errors, time.perf_counter() - began, latency_ms(latencies))


def side_lines(path: Path) -> list[list[str]]:
    """The words of each line the steps have written so far."""
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []
