"""An attendant: somebody of the scenario's own who watches the server through its admin while the operations run.

    async def mend(desk: Desk) -> None:
        while True:
            await desk.sleep(30)
            for found in (await desk.get("/invocations"))["invocations"]:
                ...

It runs from the beginning until all is quiet, asks until it is answered, and is no part of what is shrunk.  What it
does must be able to wait: it is cut off between two steps when nothing is left to happen.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio
from understudy_runtime.ingress.port import Request, Response

from understudy_sim.kernel.kernel import Kernel
from understudy_sim.kernel.process import Process
from understudy_sim.stage.aim import Moments
from understudy_sim.stage.client import TIMEOUT_S, Connection, ask_once, insist
from understudy_sim.stage.server import SERVER

HOST: Final = ("host", SERVER)


class Desk:
    """Where an attendant sits: its clock and its way to the admin."""

    def __init__(self, kernel: Kernel, process: Process, moments: Moments, connection: Connection) -> None:
        self.process = process
        self._kernel = kernel
        self._moments = moments
        self._connection = connection

    async def sleep(self, seconds: float) -> None:
        """Wait, in virtual time."""
        await trio.sleep(seconds)

    async def get(self, path: str) -> Any:
        """The JSON at *path*; None where there is nothing."""
        response = await self.ask("GET", path)
        return json.loads(response.body) if response.status == 200 else None

    async def ask(self, method: str, path: str, body: Any = None) -> Response:
        """Ask until the server is there to answer."""
        headers = (HOST,) if body is None else (HOST, ("content-type", "application/json"))
        request = Request(method, path, headers, b"" if body is None else json.dumps(body).encode())

        async def once() -> Response | None:
            self._moments.begins(f"{self.process.name} > {SERVER}")
            return await ask_once(self._connection, request, TIMEOUT_S)

        response, _ = await insist(self._kernel, once)
        return response


Attending = Callable[[Desk], Awaitable[None]]


class Attendant:
    """Runs *attending* in a process of its own, called *name*."""

    def __init__(
        self,
        kernel: Kernel,
        name: str,
        attending: Attending,
        moments: Moments,
        connect: Callable[[Process], Connection],
    ) -> None:
        self.process = kernel.process(name)
        self._desk = Desk(kernel, self.process, moments, connect(self.process))
        self._attending = attending

    def start(self) -> None:
        """Start the process."""
        self.process.start(self._attending, self._desk, on_exit=lambda process, result: result.unwrap())

    def stop(self) -> None:
        """All is quiet: nobody needs it any more."""
        if self.process.alive:
            self.process.crash(power=False)
