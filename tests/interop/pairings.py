"""Which server meets which application: the table the contract's tests run over.

Each pairing has one server process and one application process, started when its first test needs them.  The first
fourteen are always run in full, the others in a sample (`Pairing.sample`); `python -m tests.interop.whole` runs all.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs

from tests.interop.client import Client, PatientClient, Refused
from tests.interop.killing import Killer
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
# The services say in their manifest that their handlers are sent no state along.
LAZY: Mapping[str, str] = {"INTEROP_LAZY_STATE": "1"}
NOTHING: Mapping[str, str] = MappingProxyType({})

StartServer = Callable[[Path, Mapping[str, str]], Server]
# Called with a folder, and with what the process is told beside ENVIRONMENT.
StartApplication = Callable[..., Application]


def our_app(folder: Path, told: Mapping[str, str] = NOTHING) -> Application:
    """Our SDK on hypercorn: HTTP/2, full duplex."""
    return on_hypercorn(SERVICES, folder, {**ENVIRONMENT, **told})


def our_app_http_1(folder: Path, told: Mapping[str, str] = NOTHING) -> Application:
    """Our SDK on uvicorn: HTTP/1.1, request and response."""
    return on_uvicorn(SERVICES, folder, {**ENVIRONMENT, **told})


def our_app_hosted(folder: Path, told: Mapping[str, str] = NOTHING) -> Application:
    """Our SDK on our own host."""
    return on_understudy_host(SERVICES, folder, {**ENVIRONMENT, **told})


def official_python_app(folder: Path, told: Mapping[str, str] = NOTHING) -> Application:
    """The same files with their imports changed, so the official Python SDK, on hypercorn."""
    path = rewritten(PACKAGE, folder / "rewritten")
    return on_hypercorn(SERVICES, folder, {**ENVIRONMENT, **told, "PYTHONPATH": str(path)})


def official_python_app_http_1(folder: Path, told: Mapping[str, str] = NOTHING) -> Application:
    """The official Python SDK on uvicorn: HTTP/1.1, request and response."""
    path = rewritten(PACKAGE, folder / "rewritten")
    return on_uvicorn(SERVICES, folder, {**ENVIRONMENT, **told, "PYTHONPATH": str(path)})


def official_typescript_app(folder: Path, told: Mapping[str, str] = NOTHING) -> Application:
    """The official TypeScript SDK on Node.js."""
    return on_node(NODE_SCRIPT, folder, {**ENVIRONMENT, **told})


def official_typescript_app_http_1(folder: Path, told: Mapping[str, str] = NOTHING) -> Application:
    """The official TypeScript SDK on Node.js: HTTP/1.1, request and response."""
    return on_node(NODE_SCRIPT, folder, {**ENVIRONMENT, **told}, use_http_11=True)


HTTP_1 = (our_app_http_1, official_python_app_http_1, official_typescript_app_http_1)


@attrs.frozen
class Pairing:
    """A server, an application, what each is told beside the usual, and whether the server is killed now and then.

    *sample*: the tests that always run on it; empty for all.
    """

    server: StartServer
    application: StartApplication
    settings: Mapping[str, str] = NOTHING
    told: Mapping[str, str] = NOTHING
    is_killed: bool = False
    sample: tuple[str, ...] = ()

    @property
    def always_suspends(self) -> bool:
        """Whether every await ends the attempt."""
        return self.settings is SUSPENDING or self.application in HTTP_1

    @property
    def never_suspends(self) -> bool:
        """Whether no await of less than a minute ends the attempt."""
        return not self.settings and not self.always_suspends and not self.is_killed


FOR_STATE = (
    "test_attempts_are_sent_state_along_unless_it_is_lazy",
    "test_counter",
    "test_large_values_pass_through_journal_and_state",
    "test_map_lists_and_clears_its_keys",
    "test_programs_in_three_layers",
    "test_results_are_kept_in_order",
    "test_state_set_before_a_failure_stays",
    "test_workflow_blocks_until_its_promise_is_resolved",
)
FOR_HTTP_1 = (
    "test_a_replay_that_differs_is_found",
    "test_all_of_them",
    "test_calls_and_sends_keep_their_order",
    "test_cancel_reaches_what_is_blocked",
    "test_counter",
    "test_large_bodies_pass_both_ways",
    "test_many_calls_at_once",
    "test_programs_in_three_layers",
    "test_runs_are_executed_before_the_next_step",
    "test_workflow_blocks_until_its_promise_is_resolved",
)
FOR_KILLS = (
    "test_a_cancel_goes_down_the_call_tree",
    "test_all_of_them",
    "test_cancel_reaches_what_is_blocked",
    "test_concurrent_adds_are_serialized",
    "test_delayed_calls_wait_before_their_turn",
    "test_kill_takes_the_call_tree_along",
    "test_many_sleeps",
    "test_named_signal",
    "test_programs_in_three_layers",
    "test_workflow_blocks_until_its_promise_is_resolved",
)

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
    "our_server-our_sdk-suspending": Pairing(our_server, our_app, SUSPENDING, sample=FOR_HTTP_1),
    "our_server-official_python-http1": Pairing(our_server, official_python_app_http_1, sample=FOR_HTTP_1),
    "our_server-official_typescript-http1": Pairing(our_server, official_typescript_app_http_1, sample=FOR_HTTP_1),
    "official_server-our_sdk-lazy": Pairing(official_server, our_app, told=LAZY, sample=FOR_STATE),
    "our_server-official_python-lazy": Pairing(our_server, official_python_app, told=LAZY, sample=FOR_STATE),
    "our_server-official_typescript-lazy": Pairing(our_server, official_typescript_app, told=LAZY, sample=FOR_STATE),
    "our_server-our_sdk-lazy": Pairing(our_server, our_app, told=LAZY, sample=FOR_STATE),
    "official_server-our_sdk-killed": Pairing(official_server, our_app, is_killed=True, sample=FOR_KILLS),
    "our_server-official_python-killed": Pairing(our_server, official_python_app, is_killed=True, sample=FOR_KILLS),
    "our_server-official_typescript-killed": Pairing(
        our_server, official_typescript_app, is_killed=True, sample=FOR_KILLS
    ),
    "our_server-our_sdk-killed": Pairing(our_server, our_app, is_killed=True, sample=FOR_KILLS),
}
# One of each server and SDK, for what needs no more.
PLAIN = (
    "official_server-our_sdk",
    "our_server-official_python",
    "our_server-official_typescript",
    "our_server-our_sdk",
)
# Not run by default: it tells whether a test is right, not whether we are.  See `ALL` in conftest.py.
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
            self.application = pairing.application(folder, pairing.told)
        except BaseException:
            self.server.process.stop()
            raise
        self.killer: Killer | None = None
        patient = PatientClient(self.server.ingress, self.server.admin)
        self.client = patient if pairing.is_killed else Client(self.server.ingress, self.server.admin)
        try:
            self.client.register(self.application.uri, use_http_11=self.application.use_http_11)
            if pairing.is_killed:
                self.killer = Killer(self.server, seed=zlib.crc32(folder.name.encode()))
                patient.look = self.killer.look
        except BaseException as error:
            error.add_note(self.told())
            self.stop()
            raise

    def status(self, invocation_id: str) -> str:
        """What the server says an invocation is doing, in Restate's words; empty when it does not know it."""
        return str(self._described(invocation_id, "status"))

    def is_backing_off(self, invocation_id: str) -> bool:
        """Whether a retry waits for its time."""
        if self.pairing.server is our_server:
            found = self.client.administer("GET", f"invocations/{invocation_id}").json()
            return bool(found.get("retry_count")) and not found.get("in_flight")
        return self.status(invocation_id) == "backing-off"

    def journal_length(self, invocation_id: str) -> int:
        """How many entries the server has stored for an invocation."""
        return int(self._described(invocation_id, "journal_size") or 0)

    def _described(self, invocation_id: str, column: str) -> Any:
        if self.pairing.server is our_server:
            try:
                return self.client.administer("GET", f"invocations/{invocation_id}").json()[column]
            except Refused as refused:
                if refused.status != 404:
                    raise
                return ""
        rows = self.client.query(f"SELECT {column} FROM sys_invocation WHERE id = '{invocation_id}'")
        return rows[0].get(column, "") if rows else ""

    def told(self) -> str:
        """The ends of both logs."""
        return f"server:\n{self.server.process.told()}\napplication:\n{self.application.process.told()}"

    def stop(self) -> None:
        """End both processes.  Raises what went wrong with a server that was killed now and then."""
        try:
            if self.killer is not None:
                self.killer.stop()
        finally:
            self.application.process.stop()
            self.server.process.stop()
