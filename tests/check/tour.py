"""The ticket tour stopped in the middle, on a real disk; and its source, edited."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio
import trio.testing
import understudy
from understudy_runtime.cli.asking import Admin, Asked
from understudy_runtime.cli.configuration import configuration, effective
from understudy_runtime.cli.inside import Inside
from understudy_runtime.cli.output import Logger
from understudy_runtime.cli.serving import Serving
from understudy_runtime.cli.settings import gather, variable
from understudy_runtime.cli.table import SERVER
from understudy_runtime.http.h1_client import ClientPool, ClientResponse
from understudy_runtime.real_world import RealNetwork, RealWorld

from scenarios import providers, ticket_tour

SOURCE = Path(ticket_tour.__file__).read_text()
PATIENCE_SECONDS = 20


@attrs.frozen
class Stopped:
    """What was recorded: the folder, and what the admin said while the server ran."""

    data: Path
    asked: Asked


@attrs.define
class Providers:
    """Both providers: no mail is ever answered, nor a charge of bob's."""

    charges: int = 0
    mails: int = 0

    async def payments(self, stream: trio.SocketStream) -> None:
        request = json.loads(await stream.receive_some(4096))
        self.charges += 1
        if request["user"] == "bob":
            await trio.sleep_forever()
        await stream.send_all(b'{"outcome": "approved"}\n')

    async def mail(self, stream: trio.SocketStream) -> None:
        self.mails += 1
        await trio.sleep_forever()


def stopped_tour(folder: Path) -> Stopped:
    """Run the tour until two checkouts are stuck, one at its charge and one at its mail; then the process dies."""
    addresses = (providers.payments.address, providers.mail.address)
    try:
        return trio.run(_record, folder)
    finally:
        providers.payments.address, providers.mail.address = addresses


async def _record(folder: Path) -> Stopped:
    data = folder / "data"
    async with _served(data, ticket_tour.app) as (nursery, serving):
        both = Providers()
        providers.payments.address = await _serve(nursery, both.payments)
        providers.mail.address = await _serve(nursery, both.mail)
        await _play(serving.ports[0], both)
        asked = await _asked(serving)
    return Stopped(data, asked)


@asynccontextmanager
async def _served(data: Path, app: understudy.App) -> AsyncIterator[tuple[trio.Nursery, Serving]]:
    """A server over *data* with *app* in its process."""
    given = {"base-dir": str(data), "ingress.bind-port": "0", "admin.bind-port": "0", "log-format": "json"}
    environment = {variable(key): text for key, text in given.items()}
    config = configuration(effective(gather(SERVER, flags={}, environment=environment, file=None)))
    logger = Logger(config.logging, io.StringIO())
    worlds: list[RealWorld] = []

    def make_world(data: Path) -> RealWorld:
        worlds.append(RealWorld(data))
        return worlds[-1]

    serving = Serving(config, logger, Inside(app, logger), make_world=make_world)
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            await serving.start(nursery)
            yield nursery, serving
            nursery.cancel_scope.cancel()
    for world in worlds:
        world.disk.unlock()


async def _asked(serving: Serving) -> Asked:
    return await Admin(f"http://127.0.0.1:{serving.ports[1]}").journals()


def asked_after_an_upgrade(data: Path) -> Asked:
    """What the admin says once a server runs over *data* with another application, so that all is parked."""

    async def upgraded() -> Asked:
        async with _served(data, understudy.app(services=[understudy.Service("Other")], version="2")) as (_, serving):
            await trio.testing.wait_all_tasks_blocked(0.1)
            return await _asked(serving)

    return trio.run(upgraded)


async def _serve(nursery: trio.Nursery, handler: Any) -> str:
    listeners = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
    return f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"


async def _play(port: int, both: Providers) -> None:
    async def post(path: str, body: object = None) -> ClientResponse:
        data = b"" if body is None else json.dumps(body).encode()
        headers = [("host", f"127.0.0.1:{port}"), *([("content-type", "application/json")] if data else [])]
        pool = ClientPool(lambda: RealNetwork().dial("127.0.0.1", port), idle_max=0)
        return await pool.request("POST", path, headers, data)

    for user, seat in (("ann", "seat-1"), ("bob", "seat-2")):
        assert (await post(f"/CartObject/{user}/addTicket", seat)).body == b"true"
        assert (await post(f"/CartObject/{user}/checkout/send")).status == 202
    while not (both.charges == 2 and both.mails == 1):  # noqa: ASYNC110 - both are at work
        await trio.sleep(0.01)
    assert (await post("/CartObject/ann/addTicket/send", "seat-3")).status == 202


def edited(folder: Path, name: str, edits: Mapping[str, str]) -> str:
    """The tour with each text of *edits* replaced, as a module in *folder*; what `understudy check` calls it."""
    text = SOURCE
    for old, new in edits.items():
        assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
        text = text.replace(old, new)
    (folder / f"{name}.py").write_text(text)
    return f"{name}:app"
