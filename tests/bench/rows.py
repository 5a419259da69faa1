"""The three rows of the comparison, each a server and whatever hosts its services, as processes on this machine.

    real   the real server and the official SDK on hypercorn, over HTTP/2
    serve  `understudy serve` and the same SDK process
    dev    `understudy dev`: server and services in one process

Everything binds 127.0.0.1 on ports that were free a moment ago; processes are ended by the ids we started.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import attrs

from tests.bench import peers

ROOT = Path(__file__).resolve().parents[2]
SERVICES = "tests.bench.services:app"
HEALTHY_S = 120
POLL_S = 0.01
JSON = MappingProxyType({"content-type": "application/json"})
NONE: Mapping[str, str] = MappingProxyType({})


@attrs.frozen
class Places:
    """Where one pair of processes lives."""

    folder: Path
    ingress_port: int
    admin_port: int
    node_port: int
    app_port: int

    @property
    def data(self) -> Path:
        """The server's data folder."""
        return self.folder / "data"

    @property
    def side_log(self) -> Path:
        """The file the steps of Recover write to."""
        return self.folder / "side.log"


@attrs.frozen
class Row:
    """How to start one kind of pair: *server* gives its command and extra environment.

    *settings* is what its environment variables for settings begin with.
    """

    name: str
    title: str
    server: Callable[[Places], tuple[list[str], Mapping[str, str]]]
    settings: str
    has_app: bool


def real_server(places: Places) -> tuple[list[str], Mapping[str, str]]:
    """The real server with its defaults, except addresses and telemetry.."""
    config = places.folder / "server.toml"
    config.write_text(
        f'listen-mode = "tcp"\nbind-ip = "127.0.0.1"\nbind-port = {places.node_port}\ndisable-telemetry = true\n'
        f"[ingress]\nbind-port = {places.ingress_port}\n[admin]\nbind-port = {places.admin_port}\n"
    )
    command = [str(peers.real_server()), "-c", str(config), "--base-dir", str(places.data), "--no-logo"]
    return command, {"DO_NOT_TRACK": "1"}


def one_partition_server(places: Places) -> tuple[list[str], Mapping[str, str]]:
    """The real server with one partition instead of 24: faster on two cores, slower to recover."""
    command, environment = real_server(places)
    return command, {**environment, "RESTATE_DEFAULT_NUM_PARTITIONS": "1"}


def serve(places: Places) -> tuple[list[str], Mapping[str, str]]:
    """`understudy serve` with its defaults."""
    return [*ours("serve"), *our_places(places)], {}


def dev(places: Places) -> tuple[list[str], Mapping[str, str]]:
    """`understudy dev` with its defaults."""
    return [*ours("dev"), SERVICES, *our_places(places)], {"BENCH_SIDE_LOG": str(places.side_log)}


def isolated(places: Places) -> tuple[list[str], Mapping[str, str]]:
    """`understudy dev --isolate`: the services in a child process."""
    command, environment = dev(places)
    return [*command, "--isolate"], environment


def ours(command: str) -> list[str]:
    """The start of a command of ours."""
    return [sys.executable, "-m", "understudy", command]


def our_places(places: Places) -> list[str]:
    """The options that say where."""
    ports = ["--ingress-port", str(places.ingress_port), "--admin-port", str(places.admin_port)]
    return [*ports, "--data", str(places.data)]


ROWS: Mapping[str, Row] = MappingProxyType(
    {
        row.name: row
        for row in (
            Row("real", "real server + official SDK", real_server, "RESTATE_", True),
            Row("real1", "real server, one partition, + official SDK", one_partition_server, "RESTATE_", True),
            Row("serve", "`understudy serve` + official SDK", serve, "UNDERSTUDY_", True),
            Row("dev", "`understudy dev`", dev, "UNDERSTUDY_", False),
            Row("isolate", "`understudy dev --isolate`", isolated, "UNDERSTUDY_", False),
        )
    }
)


