"""`understudy run`: a live server and the simulator are asked the same, and what differs is told."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from understudy_sim import Call
from understudy_sim.stage.live.outcome import (
    Answered,
    Difference,
    Outcome,
    answered,
    command_name,
    command_said,
    differences,
)

from tests.commands import understudy
from tests.interop.peers.processes import Server, free_port, on_understudy_host, our_server

ASK = Call(client="ann", service="Account", key="rent", handler="balance")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    started = our_server(tmp_path, {})
    yield started
    started.process.stop()


def run(server: Server, *arguments: str) -> tuple[int, str]:
    """Exit code and output of a comparison with *server*."""
    done = understudy("run", *arguments, "--ingress", server.ingress, "--admin", server.admin, timeout_s=120)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def test_our_server_is_equal_to_the_simulator(server: Server) -> None:
    code, told = run(server, "scenarios/ticket_tour.py", "--endpoint-port", str(free_port()), "--seed", "1", "--json")
    assert code == 0, told
    assert "15 answers, 15 journals" in told
    assert "equal" in told
    assert "not compared: states: this server's admin does not tell them" in told
    assert json.loads(told.splitlines()[-1]) == {"seed": 1, "operations": 15, "differ": []}


def test_another_application_behind_the_server_differs(server: Server, tmp_path: Path) -> None:
    endpoint = on_understudy_host("tests.live.generous:app", tmp_path, {})
    try:
        body = json.dumps({"uri": endpoint.uri}).encode()
        asked = urllib.request.Request(
            f"{server.admin}/deployments", data=body, headers={"content-type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=20) as response:
            assert response.status == 201
        code, told = run(server, "scenarios/account.py", "--seed", "1")
    finally:
        endpoint.process.stop()
    assert code == 1, told
    assert "answer to" in told
    assert "  simulated  200" in told
    assert "  live       200" in told


def test_no_server_is_told_and_no_traceback() -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    done = understudy("run", "scenarios/account.py", "--ingress", nobody, "--admin", nobody)
    assert done.returncode == 2
    assert f"Error: {nobody}/query cannot be asked" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("address", ["localhost", "https://localhost:1", "nonsense"])
def test_what_is_no_address_is_told(address: str) -> None:
    done = understudy("run", "scenarios/account.py", "--ingress", "http://localhost:1", "--admin", address)
    assert done.returncode == 2
    assert f"{address!r} is no address of a server" in done.stderr


def test_a_script_that_asks_for_what_no_live_server_has_is_not_compared(server: Server) -> None:
    code, told = run(server, "scenarios/kiln.py", "--seed", "1")
    assert code == 2
    assert "the scenario's script uses stage.attendant, which no live server has" in " ".join(told.split())


def outcome(
    *answers: Answered, journal: tuple[str, ...] | None = ("INPUT",), balance: int = 0, **broken: str
) -> Outcome:
    return Outcome(
        answers=answers, journals={0: journal}, states={("Account", "rent"): {"balance": balance}}, broken=broken
    )


def test_each_kind_of_difference_is_told() -> None:
    here = outcome(Answered(200, 5), journal=("INPUT", "OUTPUT"), balance=5)
    assert list(differences([ASK], here, here)) == []
    there = outcome(Answered(200, 6), journal=("INPUT", "RUN", "OUTPUT"), balance=6, debt="rent has -1")
    found = list(differences([ASK], here, there))
    assert [one.what for one in found] == [
        "answer to 1. ann: Account/rent/balance()",
        "journal of 1. ann: Account/rent/balance()",
        "state of Account/rent",
        "claim debt",
    ]
    assert found[0] == Difference("answer to 1. ann: Account/rent/balance()", "200 5", "200 6")
    assert str(found[3]) == "claim debt\n  simulated  it holds\n  live       rent has -1"


def test_what_a_side_does_not_tell_is_no_difference() -> None:
    here, there = outcome(Answered(200)), outcome(Answered(200), journal=None)
    assert list(differences([ASK], here, there)) == []


def test_ids_of_the_run_are_no_difference() -> None:
    one = answered(202, b'{"invocationId": "inv_14lUmc5dnWNY2sxkyZgZgMaelDXx8yCx3j", "status": "Accepted"}')
    assert one == Answered(202, {"invocationId": "…", "status": "Accepted"})
    assert answered(200, b'"6b9c5d52-0d9e-4f0c-9d0d-2f3d9a5b7c11"') == Answered(200, "…")
    assert answered(200, b'{"executionTime": "2026-11-22T23:44:12.051000000Z"}') == Answered(
        200, {"executionTime": "…"}
    )
    assert answered(409, b'{"message": "such words are not promised"}') == Answered(409)


def test_commands_have_one_name_in_both_languages() -> None:
    assert command_name(1031) == command_name(1026) == command_said("Command: GetState") == "GET_STATE"
    assert command_said("Command: OneWayCall") == command_name(1038) == "ONE_WAY_CALL"
    assert command_said("Notification: Call") == ""
