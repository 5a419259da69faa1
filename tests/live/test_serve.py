"""A real `understudy serve` and real endpoints: registered, restarted, stopped in the middle of calls."""

from __future__ import annotations

import http.client
import signal
import threading
import time

import pytest

from tests.commands import understudy
from tests.live.conftest import Server
from tests.live.test_life import await_running, refuses


@pytest.fixture
def pair(start):
    """A server that knows an endpoint."""
    endpoint = start.endpoint()
    server = start(app=None)
    register(server, endpoint.port)
    return server, endpoint


def register(server: Server, port: int, **options: object) -> str:
    """Have *server* know the endpoint at *port*; the deployment's id."""
    body = {"uri": f"http://127.0.0.1:{port}", **options}
    status, _, answer = server.ask("POST", "/deployments", body, admin=True)
    assert status == 201, answer
    found: str = answer["id"]
    return found


def test_calls_reach_a_registered_endpoint(pair):
    server, _ = pair
    assert server.call("/Greeter/greet", "bob") == "hi bob"
    assert server.call("/Counter/k/add", 2) == 2
    assert server.call("/Counter/k/add", 3) == 5
    assert server.call("/Greeter/doze", 50) == "rested"


def test_without_a_deployment_there_is_no_service(start):
    server = start(app=None)
    status, _, body = server.ask("POST", "/Greeter/greet", "x")
    assert status == 404
    assert "register" in body["message"]


def test_a_server_remembers_its_deployments(pair, start):
    server, _ = pair
    assert server.call("/Counter/k/add", 2) == 2
    server.kill()
    server = start(app=None)
    assert server.call("/Counter/k/add", 2) == 4
    assert server.stop() == 0
    assert start(app=None).call("/Counter/k/add", 2) == 6


def test_what_was_called_while_the_endpoint_was_gone_runs_once_it_is_back(pair, start):
    server, endpoint = pair
    endpoint.kill()
    sent = server.ask("POST", "/Counter/k/add/send", 1, idempotency_key="k")[2]["invocationId"]
    server.await_line("retry scheduled")
    start.endpoint("--port", str(endpoint.port))
    assert server.ask("GET", f"/restate/invocation/{sent}/attach")[2] == 1


def test_an_endpoint_stops_in_order_and_at_once(start):
    endpoint = start.endpoint()
    before = time.monotonic()
    assert endpoint.stop() == 0
    assert time.monotonic() - before < 8
    endpoint = start.endpoint()
    assert endpoint.stop(signal.SIGINT) == 0


def test_a_call_in_an_endpoint_that_stops_is_answered(pair, start):
    server, endpoint = pair
    answers = []
    caller = threading.Thread(target=lambda: answers.append(server.ask("POST", "/Greeter/doze", 1500)[2]))
    caller.start()
    server_waits(server)
    endpoint.process.send_signal(signal.SIGTERM)
    endpoint.await_line("draining")
    endpoint.end()
    start.endpoint("--port", str(endpoint.port))
    caller.join(60)
    assert answers == ["rested"]


def server_waits(server: Server) -> None:
    """Wait until some invocation has not ended."""
    deadline = time.monotonic() + 30
    while not server.ask("GET", "/invocations", admin=True)[2]["invocations"]:
        assert time.monotonic() < deadline


def test_a_call_in_flight_is_answered_before_the_server_ends(pair):
    server, _ = pair
    answers = []
    caller = threading.Thread(
        target=lambda: answers.append(server.ask("POST", "/Greeter/doze", 2000, idempotency_key="d")[2])
    )
    caller.start()
    await_running(server, "d")
    assert server.stop() == 0
    caller.join()
    assert answers == ["rested"]


def test_a_call_that_outlasts_the_drain_is_cut_and_goes_on_afterwards(start):
    endpoint = start.endpoint()
    server = start("--shutdown-timeout", "300ms", app=None)
    register(server, endpoint.port)
    cut = []

    def call() -> None:
        try:
            server.ask("POST", "/Greeter/doze", 6000, idempotency_key="long")
        except (OSError, http.client.HTTPException) as error:
            cut.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    await_running(server, "long")
    before = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - before < 5
    caller.join()
    assert len(cut) == 1
    server = start(app=None)
    assert server.ask("POST", "/Greeter/doze", 6000, idempotency_key="long")[2] == "rested"


def test_what_an_endpoint_cannot_host(tmp_path):
    refuses(understudy("host", "tests.live.services:not_an_app"), "is a int, not an ASGI application")
    refuses(understudy("host", "tests.live.nowhere:app"), "no module")
    refuses(understudy("host", "tests.live.services:app", "--port", "x"), "--host-bind-port")


def test_a_port_of_an_endpoint_that_is_taken(start):
    endpoint = start.endpoint()
    refuses(understudy("host", "tests.live.services:app", "--port", str(endpoint.port)), str(endpoint.port), "--port")


def test_a_bad_signing_key_is_named(tmp_path):
    path = tmp_path / "key.pem"
    path.write_text("nonsense")
    options = ["--worker-invoker-request-identity-private-key-pem-file", str(path), "--data", str(tmp_path / "d")]
    refuses(understudy("serve", *options, "--ingress-port", "0", "--admin-port", "0"), "key.pem", "openssl")
