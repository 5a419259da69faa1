"""`understudy run`: the operations of a scenario against a live server and in the simulator, compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs
import click
import trio

from understudy_sim.cli.shared import SEED, NotFoundOut, scenario_of
from understudy_sim.stage.application import Application
from understudy_sim.stage.live.against import Live, NotTold
from understudy_sim.stage.live.doors import NoServer
from understudy_sim.stage.live.outcome import Difference, Outcome, differences
from understudy_sim.stage.live.simulated import drawn, one_after_the_other, simulated
from understudy_sim.stage.operations import Operation
from understudy_sim.stage.scenario import Scenario

HOST: Final = "127.0.0.1"
UP_SECONDS: Final = 30
LOOK_SECONDS: Final = 0.05


@click.command(short_help="Compare a live server with the simulator, by one scenario's operations.")
@click.argument("script")
@click.option("--ingress", required=True, metavar="URL", help="The live server's ingress, http://localhost:8080.")
@click.option("--admin", required=True, metavar="URL", help="Its admin, http://localhost:9070.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Which operations.")
@click.option(
    "--endpoint-port", type=click.IntRange(min=1, max=65535), help="Host the services here and register them."
)
@click.option("--endpoint-host", default=HOST, show_default=True, help="How the server reaches this machine.")
@click.option("--serial/--concurrent", default=True, show_default=True, help="One operation at a time, or as drawn.")
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON.")
def run(
    script: str,
    ingress: str,
    admin: str,
    seed: int,
    endpoint_port: int | None,
    endpoint_host: str,
    serial: bool,
    as_json: bool,
) -> None:
    """Ask a live server what the scenario in SCRIPT draws, ask the simulator the same, and compare answers, journals,
    states and claims.  The server must not know the scenario's objects yet.  Exit 0: equal; 1: something differs;
    2: they cannot be compared.
    """
    scenario = scenario_of(script)
    application = Application(scenario.app)
    operations = drawn(scenario, application, seed)
    if serial:
        operations = one_after_the_other(operations)
    try:
        live = Live(scenario, application.manifest, seed, ingress, admin)
    except NoServer as error:
        raise click.UsageError(str(error)) from None
    here = simulated(scenario, application, seed, operations)
    endpoint = None if endpoint_port is None else Endpoint(scenario.app, endpoint_host, endpoint_port, live)
    try:
        there = trio.run(_live, live, operations, serial, endpoint)
    except* (NoServer, NotTold, OSError) as errors:
        raise NotFoundOut(_only(errors)) from None
    finally:
        if endpoint is not None:
            endpoint.stop()
    found = list(differences(operations, here, there))
    tell(scenario, seed, operations, there, found)
    if as_json:
        click.echo(
            json.dumps({"seed": seed, "operations": len(operations), "differ": [attrs.asdict(x) for x in found]})
        )
    sys.exit(1 if found else 0)


async def _live(live: Live, operations: Sequence[Operation], serial: bool, endpoint: Endpoint | None) -> Outcome:
    return await live.run(operations, serial=serial, begin=None if endpoint is None else endpoint.begin)


def _only(errors: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, NotTold):
        return f"the scenario's script uses {error}, which no live server has: the two cannot be compared by it"
    return str(error)


def tell(
    scenario: Scenario, seed: int, operations: Sequence[Operation], live: Outcome, found: Sequence[Difference]
) -> None:
    """The report."""
    journals = sum(one is not None for one in live.journals.values())
    compared = f"{len(operations)} answers, {journals} journals, {len(live.states)} states"
    click.echo(f"{scenario.name}, seed {seed}: {compared}: {'equal' if not found else f'{len(found)} differ'}")
    for one in found:
        click.echo(f"\n{one}")
    for text in live.untold:
        click.echo(f"  not compared: {text}")


class Endpoint:
    """The scenario's services, hosted by `understudy host` in a process of their own, and registered."""

    def __init__(self, app: str, host: str, port: int, live: Live) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._live = live
        self._process: subprocess.Popen[bytes] | None = None

    async def begin(self, environment: Mapping[str, str]) -> None:
        """Start it, wait until it listens, register it.  Raises NoServer."""
        process = self._started(environment)
        began = time.monotonic()
        while not await self._listens():
            if process.poll() is not None or time.monotonic() - began > UP_SECONDS:
                raise NoServer(f"`understudy host {self._app} --port {self._port}` does not come up: run it to see why")
            await trio.sleep(LOOK_SECONDS)
        await self._live.admin.register(f"http://{self._host}:{self._port}")

    def _started(self, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "understudy", "host", self._app, "--port", str(self._port)],
            cwd=Path.cwd(),
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return self._process

    async def _listens(self) -> bool:
        try:
            stream = await trio.open_tcp_stream(HOST, self._port)
        except OSError:
            return False
        await stream.aclose()
        return True

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
