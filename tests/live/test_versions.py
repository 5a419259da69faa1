"""`understudy dev` over changed code: what is in flight is parked, checked, moved; the same with services apart."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from understudy_runtime.model.ids import deployment_id

from tests.commands import understudy
from tests.live import services
from tests.live.conftest import Server, Servers

SOURCE = """
import os
from datetime import timedelta
from understudy import Service, app as make

service = Service("Waiter")


@service.handler()
async def wait(ctx, ms: int) -> str:
    await ctx.run("first", lambda: 1)
    await ctx.sleep(timedelta(milliseconds=ms))
    return "version 1"


@service.handler()
async def pid(ctx) -> int:
    return os.getpid()


app = make(services=[service])
"""
COMPATIBLE = SOURCE.replace("version 1", "version 2")
BREAKING = SOURCE.replace('"first"', '"begin"')


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")

    def text(source: str) -> None:
        (tmp_path / "waiter_app.py").write_text(source)

    return text


def shown(server: Server, invocation_id: str) -> Any:
    return server.ask("GET", f"/invocations/{invocation_id}", admin=True)[2]


def checked(*arguments: str) -> subprocess.CompletedProcess[str]:
    return understudy("check", "waiter_app:app", *arguments)


@pytest.mark.parametrize("options", [(), ("--isolate",)], ids=["in process", "apart"])
def test_in_flight_over_a_change_of_code(
    start: Servers, write: Callable[[str], None], options: tuple[str, ...]
) -> None:
    write(SOURCE)
    server = start(*options, app="waiter_app:app")
    sent = server.ask("POST", "/Waiter/wait/send", 86_400_000)[2]["invocationId"]
    while "pinned_deployment_id" not in (before := shown(server, sent)):
        time.sleep(0.02)
    assert checked("--admin", f"http://127.0.0.1:{server.admin_port}").returncode == 0
    server.kill()

    write(BREAKING)
    refused = checked("--data", str(start.data))
    assert refused.returncode == 1, refused.stderr
    assert "run 'begin'    (this code)" in refused.stdout

    write(COMPATIBLE)
    assert checked("--data", str(start.data)).returncode == 0
    server = start(*options, "--log-format", "json", app="waiter_app:app")
    told = [json.loads(line) for line in server.lines if "parked" in line]
    assert [(line["level"], line["invocations"], list(line["versions"])) for line in told] == [
        ("warning", 1, [before["pinned_deployment_id"]])
    ]
    found = shown(server, sent)
    assert before["pinned_deployment_id"] in found["parked"]["reason"]
    assert server.call("/Waiter/wait", 1) == "version 2"
    assert server.ask("PATCH", f"/invocations/{sent}/resume?deployment=latest", admin=True)[0] in (200, 202)
    found = shown(server, sent)
    assert "parked" not in found
    assert found["pinned_deployment_id"] != before["pinned_deployment_id"]
    server.kill()

    write(SOURCE)
    server = start(*options, app="waiter_app:app")
    assert "parked" in shown(server, sent), "now the first version is the other one"


@pytest.mark.parametrize("options", [(), ("--isolate",)], ids=["in process", "apart"])
def test_a_version_has_one_name_wherever_it_runs(start: Servers, options: tuple[str, ...]) -> None:
    listed = start(*options).ask("GET", "/deployments", admin=True)[2]["deployments"]
    assert [one["id"] for one in listed] == [deployment_id(services.app.fingerprint())]


def test_a_child_that_comes_back_with_other_code_is_told(start: Servers, write: Callable[[str], None]) -> None:
    write(SOURCE)
    server = start("--isolate", app="waiter_app:app")
    first = server.call("/Waiter/pid")
    os.kill(first, signal.SIGKILL)
    server.await_line("the services ended and are started again")
    second = server.call("/Waiter/pid")
    assert second != first
    assert not any("the code has changed" in line for line in server.lines)
    write(COMPATIBLE)
    os.kill(second, signal.SIGKILL)
    server.await_line("the code has changed: restart the server")
