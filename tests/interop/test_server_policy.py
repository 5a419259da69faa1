"""The server's own retry policy, where neither service nor handler has one: it ends in a pause or in a kill."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.interop.client import Refused, eventually
from tests.interop.pairings import Pairing, Stage, our_app
from tests.interop.peers.processes import Server, official_server, our_server

StartServer = Callable[[Path, Mapping[str, str]], Server]


@pytest.mark.parametrize("start_server", [official_server, our_server])
@pytest.mark.parametrize("end", ["pause", "kill"])
def test_a_servers_policy_ends_as_it_says(
    start_server: StartServer, end: str, tmp_path: Path, name: str, running: ExitStack
) -> None:
    policy = {"DEFAULT_RETRY_POLICY__MAX_ATTEMPTS": "3", "DEFAULT_RETRY_POLICY__ON_MAX_ATTEMPTS": end}
    stage = Stage(Pairing(start_server, our_app, policy), tmp_path)
    running.callback(stage.stop)
    sent = stage.client.send("LifecycleByDefault/asTheServerSays", name)["invocationId"]
    if end == "kill":
        with pytest.raises(Refused) as refused:
            stage.client.get(f"restate/invocation/{sent}/attach")
        assert f"attempt 3 of {name} fails" in refused.value.message
        return
    eventually(lambda: stage.status(sent) == "paused")
    assert stage.client.call("Lifecycle/permit", name) == 3
    stage.client.resume(sent)
    assert stage.client.get(f"restate/invocation/{sent}/attach").json() == "attempt 4"
