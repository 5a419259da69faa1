"""Where our server differs on purpose: both servers are asked, and both do what `docs/interop.md` says."""

from __future__ import annotations

import time

from tests.interop.client import ask
from tests.interop.conftest import Pair
from tests.interop.pairings import Stage


def test_results_of_plain_calls_are_freed(pair: Pair, name: str) -> None:
    def status(stage: Stage) -> int:
        answer = stage.client.request("TestUtilsService/echo", "x")
        invocation_id = answer.headers["x-restate-id"]
        return ask("GET", f"{stage.server.ingress}/restate/invocation/{invocation_id}/output").status

    assert status(pair.official) == 200
    assert status(pair.ours) == 404


def test_a_signal_may_come_before_its_invocation_starts(pair: Pair, name: str) -> None:
    waits = {"type": "awaitOne", "command": {"type": "createSignal", "signalName": "go"}}

    def start(stage: Stage) -> str:
        path = f"VirtualObjectCommandInterpreter/{name}/interpretCommands"
        sent = stage.client.send(path, {"commands": [waits]}, delay="300ms")
        signal = {"invocationId": sent["invocationId"], "signalName": "go", "value": "gone"}
        stage.client.call("TestUtilsService/resolveSignal", signal)
        return f"{stage.server.ingress}/restate/invocation/{sent['invocationId']}"

    theirs, ours = start(pair.official), start(pair.ours)
    assert ask("GET", f"{ours}/attach").body == b'"gone"'
    time.sleep(0.5)
    assert ask("GET", f"{theirs}/output").status == 470


def test_values_of_headers_are_masked(pair: Pair) -> None:
    def told(stage: Stage) -> str:
        client = stage.client
        registered = client.register(
            stage.application.uri, additional_headers={"x-api-key": "secret"}, force=True, metadata={"a": "b"}
        )
        deployment = client.administer("GET", f"deployments/{registered['id']}").json()
        assert client.call("TestUtilsService/echo", "with a header") == "with a header"
        return str(deployment["additional_headers"]["x-api-key"])

    assert told(pair.official) == "secret"
    assert told(pair.ours) == "***"


def test_pages_of_other_origins_are_told_nothing(pair: Pair) -> None:
    def allowed(stage: Stage) -> str | None:
        url, headers = f"{stage.server.ingress}/restate/health", {"origin": "http://example.com"}
        return ask("GET", url, headers=headers).headers.get("access-control-allow-origin")

    assert allowed(pair.official) == "http://example.com"
    assert allowed(pair.ours) is None
