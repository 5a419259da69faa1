"""`understudy host`: an endpoint on our own HTTP loop, for servers to call.  Any ASGI application that runs under trio.

This file turns options into settings and hosts; nothing here knows what the application is about.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import trio

from understudy_runtime.cli.configuration import logging_of
from understudy_runtime.cli.errors import UsageProblem
from understudy_runtime.cli.kinds import Address
from understudy_runtime.cli.life import Drain, Life
from understudy_runtime.cli.loading import AsgiApp, load_asgi
from understudy_runtime.cli.options import CONFIG_OPTION, DUMP_OPTION, SettingsCommand, gathered, with_settings
from understudy_runtime.cli.output import Logger, say, take_in
from understudy_runtime.cli.serving import PortTaken, listen
from understudy_runtime.cli.settings import Values, dump
from understudy_runtime.cli.table import HOST
from understudy_runtime.cli.watching import watched
from understudy_runtime.front import asgi_server
from understudy_runtime.limits import Limits
from understudy_runtime.node import sole_error
from understudy_runtime.real_world import RealNetwork, end_with_parent


@with_settings(HOST)
@click.command(cls=SettingsCommand)
@click.argument("app", metavar="MODULE:APP")
@click.option("--inherited-port", type=int, hidden=True)  # A parent bound the port, and this is its descriptor.
@CONFIG_OPTION
@DUMP_OPTION
@click.pass_context
def host(ctx: click.Context, app: str, inherited_port: int | None, config: Path | None, dump_config: bool) -> None:
    """Serve the services of MODULE:APP as an endpoint.

    Register it at a server's admin port: POST /deployments with its URI.  APP is made with understudy.app(), or any
    other ASGI application that runs under trio.  The working directory is importable.  SIGTERM or Ctrl-C drains and
    exits 0, a second one stops at once.
    """
    values = gathered(ctx, HOST, config)
    if dump_config:
        click.echo(dump(HOST, values), nl=False)
        return
    logger = Logger(logging_of(values))
    take_in("understudy", logger)
    if inherited_port is not None:
        end_with_parent()
    sys.exit(Hosting(load_asgi(app, Path.cwd()), values, logger, inherited_port).run())


class Hosting:
    """One run of an endpoint.  `port` is where it listens once it has started.

    *inherited* is the descriptor of a port that is bound already; nothing is said about that one.
    """

    def __init__(self, app: AsgiApp, values: Values, logger: Logger, inherited: int | None = None) -> None:
        self.port = 0
        self._app = app
        self._address = Address(values["host.bind-ip"].value, values["host.bind-port"].value)
        self._limits = Limits(drain_timeout_ms=values["shutdown-timeout"].value)
        self._logger = logger
        self._inherited = inherited
        self._life = Life(logger)

    def run(self) -> int:
        """Serve until stopped; the exit code.  Raises UsageProblem for what the user can put right."""
        try:
            return trio.run(self._main)
        except BaseException as raised:
            error = sole_error(raised)
            if isinstance(error, PortTaken):
                raise UsageProblem(str(error)) from None
            raise error from None

    async def _main(self) -> int:
        with watched(self._logger, lambda: self._life.started):
            return await self._life.live(self.start)

    async def start(self, nursery: trio.Nursery) -> Drain:
        """Serve, in *nursery*.  What it returns drains.  Raises PortTaken."""
        network = RealNetwork()
        if self._inherited is None:
            listener = await listen(network, self._address, "--port")
        else:
            listener = network.adopt(self._inherited)
        self.port = listener.port
        server = asgi_server(self._app, self._limits, report=self._report)
        finished = trio.Event()

        async def serve() -> None:
            await server.serve(listener)
            finished.set()

        nursery.start_soon(serve)
        if self._inherited is None:
            say(f"  endpoint  http://{Address(self._address.host, listener.port)}")
            say("  ready     (Ctrl-C drains and stops)", style="green")

        async def drain() -> None:
            server.drain()
            with trio.move_on_after(self._limits.drain_timeout_ms / 1000):
                await finished.wait()

        return drain

    def _report(self, error: Exception) -> None:
        """An exception that left the application."""
        self._logger.log("error", "handler", "the application failed", **told(error))


def told(error: Exception) -> Mapping[str, Any]:
    """An exception for a log line: what, and where it was raised."""
    place = ""
    trace = error.__traceback__
    while trace is not None:
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return {"error": f"{type(error).__name__}: {error}", "at": place}
