"""The processes of a pairing: a server (ours or the official one) and an application on some host, on free ports.

Everything listens on 127.0.0.1 and writes to a log file in the folder it is given; a process that does not come up or
that ends early fails the test with the end of its log.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from tests.interop.peers.install import ROOT, node_packages, python_packages

START_SECONDS = 30
STOP_SECONDS = 10
LOG_LINES_TOLD = 40
# Below those that Linux, macOS and Windows give to outgoing connections.
PORTS = (10_000, 32_000)
PORT_TRIES_MAX = 50


class Process:
    """One process of a pairing, with its log.  Use as a context manager."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str], folder: Path = ROOT) -> None:
        self.log = log
        self._file = log.open("ab")  # One that is started again goes on where the one before it stopped.
        self._popen = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Some have children of their own: they are signalled together.
        )

    def await_ready(self, is_ready: Callable[[], bool]) -> None:
        """Wait until *is_ready*; an early end or silence is an error that shows the log."""
        deadline = time.monotonic() + START_SECONDS
        while not is_ready():
            code = self._popen.poll()
            if code is not None or time.monotonic() > deadline:
                self.stop()
                how = f"is not ready after {START_SECONDS} s" if code is None else f"ended with {code}"
                raise AssertionError(f"{self.log.name} {how}:\n{self.told()}")
            time.sleep(0.02)

    def told(self) -> str:
        """The end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_LINES_TOLD:])

    def stop(self) -> None:
        """`kill -9` for it and its children, and wait for the end.  Nobody minds: what it wrote is a test's."""
        if self._file.closed:
            return  # Its number may be somebody else's by now.
        with suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait(STOP_SECONDS)
        self._file.close()


