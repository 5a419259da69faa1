"""Which server meets which application: the table the contract's tests run over.

Each pairing has one server process and one application process, started when its first test needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from tests.interop.client import Client
from tests.interop.peers.install import ROOT
from tests.interop.peers.processes import (
    IMPATIENT,
    SETTINGS,
    SUSPENDING,
    Application,
    Server,
    official_server,
    on_hypercorn,
    on_node,
    on_understudy_host,
    on_uvicorn,
    our_server,
)
from tests.interop.rewriting import rewritten

SERVICES = "tests.interop.services:app"
PACKAGE = ROOT / "tests" / "interop" / "services"
NODE_SCRIPT = Path(__file__).with_name("services.mjs")
ENVIRONMENT: Mapping[str, str] = {"INTEROP_GREETING": "hello from the environment"}

StartServer = Callable[[Path, Mapping[str, str]], Server]
StartApplication = Callable[[Path], Application]


def our_app(folder: Path) -> Application:
    """Our SDK on hypercorn: HTTP/2, full duplex."""
    return on_hypercorn(SERVICES, folder, ENVIRONMENT)


def our_app_http_1(folder: Path) -> Application:
    """Our SDK on uvicorn: HTTP/1.1, request and response."""
    return on_uvicorn(SERVICES, folder, ENVIRONMENT)


def our_app_hosted(folder: Path) -> Application:
    """Our SDK on our own host."""
    return on_understudy_host(SERVICES, folder, ENVIRONMENT)


def official_python_app(folder: Path) -> Application:
    """The same files with their imports changed, so the official Python SDK, on hypercorn."""
    path = rewritten(PACKAGE, folder / "rewritten")
    return on_hypercorn(SERVICES, folder, {**ENVIRONMENT, "PYTHONPATH": str(path)})


def official_typescript_app(folder: Path) -> Application:
    """The official TypeScript SDK on Node.js."""
    return on_node(NODE_SCRIPT, folder, ENVIRONMENT)


@attrs.frozen
class Pairing:
    """A server, an application, and what the server is told beside the usual."""

    server: StartServer
    application: StartApplication
    settings: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def always_suspends(self) -> bool:
        """Whether every await ends the attempt."""
        return self.settings is SUSPENDING or self.application is our_app_http_1

    @property
    def never_suspends(self) -> bool:
        """Whether no await of less than a minute ends the attempt."""
        return not self.settings and not self.always_suspends


PAIRINGS: Mapping[str, Pairing] = {
    "official_server-our_sdk": Pairing(official_server, our_app),
    "official_server-our_sdk-suspending": Pairing(official_server, our_app, SUSPENDING),
    "official_server-our_sdk-our_host": Pairing(official_server, our_app_hosted),
    "official_server-our_sdk-impatient": Pairing(official_server, our_app, IMPATIENT),
    "our_server-official_python-impatient": Pairing(our_server, official_python_app, IMPATIENT),
    "our_server-official_typescript-impatient": Pairing(our_server, official_typescript_app, IMPATIENT),
    "our_server-official_python": Pairing(our_server, official_python_app),
    "our_server-official_python-suspending": Pairing(our_server, official_python_app, SUSPENDING),
    "our_server-official_typescript": Pairing(our_server, official_typescript_app),
    "official_server-our_sdk-http1": Pairing(official_server, our_app_http_1),
    "our_server-official_typescript-suspending": Pairing(our_server, official_typescript_app, SUSPENDING),
    "our_server-our_sdk": Pairing(our_server, our_app),
    "our_server-our_sdk-http1": Pairing(our_server, our_app_http_1),
    "our_server-our_sdk-our_host": Pairing(our_server, our_app_hosted),
}
# Not run by default: it tells whether a test is right, not whether we are.  See `--reference` in conftest.py.
REFERENCE: Mapping[str, Pairing] = {
    "official_server-official_python": Pairing(official_server, official_python_app),
    "official_server-official_typescript": Pairing(official_server, official_typescript_app),
}


class Stage:
    """One pairing, running."""

    def __init__(self, pairing: Pairing, folder: Path) -> None:
        self.pairing = pairing
        self.server = pairing.server(folder, {**SETTINGS, **pairing.settings})
        try:
            self.application = pairing.application(folder)
        except BaseException:
            self.server.process.stop()
            raise
        self.client = Client(self.server.ingress, self.server.admin)
        try:
            self.client.register(self.application.uri, use_http_11=self.application.use_http_11)
        except BaseException as error:
            error.add_note(self.told())
            self.stop()
            raise

    def told(self) -> str:
        """The ends of both logs."""
        return f"server:\n{self.server.process.told()}\napplication:\n{self.application.process.told()}"

    def stop(self) -> None:
        self.application.process.stop()
        self.server.process.stop()
