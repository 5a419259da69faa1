"""`understudy run` against the official server: the simulator answers, journals and stores as it does."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.commands import understudy
from tests.interop.peers.processes import SETTINGS, Server, free_port, official_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = official_server(tmp_path_factory.mktemp("compare"), SETTINGS)
    yield started
    started.process.stop()


@pytest.mark.parametrize("script", ["scenarios/account.py", "scenarios/ticket_tour.py"])
def test_the_official_server_is_equal_to_the_simulator(server: Server, script: str) -> None:
    doors = ["--ingress", server.ingress, "--admin", server.admin, "--endpoint-port", str(free_port())]
    done = understudy("run", script, *doors, "--seed", "1", "--json", timeout_s=180)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["differ"] == []
    assert f"{found['operations']} journals" in done.stdout, "a journal of each"
    assert " 0 states" not in done.stdout, "SQL tells the states"