def free_port() -> int:
    """A port nobody listens on now, and that the system gives to no outgoing connection.

    Else a client that asks for a server that is down could be given the server's own port, and be answered by itself.
    """
    for _ in range(PORT_TRIES_MAX):
        port = random.randrange(*PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError(f"{PORT_TRIES_MAX} ports drawn from {PORTS} are all in use")


def listens(port: int) -> bool:
    """Whether somebody accepts connections at *port*."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers(url: str) -> bool:
    """Whether GET *url* is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


# --- servers ------------------------------------------------------------------------------------------------

# What both servers are told, by the same names below RESTATE_ and UNDERSTUDY_: retries that do not slow the tests down.
SETTINGS: Mapping[str, str] = {
    "DEFAULT_RETRY_POLICY__INITIAL_INTERVAL": "20ms",
    "DEFAULT_RETRY_POLICY__MAX_INTERVAL": "200ms",
    "DEFAULT_NUM_PARTITIONS": "2",
}
SUSPENDING: Mapping[str, str] = {"WORKER__INVOKER__INACTIVITY_TIMEOUT": "0s"}
# Streams stay open for a moment, then the server closes its side.
IMPATIENT: Mapping[str, str] = {"WORKER__INVOKER__INACTIVITY_TIMEOUT": "30ms"}


class Server:
    """A running server: where its ingress and its admin are.  It may be killed and started again at the same place."""

    def __init__(self, start: Callable[[], Process], ingress: str, admin: str) -> None:
        self._start = start
        self.ingress = ingress
        self.admin = admin
        self.process = start()
        self.await_ready()

    def await_ready(self) -> None:
        """Wait until both doors are open."""
        self.process.await_ready(lambda: answers(f"{self.ingress}/restate/health") and answers(f"{self.admin}/health"))

    def kill(self) -> None:
        """`kill -9`."""
        self.process.stop()

    def start_again(self) -> None:
        """Start it with what is on its disk, and wait until both doors are open."""
        self.process = self._start()
        self.await_ready()


def official_server(folder: Path, settings: Mapping[str, str]) -> Server:
    """The official server from npm."""
    ports = [free_port() for _ in range(3)]
    ingress, admin, node = (f"127.0.0.1:{port}" for port in ports)
    environment = {
        "DO_NOT_TRACK": "1",
        "RESTATE_CLUSTER_NAME": "interop",
        "RESTATE_BASE_DIR": str(folder / "official"),
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_INGRESS__BIND_ADDRESS": ingress,
        "RESTATE_ADMIN__BIND_ADDRESS": admin,
        "RESTATE_BIND_ADDRESS": node,
        "RESTATE_ADVERTISED_ADDRESS": f"http://{node}/",
        **_named("RESTATE_", settings),
    }
    command = [str(node_packages() / "node_modules" / ".bin" / "restate-server")]
    start = partial(Process, command, folder / "official-server.log", environment)
    return Server(start, f"http://{ingress}", f"http://{admin}")


def our_server(folder: Path, settings: Mapping[str, str]) -> Server:
    """`understudy serve` from this checkout."""
    ingress, admin = free_port(), free_port()
    command = [sys.executable, "-m", "understudy", "serve", "--data", str(folder / "understudy")]
    command += ["--ingress-port", str(ingress), "--admin-port", str(admin)]
    start = partial(Process, command, folder / "our-server.log", _named("UNDERSTUDY_", settings))
    return Server(start, f"http://127.0.0.1:{ingress}", f"http://127.0.0.1:{admin}")


def _named(prefix: str, settings: Mapping[str, str]) -> dict[str, str]:
    return {prefix + name: value for name, value in settings.items()}


# --- applications -------------------------------------------------------------------------------------------


class Application:
    """A running endpoint: where it is, and whether it has to be reached over HTTP/1.1."""

    def __init__(self, process: Process, port: int, *, use_http_11: bool = False) -> None:
        self.process = process
        self.uri = f"http://127.0.0.1:{port}"
        self.use_http_11 = use_http_11
        process.await_ready(lambda: listens(port))


def on_hypercorn(app: str, folder: Path, environment: Mapping[str, str], port: int = 0) -> Application:
    """*app* (``module:name``) on hypercorn, which speaks HTTP/2 without TLS; at *port* if it is given."""
    port = port or free_port()
    command = [sys.executable, "-m", "hypercorn", "--bind", f"127.0.0.1:{port}", app]
    return Application(_served(command, folder / "hypercorn.log", environment), port)


def on_uvicorn(app: str, folder: Path, environment: Mapping[str, str]) -> Application:
    """*app* on uvicorn, which speaks HTTP/1.1 only."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port), app]
    return Application(_served(command, folder / "uvicorn.log", environment), port, use_http_11=True)


def on_granian(app: str, folder: Path, environment: Mapping[str, str]) -> Application:
    """*app* on granian, HTTP/2."""
    port = free_port()
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--http", "2", "--no-ws", app]
    return Application(_served(command, folder / "granian.log", environment), port)


def on_understudy_host(app: str, folder: Path, environment: Mapping[str, str]) -> Application:
    """*app* on our own `understudy host`."""
    port = free_port()
    command = [sys.executable, "-m", "understudy", "host", app, "--port", str(port)]
    return Application(Process(command, folder / "host.log", environment), port)


def on_node(script: Path, folder: Path, environment: Mapping[str, str], *, use_http_11: bool = False) -> Application:
    """*script* on Node.js; it listens at PORT, over HTTP/1.1 if it is told INTEROP_HTTP_1."""
    port = free_port()
    linked = folder / script.name
    # Modules are looked for from the script's real place: it has to lie beside `node_modules`.
    packages = node_packages() / script.name
    packages.write_bytes(script.read_bytes())
    told = {"PORT": str(port), "NODE_ENV": "production", **environment}
    if use_http_11:
        told["INTEROP_HTTP_1"] = "1"
    process = Process(["node", str(packages)], folder / f"{linked.stem}.log", told)
    return Application(process, port, use_http_11=use_http_11)


def _served(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Process:
    """A host of the peers, started where its application is: each looks for it in its working directory first."""
    return Process(command, log, _with_peers(environment), Path(environment.get("PYTHONPATH", ROOT)))


def _with_peers(environment: Mapping[str, str]) -> dict[str, str]:
    """The peers' packages before everything else, then what *environment* wants on the path."""
    path = [str(python_packages()), environment.get("PYTHONPATH", ""), str(ROOT)]
    return {**environment, "PYTHONPATH": os.pathsep.join(part for part in path if part), "PYTHONUNBUFFERED": "1"}
