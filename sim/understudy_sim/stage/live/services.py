"""External services on real ports: the scenario's own classes, whose ledgers its claims read.

One JSON line in, one out, as in the simulator; always at once and never failing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import trio

from understudy_sim.stage.external import External

HOST: Final = "127.0.0.1"


async def serve(external: External[Any], stream: trio.SocketStream) -> None:
    """Answer one caller until it goes away."""
    received = b""
    try:
        while data := await stream.receive_some():
            received += data
            while b"\n" in received:
                line, received = received.split(b"\n", 1)
                answer = external.answer(json.loads(line))
                await stream.send_all(json.dumps(answer).encode() + b"\n")
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return


async def opened(external: External[Any], nursery: trio.Nursery) -> None:
    """Serve *external* at its own port until *nursery* is over.  Raises OSError when the port is taken."""

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            await serve(external, stream)

    listeners = await trio.open_tcp_listeners(external.port, host=HOST)
    nursery.start_soon(trio.serve_listeners, handle, listeners)


def addresses(externals: Sequence[External[Any]]) -> dict[str, str]:
    """What handlers must find in their environment."""
    return {one.address_variable: f"{HOST}:{one.port}" for one in externals}
