"""`understudy dev` with handlers that block or die: who is named, and what `--isolate` keeps apart."""

from __future__ import annotations

import inspect
import os
import signal
import threading
import time

import pytest

from tests.live import blocking
from tests.live.test_life import await_running, dev, refuses

APP = "tests.live.blocking:app"


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    from tests.live.conftest import Server

    running = Server(tmp_path_factory.mktemp("together") / "data", "--log-format", "json", app=APP)
    yield running
    running.kill()


@pytest.fixture
def apart(start):
    return start("--isolate", "--log-format", "json", app=APP)


def line_in(function, text: str) -> str:
    """Where *text* stands in *function*."""
    lines, first = inspect.getsourcelines(function)
    number = next(index for index, line in enumerate(lines) if text in line)
    return f"{inspect.getsourcefile(function)}:{first + number}"


@pytest.mark.parametrize(
    ("handler", "argument", "place", "doing"),
    [
        ("sleep", 300, line_in(blocking.sleep, "time.sleep"), "waiting"),
        ("compute", 400, line_in(blocking.compute, "count += 1").rpartition(":")[0], "computing"),
        ("hold", 40_000_000, line_in(blocking.hold, "sum("), "computing"),
    ],
)
def test_what_blocks_the_loop_is_named(together, handler, argument, place, doing):
    together.call(f"/Rude/{handler}", argument)
    together.await_line(rf'"at": "{place}.*"doing": "{doing}".*the loop (was|is) blocked')


def test_what_does_not_block_is_not_named(start):
    server = start("--log-format", "json")
    for number in range(50):
        server.call("/Greeter/greet", f"{number}")
    assert not [line for line in server.lines if "services.py" in line and "blocked" in line]


def test_a_child_that_dies_is_started_again_and_the_call_ends(apart, tmp_path):
    first = apart.call("/Rude/pid")
    assert first != apart.process.pid
    assert apart.call("/Rude/die_once", str(tmp_path / "marker")) == "back"
    apart.await_line("the services ended and are started again")
    second = apart.call("/Rude/pid")
    assert second not in (first, apart.process.pid)
    assert apart.stop() == 0
    assert is_gone(second)


def test_a_blocked_child_does_not_block_the_server(apart):
    status, _, _ = apart.ask("POST", "/Rude/sleep/send", 2_000)
    assert status == 202
    apart.await_line("Rude: ")
    before = time.monotonic()
    while time.monotonic() - before < 1:
        asked = time.monotonic()
        assert apart.ask("GET", "/restate/health")[0] == 200
        assert time.monotonic() - asked < 1
    apart.await_line("blocking.py.*the loop (was|is) blocked")


def test_the_child_ends_with_a_killed_server(apart):
    child = apart.call("/Rude/pid")
    apart.kill()
    assert is_gone(child)


def test_ctrl_c_is_the_servers_alone(apart):
    child = apart.call("/Rude/pid")
    assert os.getpgid(child) != os.getpgid(apart.process.pid)
    assert apart.stop(signal.SIGINT) == 0
    assert is_gone(child)


def test_a_call_in_the_child_is_answered_before_the_server_ends(start):
    server = start("--isolate")
    answers = []
    caller = threading.Thread(
        target=lambda: answers.append(server.ask("POST", "/Greeter/doze", 1500, idempotency_key="d")[2])
    )
    caller.start()
    await_running(server, "d")
    assert server.stop(signal.SIGINT) == 0
    caller.join()
    assert answers == ["rested"]


def is_gone(process: int) -> bool:
    """Whether *process* ends, soon."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def test_services_that_do_not_start_stop_the_start(tmp_path):
    refuses(
        dev(tmp_path, "--isolate", app="tests.live.broken:app"), "ZeroDivisionError", "did not start", "exit code 2"
    )
