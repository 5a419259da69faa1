"""How the rehearsed services talk to what lies outside: one JSON line there, one back, over a stream.

Nothing here is durable and nothing here retries: `ctx.run` does both.  Where a service lies comes from the environment
(`host:port`); without an address a stand-in in this process answers, so that `understudy dev` works with nothing else
running.  It works on trio and on asyncio, as the services that are rehearsed on either do.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any, Final

import sniffio
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
        exchange = _on_asyncio if sniffio.current_async_library() == "asyncio" else _on_trio
        try:
            line = await exchange(host, int(port), json.dumps(request).encode() + b"\n")
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
            raise Unavailable(f"{self.address} did not answer: {error!r}") from error
        answer: dict[str, Any] = json.loads(line.partition(b"\n")[0])
        if "error" in answer:
            raise Unavailable(f"{self.address} refused for now: {answer['error']}")
        return answer


async def _on_trio(host: str, port: int, line: bytes) -> bytes:
    with trio.fail_after(ANSWER_TIMEOUT_S):
        stream = await trio.open_tcp_stream(host, port)
        async with stream:
            await stream.send_all(line)
            received = b""
            while b"\n" not in received:
                received = _more(host, port, received, await stream.receive_some(4096))
    return received


async def _on_asyncio(host: str, port: int, line: bytes) -> bytes:
    async with asyncio.timeout(ANSWER_TIMEOUT_S):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(line)
            received = b""
            while b"\n" not in received:
                received = _more(host, port, received, await reader.read(4096))
        finally:
            writer.close()
    return received


def _more(host: str, port: int, received: bytes, data: bytes) -> bytes:
    if not data:
        raise Unavailable(f"{host}:{port} hung up before it answered")
    if len(received) + len(data) > ANSWER_BYTES_MAX:
        raise Unavailable(f"{host}:{port} answered more than {ANSWER_BYTES_MAX} bytes")
    return received + data
