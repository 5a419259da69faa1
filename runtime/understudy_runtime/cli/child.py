"""Services in a child process of the server's: `understudy host`, supervised.

A handler that blocks, leaks or dies takes its own process down, not the server's: the child is started again, and what
ran in it is tried again.  Its port is bound here and inherited, so it stays the same, and calls wait while the child is
replaced.  The child ends with the server, however that ends: the server holds its standard input.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Final

import attrs
import trio
from understudy.asgi import FINGERPRINT

from understudy_runtime.cli.configuration import Logging
from understudy_runtime.cli.inside import NAMELESS
from understudy_runtime.cli.output import Logger
from understudy_runtime.cli.serving import ServicesFailed
from understudy_runtime.http.connect import Connector
from understudy_runtime.invoker.port import Discovery, TransportError
from understudy_runtime.model.endpoint import Endpoint
from understudy_runtime.model.ids import deployment_id
from understudy_runtime.node import Deployment
from understudy_runtime.real_world import BoundSocket, RealWorld

# What `subprocess` calls PIPE.
PIPE: Final = -1
READY_SECONDS: Final = 60
AGAIN_SECONDS: Final = 0.05
# Before a child is started again: the pause doubles while children end young.
PAUSE_SECONDS_FIRST: Final = 0.1
PAUSE_SECONDS_MAX: Final = 5.0
OLD_SECONDS: Final = 10.0
END_SECONDS: Final = 5


class Outside:
    """The application *spec* in a child; see `Services`."""

    def __init__(self, spec: str, logging: Logging, logger: Logger) -> None:
        self._spec = spec
        self._logging = logging
        self._logger = logger
        self._served: list[str] = []
        self._fingerprint = ""

    async def start(self, world: RealWorld, connect: Connector, nursery: trio.Nursery) -> Sequence[Deployment]:
        """Start the child and its supervisor; the one deployment.  Raises ServicesFailed."""
        bound = BoundSocket()
        try:
            child = await self._spawn(bound)
            found = await self._discover(child, connect, bound.port)
        except BaseException:
            bound.close()
            raise
        self._fingerprint = found.fingerprint
        services = json.loads(found.manifest)["services"]
        self._served = [
            f"{one['name']}: {', '.join(handler['name'] for handler in one['handlers'])}" for one in services
        ]
        nursery.start_soon(self._supervise, child, bound, connect)
        # Another application than ours has no fingerprint: all its versions are one.
        id_ = deployment_id(bytes.fromhex(found.fingerprint)) if found.fingerprint else NAMELESS
        adopts = (NAMELESS,) if found.fingerprint else ()
        return [Deployment(id_, connect(endpoint(bound.port)), found.manifest, adopts)]

    def greet(self) -> Sequence[str]:
        """Each service with its handlers."""
        return [f"{line}  (in a child process)" for line in self._served]

    async def _spawn(self, bound: BoundSocket) -> trio.Process:
        command = [sys.executable, "-m", "understudy", "host", self._spec]
        command += ["--inherited-port", str(bound.descriptor)]
        command += ["--log-filter", str(self._logging.filter), "--log-format", self._logging.format]
        # A session of its own: Ctrl-C is for the server, which needs its services while it drains.
        return await trio.lowlevel.open_process(
            command, stdin=PIPE, pass_fds=(bound.descriptor,), start_new_session=True
        )

    async def _discover(self, child: trio.Process, connect: Connector, port: int) -> Discovery:
        """Ask the child what it offers, as soon as it answers."""
        transport = connect(asking(port))
        found: list[Discovery] = []

        async def ask() -> None:
            while not found:
                try:
                    found.append(await transport.discover())
                except TransportError:
                    await trio.sleep(AGAIN_SECONDS)

        with trio.move_on_after(READY_SECONDS):
            async with trio.open_nursery() as nursery:

                async def notice() -> None:
                    await child.wait()
                    nursery.cancel_scope.cancel()

                nursery.start_soon(notice)
                await ask()
                nursery.cancel_scope.cancel()
        await transport.aclose()
        if found:
            return found[0]
        code = child.poll()
        await end(child)
        fate = f"did not answer within {READY_SECONDS} s" if code is None else f"ended with exit code {code}"
        raise ServicesFailed(
            f"the services of {self._spec} did not start in their own process, which {fate}: what it said stands above"
        )

    async def _compare(self, child: trio.Process, connect: Connector, port: int) -> None:
        """Say so when the code is another than the server knows: what is in flight would run on it unasked."""
        transport = connect(asking(port))
        with trio.move_on_after(READY_SECONDS):
            while child.poll() is None:
                try:
                    found = await transport.discover()
                except TransportError:
                    await trio.sleep(AGAIN_SECONDS)
                    continue
                if found.fingerprint != self._fingerprint:
                    self._logger.log(
                        "error",
                        "handler",
                        "the code has changed: restart the server, so that it is a version of its own",
                    )
                break
        await transport.aclose()

    async def _supervise(self, child: trio.Process, bound: BoundSocket, connect: Connector) -> None:
        """Start the child again whenever it ends, until cancelled."""
        pause_seconds = PAUSE_SECONDS_FIRST
        try:
            while True:
                began = trio.current_time()
                code = await child.wait()
                if trio.current_time() - began >= OLD_SECONDS:
                    pause_seconds = PAUSE_SECONDS_FIRST
                self._logger.log(
                    "warning", "handler", "the services ended and are started again", code=code, pause_s=pause_seconds
                )
                await trio.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, PAUSE_SECONDS_MAX)
                child = await self._spawn(bound)
                await self._compare(child, connect, bound.port)
        finally:
            bound.close()
            await end(child)


def endpoint(port: int, *, use_http_11: bool = False) -> Endpoint:
    return Endpoint(uri=f"http://127.0.0.1:{port}", use_http_11=use_http_11)


def asking(port: int) -> Endpoint:
    """The endpoint as it is asked what it offers, and by which code."""
    return attrs.evolve(endpoint(port, use_http_11=True), additional_headers=((FINGERPRINT, "wanted"),))


async def end(child: trio.Process) -> None:
    """See to the child's end: it drains, but not for long.  Not to be cancelled."""
    with trio.CancelScope(shield=True):
        if child.poll() is None:
            child.terminate()
            with trio.move_on_after(END_SECONDS):
                await child.wait()
        if child.poll() is None:
            child.kill()
        await child.wait()
        if child.stdin is not None:
            await child.stdin.aclose()