class Pair:
    """The running processes of one row.  Leave the `with` block and they are gone."""

    def __init__(self, row: Row, folder: Path, settings: Mapping[str, str] = NONE) -> None:
        """*settings* are settings of the server by their upper-case names: both servers have the same."""
        folder.mkdir(parents=True, exist_ok=True)
        self.row = row
        self._settings = settings
        self.places = Places(folder, *free_ports(4))
        self._server: subprocess.Popen[bytes] | None = None
        self._app: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Pair:
        try:
            self.start_server()
            if self.row.has_app:
                self._start_app()
                self._register()
            self.first_echo()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def server_pid(self) -> int:
        """The server's process."""
        assert self._server is not None, "the pair runs"
        return self._server.pid

    def pids(self) -> dict[str, int]:
        """What to account for, by name."""
        found = {"server": self.server_pid}
        if self._app is not None:
            found["sdk"] = self._app.pid
        return found

    def start_server(self) -> float:
        """Spawn the server; seconds until its ingress says it is healthy."""
        began = time.perf_counter()
        command, environment = self.row.server(self.places)
        settings = {self.row.settings + name: value for name, value in self._settings.items()}
        self._server = self._spawn(command, {**environment, **settings}, "server.log")
        self._await_healthy(self._server, self.places.ingress_port, "/restate/health", "server.log")
        return time.perf_counter() - began

    def kill_server(self) -> None:
        """kill -9."""
        assert self._server is not None, "the pair runs"
        self._server.send_signal(signal.SIGKILL)
        self._server.wait()

    def stop(self) -> None:
        """End all processes, without ceremony: their data goes too."""
        for process in (self._server, self._app):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()

    def first_echo(self) -> float:
        """Seconds until an echo through the ingress is answered."""
        began = time.perf_counter()
        while time.perf_counter() - began < HEALTHY_S:
            if request(self.places.ingress_port, "POST", "/Echo/echo", '"up?"') == (200, b'"up?"'):
                return time.perf_counter() - began
            time.sleep(POLL_S)
        raise SystemExit(f"{self.row.name}: no echo in {HEALTHY_S} s, see {self.places.folder}")

    def _start_app(self) -> None:
        command = [str(peers.app_python()), "-m", "tests.bench.serve_app", SERVICES]
        environment = {"BENCH_SDK": "restate", "BENCH_SIDE_LOG": str(self.places.side_log)}
        self._app = self._spawn([*command, f"127.0.0.1:{self.places.app_port}"], environment, "app.log")
        self._await_healthy(self._app, self.places.app_port, "/health", "app.log")

    def _register(self) -> None:
        body = json.dumps({"uri": f"http://127.0.0.1:{self.places.app_port}"})
        for _ in range(100):
            status, answer = request(self.places.admin_port, "POST", "/deployments", body)
            if status in (200, 201):
                return
            time.sleep(0.1)
        raise SystemExit(f"{self.row.name}: registration failed: {status} {answer[:300]!r}")

    def _spawn(self, command: list[str], environment: Mapping[str, str], log: str) -> subprocess.Popen[bytes]:
        whole = {**os.environ, **environment, "PYTHONDONTWRITEBYTECODE": "1"}
        with (self.places.folder / log).open("ab") as output:
            return subprocess.Popen(
                command, cwd=ROOT, env=whole, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def _await_healthy(self, process: subprocess.Popen[bytes], port: int, path: str, log: str) -> None:
        deadline = time.monotonic() + HEALTHY_S
        while request(port, "GET", path)[0] != 200:
            if process.poll() is not None or time.monotonic() > deadline:
                words = (self.places.folder / log).read_text(errors="replace")[-2000:]
                raise SystemExit(f"{self.row.name}: {log.removesuffix('.log')} did not start:\n{words}")
            time.sleep(POLL_S)


def request(port: int, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
    """One request on a connection of its own; status 0 and the reason when there was no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, JSON if body is not None else NONE)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        return 0, repr(error).encode()
    finally:
        connection.close()


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on just now."""
    sockets = [socket.socket() for _ in range(count)]
    for bound in sockets:
        bound.bind(("127.0.0.1", 0))
    ports = [bound.getsockname()[1] for bound in sockets]
    for bound in sockets:
        bound.close()
    return ports
