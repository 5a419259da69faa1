"""Real `understudy` processes on free ports, and a client that asks them."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
START_SECONDS = 30
STOP_SECONDS = 30


class Started:
    """One life of a process.  `lines` is what it wrote to stderr."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "understudy", *arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []
        self._read = threading.Thread(target=self._follow, daemon=True)
        self._read.start()

    def _follow(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip())

    def await_line(self, pattern: str) -> re.Match[str]:
        """Wait for a line that holds *pattern*."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            for line in self.lines:
                if match := re.search(pattern, line):
                    return match
            assert self.process.poll() is None, f"it ended early: {self.lines}"
            time.sleep(0.02)
        raise AssertionError(f"no {pattern!r} in {self.lines}")

    def await_port(self, name: str) -> int:
        return int(self.await_line(rf"{name} +http://127\.0\.0\.1:(\d+)")[1])

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal the process and wait for its end; the exit code."""
        self.process.send_signal(number)
        return self.end()

    def end(self) -> int:
        code = self.process.wait(STOP_SECONDS)
        self._read.join(STOP_SECONDS)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code

    def kill(self) -> None:
        """`kill -9`, unless it has ended."""
        if self.process.stderr is not None and not self.process.stderr.closed:
            self.process.kill()
            self.end()


class Server(Started):
    """One life of `understudy dev`, or of `understudy serve` when *app* is None."""

    def __init__(self, data: Path, *options: str, app: str | None = "tests.live.services:app") -> None:
        command = ["serve"] if app is None else ["dev", app]
        super().__init__(*command, "--data", str(data), "--ingress-port", "0", "--admin-port", "0", *options)
        self.ingress_port = self.await_port("ingress")
        self.admin_port = self.await_port("admin")
        self.await_line("ready")

    def ask(
        self, method: str, path: str, body: Any = None, *, admin: bool = False, **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        """One request on a connection of its own: status, headers (lower-case), body (from JSON where it is JSON)."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.admin_port if admin else self.ingress_port, timeout=30
        )
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent.setdefault("content-type", "application/json")
        connection.request(method, path, data, sent)
        response = connection.getresponse()
        raw = response.read()
        connection.close()
        got = {name.lower(): value for name, value in response.getheaders()}
        is_json = got.get("content-type") == "application/json" and raw
        return response.status, got, json.loads(raw) if is_json else raw

    def call(self, path: str, body: Any = None, **headers: str) -> Any:
        """The body of a call that succeeds."""
        status, _, value = self.ask("POST", path, body, **headers)
        assert status == 200, value
        return value


class Endpoint(Started):
    """One life of `understudy host`."""

    def __init__(self, *options: str, app: str = "tests.live.services:app") -> None:
        super().__init__("host", app, *(options or ("--port", "0")))
        self.port = self.await_port("endpoint")
        self.await_line("ready")


class Servers:
    """Starts servers and sees to their end."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.started: list[Started] = []

    def __call__(self, *options: str, **named: Any) -> Server:
        server = Server(self.data, *options, **named)
        self.started.append(server)
        return server

    def endpoint(self, *options: str, **named: Any) -> Endpoint:
        """Start an endpoint."""
        endpoint = Endpoint(*options, **named)
        self.started.append(endpoint)
        return endpoint


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Servers]:
    """Start a server on this test's data folder."""
    servers = Servers(tmp_path / "data")
    yield servers
    for one in servers.started:
        one.kill()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests of a module."""
    running = Server(tmp_path_factory.mktemp("live") / "data")
    yield running
    running.kill()
