"""How the rehearsed services talk to what lies outside: one JSON line there, one back, over a stream.

Nothing here is durable and nothing here retries: `ctx.run` does both.  Where a service lies comes from the environment
(`host:port`); without an address a stand-in in this process answers, so that `understudy dev` works with nothing else
running.
"""

from __future__ import annotations

import json
import os
from typing import Any, Final

import trio

ANSWER_TIMEOUT_S: Final = 20
ANSWER_BYTES_MAX: Final = 64 * 1024


class Unavailable(Exception):
    """The service did not answer, or cannot now.  It may have done what was asked: ask again with the same key."""


class Service:
    """A service outside, whose address is in the environment variable *variable*."""

    def __init__(self, variable: str) -> None:
        self.address = os.environ.get(variable, "")

    async def ask(self, request: dict[str, Any], *, stand_in: dict[str, Any]) -> dict[str, Any]:
        """The answer to *request*.  Raises Unavailable."""
        if not self.address:
            return stand_in
        host, _, port = self.address.rpartition(":")
        try:
            with trio.fail_after(ANSWER_TIMEOUT_S):
                line = await _exchange_line(host, int(port), json.dumps(request).encode() + b"\n")
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
            raise Unavailable(f"{self.address} did not answer: {error!r}") from error
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Unavailable(f"{self.address} refused for now: {answer['error']}")
        return answer


async def _exchange_line(host: str, port: int, line: bytes) -> bytes:
    stream = await trio.open_tcp_stream(host, port)
    async with stream:
        await stream.send_all(line)
        received = b""
        while not received.endswith(b"\n"):
            data = await stream.receive_some(4096)
            if not data:
                raise Unavailable(f"{host}:{port} hung up before it answered")
            received += data
            if len(received) > ANSWER_BYTES_MAX:
                raise Unavailable(f"{host}:{port} answered more than {ANSWER_BYTES_MAX} bytes")
    return received
