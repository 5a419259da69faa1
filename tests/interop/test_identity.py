"""Signed requests between real peers: each SDK lets through what each server signs, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.interop.client import Client, Refused, ask, key
from tests.interop.peers.install import ROOT
from tests.interop.peers.processes import SETTINGS, Server, official_server, on_hypercorn, our_server
from tests.interop.rewriting import rewritten

VECTORS = json.loads((ROOT / "tests" / "vectors" / "identity.json").read_text())
PUBLIC_KEY = VECTORS["requests"][0]["public_key"]
APP = "tests.interop.signed:app"
PEM_SETTING = "WORKER__INVOKER__REQUEST_IDENTITY_PRIVATE_KEY_PEM_FILE"

StartServer = Callable[[Path, Mapping[str, str]], Server]


@pytest.mark.parametrize("start_server", [official_server, our_server])
@pytest.mark.parametrize("sdk", ["our_sdk", "official_python"])
def test_signed_requests(start_server: StartServer, sdk: str, tmp_path: Path, running: ExitStack) -> None:
    pem = tmp_path / "key.pem"
    pem.write_text(VECTORS["private_key_pem"])
    pem.chmod(0o600)
    path = rewritten(ROOT / "tests" / "interop", tmp_path / "rewritten") if sdk == "official_python" else ROOT
    application = on_hypercorn(APP, tmp_path, {"INTEROP_IDENTITY_KEY": PUBLIC_KEY, "PYTHONPATH": str(path)})
    running.callback(application.process.stop)
    signing = start_server(tmp_path, {**SETTINGS, PEM_SETTING: str(pem)})
    running.callback(signing.process.stop)
    assert ask("GET", f"{application.uri}/discover").status == 401
    assert ask("GET", f"{application.uri}/health").status == 200
    client = Client(signing.ingress, signing.admin)
    client.register(application.uri)
    assert client.call("Signed/echo", "it is me") == "it is me"
    assert client.call(f"SignedObject/{key('a key/with ünusual letters')}/key") == "a key/with ünusual letters"


def test_an_unsigned_server_is_refused(tmp_path: Path, running: ExitStack) -> None:
    application = on_hypercorn(APP, tmp_path, {"INTEROP_IDENTITY_KEY": PUBLIC_KEY})
    running.callback(application.process.stop)
    server = our_server(tmp_path, SETTINGS)
    running.callback(server.process.stop)
    with pytest.raises(Refused) as refused:
        Client(server.ingress, server.admin).register(application.uri)
    assert refused.value.response.json()["restate_code"] == "META0003"
