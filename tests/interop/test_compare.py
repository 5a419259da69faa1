"""`understudy run` against the official server: the simulator answers, journals and stores as it does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.interop.peers.processes import SETTINGS, Server, free_port, official_server
from tests.tidy.sources import ROOT


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = official_server(tmp_path_factory.mktemp("compare"), SETTINGS)
    yield started
    started.process.stop()


@pytest.mark.parametrize("script", ["scenarios/account.py", "scenarios/ticket_tour.py"])
def test_the_official_server_is_equal_to_the_simulator(server: Server, script: str) -> None:
    doors = ["--ingress", server.ingress, "--admin", server.admin, "--endpoint-port", str(free_port())]
    done = subprocess.run(
        [sys.executable, "-m", "understudy", "run", script, *doors, "--seed", "1", "--json"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["differ"] == []
    assert f"{found['operations']} journals" in done.stdout, "a journal of each"
    assert " 0 states" not in done.stdout, "SQL tells the states"
