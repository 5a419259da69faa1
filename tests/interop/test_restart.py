"""Processes that die in the middle and come back: what was under way ends as if nothing had happened, with any SDK."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.interop.client import Client, Refused, eventually
from tests.interop.pairings import (
    ENVIRONMENT,
    PACKAGE,
    SERVICES,
    StartApplication,
    official_python_app,
    official_typescript_app,
    our_app,
)
from tests.interop.peers.install import ROOT
from tests.interop.peers.processes import SETTINGS, Server, official_server, on_hypercorn, our_server
from tests.interop.rewriting import rewritten

StartServer = Callable[[Path, Mapping[str, str]], Server]
SLEEP_MS = 1_500
PROGRAM = {"commands": [{"kind": 4}, {"kind": 16}, {"kind": 6, "duration": SLEEP_MS}, {"kind": 18}, {"kind": 4}]}
# Two by the program itself, one by way of the awakeables.
INCREMENTS = 3


def begin(client: Client, name: str) -> None:
    """Leave one of everything under way: a workflow on its promise, a program in its sleep, a cancelled call tree."""
    client.send(f"BlockAndWaitWorkflow/{name}/run", "Francesco")
    client.send(f"ObjectInterpreterL0/{name}/interpret", PROGRAM, idempotency_key=name)
    client.send(f"CancelTestRunner/{name}/startTest", "SLEEP", idempotency_key=name)
    client.send(f"Counter/{name}/add", 1, delay="1s")
    eventually(lambda: client.call(f"BlockAndWaitWorkflow/{name}/getState"))
    eventually(lambda: client.call(f"AwakeableHolder/{name}/hasAwakeable"))


def finish(client: Client, name: str) -> None:
    """Bring all of it to its end, and look whether it is the right one."""
    client.call(f"BlockAndWaitWorkflow/{name}/unblock", "Till")
    assert client.get(f"restate/workflow/BlockAndWaitWorkflow/{name}/attach").json() == "Till"
    client.get(f"restate/invocation/ObjectInterpreterL0/{name}/interpret/{name}/attach")
    eventually(lambda: client.call(f"ObjectInterpreterL0/{name}/counter") == INCREMENTS)
    eventually(lambda: client.call(f"Counter/{name}/get") == 1)
    client.call(f"AwakeableHolder/{name}/unlock", "go on")
    runner = client.send(f"CancelTestRunner/{name}/startTest", "SLEEP", idempotency_key=name)
    assert runner["status"] == "PreviouslyAccepted"
    eventually(lambda: cancelled(client, name, runner["invocationId"]))


def cancelled(client: Client, name: str, invocation_id: str) -> bool:
    try:
        client.cancel(invocation_id)
    except Refused as refused:
        if refused.status not in (404, 409):
            raise
    return bool(client.call(f"CancelTestRunner/{name}/verifyTest"))


@pytest.mark.parametrize("application", [our_app, official_python_app, official_typescript_app])
def test_a_killed_server_goes_on_where_it_stopped(
    application: StartApplication, tmp_path: Path, name: str, running: ExitStack
) -> None:
    endpoint = application(tmp_path)
    running.callback(endpoint.process.stop)
    server = our_server(tmp_path, SETTINGS)
    running.callback(server.process.stop)
    client = Client(server.ingress, server.admin)
    client.register(endpoint.uri)
    begin(client, name)
    server.process.stop()
    server = our_server(tmp_path, SETTINGS)
    running.callback(server.process.stop)
    finish(Client(server.ingress, server.admin), name)


@pytest.mark.parametrize("sdk", ["our_sdk", "official_python"])
@pytest.mark.parametrize("start_server", [official_server, our_server])
def test_a_killed_application_is_called_again(
    start_server: StartServer, sdk: str, tmp_path: Path, name: str, running: ExitStack
) -> None:
    path = rewritten(PACKAGE, tmp_path / "rewritten") if sdk == "official_python" else ROOT
    environment = {**ENVIRONMENT, "PYTHONPATH": str(path)}
    endpoint = on_hypercorn(SERVICES, tmp_path, environment)
    running.callback(endpoint.process.stop)
    server = start_server(tmp_path, SETTINGS)
    running.callback(server.process.stop)
    client = Client(server.ingress, server.admin)
    client.register(endpoint.uri)
    begin(client, name)
    endpoint.process.stop()
    endpoint = on_hypercorn(SERVICES, tmp_path, environment, int(endpoint.uri.rpartition(":")[2]))
    running.callback(endpoint.process.stop)
    finish(client, name)
