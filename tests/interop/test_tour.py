"""The ticket tour on real peers: one file, its imports changed and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.interop.client import Client, eventually
from tests.interop.peers.install import ROOT
from tests.interop.peers.processes import (
    SETTINGS,
    Server,
    official_server,
    on_granian,
    on_hypercorn,
    on_uvicorn,
    our_server,
)
from tests.interop.rewriting import changed_lines, rewrite, rewritten

TOUR = ROOT / "scenarios" / "ticket_tour.py"
APP = "scenarios.ticket_tour:app"
HOSTS = {"hypercorn": on_hypercorn, "uvicorn": on_uvicorn, "granian": on_granian}
SERVERS = {"official_server": official_server, "our_server": our_server}


@pytest.fixture(params=["official_server", "our_server"], scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = SERVERS[request.param](tmp_path_factory.mktemp("server"), SETTINGS)
    yield running
    running.process.stop()


def test_imports_are_all_that_changes() -> None:
    source = TOUR.read_text()
    changed = changed_lines(source, rewrite(source))
    assert changed
    assert all(re.match(r"from (understudy|restate)\b.* import ", line) for line in changed), changed


@pytest.mark.parametrize("sdk", ["our_sdk", "official_python"])
@pytest.mark.parametrize("host", ["hypercorn", "uvicorn", "granian"])
def test_tour(server: Server, sdk: str, host: str, running: ExitStack, tmp_path: Path) -> None:
    path = rewritten(ROOT / "scenarios", tmp_path / "rewritten") if sdk == "official_python" else ROOT
    application = HOSTS[host](APP, tmp_path, {"PYTHONPATH": str(path)})
    running.callback(application.process.stop)
    client = Client(server.ingress, server.admin)
    registered = client.register(application.uri, use_http_11=application.use_http_11, force=True)
    # Hosts look for modules in their working directory first: a copy that is not the one rewritten would be served.
    assert registered["sdk_version"].startswith("restate-sdk-python/" if sdk == "official_python" else "understudy")
    prefix = f"{host}-{sdk}"
    ann, bob, seat, other = (f"{prefix}-{name}" for name in ("ann", "bob", "seat", "other"))
    assert client.call(f"CartObject/{ann}/addTicket", seat) is True
    assert client.call(f"CartObject/{bob}/addTicket", seat) is False
    assert client.call(f"CartObject/{ann}/addTicket", other) is True
    assert client.call(f"CartObject/{ann}/checkout") is True
    assert client.call(f"CartObject/{ann}/checkout") is False
    for sold in (seat, other):
        # The cart sends word of it and does not wait.
        eventually(lambda sold=sold: client.call(f"TicketObject/{sold}/status") == "SOLD")
    assert client.call(f"TicketObject/{prefix}-free/status") == "AVAILABLE"
