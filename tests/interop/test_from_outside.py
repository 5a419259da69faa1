"""Our client and our codec against both servers and both SDKs, with every await ending the attempt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from understudy import ClientOutput, HttpError, create_client

from tests.interop import coded
from tests.interop.client import Client
from tests.interop.peers.install import ROOT
from tests.interop.peers.processes import SETTINGS, SUSPENDING, Server, official_server, on_hypercorn, our_server
from tests.interop.rewriting import rewritten

APP = "tests.interop.coded:app"

StartServer = Callable[[Path, Mapping[str, str]], Server]


async def use(ingress: str, word: str) -> None:
    async with create_client(ingress, journal_value_codec=coded.Numbering()) as client:
        seen = await client.service_call(coded.mix, word)
        assert seen == [f"{word} made", "nothing, one", "one, two", f"{word} awaited"]
        assert await client.object_call(coded.remember, key=word, arg="three") == "two, three"
        key = "a key/with ünusual letters/.."
        assert await client.object_call(coded.remember, key, "x", idempotency_key="once") == "nothing, x"
        assert await client.object_call(coded.remember, key, "x", idempotency_key="once") == "nothing, x"
        sent = await client.object_send(coded.remember, key, "y", send_delay=timedelta(hours=1))
        assert sent.invocation_id.startswith("inv_1")
        assert await client.output(sent) == ClientOutput(False)
        kept = await client.object_send(coded.remember, key, "z", idempotency_key="a/key with anything")
        named = client.idempotent(coded.remember, "a/key with anything", key=key)
        for invocation in (kept, named, kept.invocation_id):
            assert await client.attach(invocation) == "x, z"
            assert await client.output(invocation) == ClientOutput(True, "x, z")
        unknown = client.idempotent(coded.remember, "never", key=key)
        for ask in (client.attach, client.output):
            with pytest.raises(HttpError) as missing:
                await ask(unknown)
            assert missing.value.status_code == 404
    async with create_client(ingress) as plain:
        with pytest.raises(HttpError) as refused:
            await plain.service_call(coded.mix, word)
        assert refused.value.status_code == 400


@pytest.mark.parametrize("start_server", [official_server, our_server])
@pytest.mark.parametrize("sdk", ["our_sdk", "official_python"])
def test_calls_from_outside_through_a_codec(
    start_server: StartServer, sdk: str, tmp_path: Path, running: ExitStack
) -> None:
    path = rewritten(ROOT / "tests" / "interop", tmp_path / "rewritten") if sdk == "official_python" else ROOT
    application = on_hypercorn(APP, tmp_path, {"PYTHONPATH": str(path)})
    running.callback(application.process.stop)
    server = start_server(tmp_path, {**SETTINGS, **SUSPENDING})
    running.callback(server.process.stop)
    Client(server.ingress, server.admin).register(application.uri)
    for backend in ("trio", "asyncio"):
        anyio.run(use, server.ingress, backend, backend=backend)
