"""How a real `understudy dev` starts, stops, is killed and comes back."""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import threading
import time

import cbor2
import pytest
from understudy_runtime.node import checksum_of

from tests.commands import understudy


def test_sigterm_answers_what_is_in_flight_and_exits_0(start):
    server = start()
    answers = []
    caller = threading.Thread(
        target=lambda: answers.append(server.ask("POST", "/Greeter/doze", 3000, idempotency_key="d"))
    )
    caller.start()
    await_running(server, "d")
    assert server.stop() == 0
    caller.join()
    assert answers[0][0] == 200
    assert answers[0][2] == "rested"


def test_sigint_stops_an_idle_server_at_once(start):
    server = start()
    before = time.monotonic()
    assert server.stop(signal.SIGINT) == 0
    assert time.monotonic() - before < 5


def test_a_second_signal_does_not_wait(start):
    server = start()
    caller = threading.Thread(target=quietly, args=(server,))
    caller.start()
    await_running(server, "q")
    before = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    server.await_line("draining")
    assert server.process.poll() is None
    assert server.stop() == 128 + signal.SIGTERM
    assert time.monotonic() - before < 9
    caller.join()


def await_running(server, key: str) -> None:
    """Wait until the nap under *key* is known and has not ended."""
    deadline = time.monotonic() + 30
    while server.ask("GET", f"/restate/invocation/Greeter/doze/{key}/output")[0] != 470:
        assert time.monotonic() < deadline


def quietly(server) -> None:
    """A call that is cut off."""
    with pytest.raises((OSError, http.client.HTTPException)):
        server.ask("POST", "/Greeter/doze", 60_000, idempotency_key="q")


def test_kill_nine_loses_nothing_that_was_answered(start):
    server = start()
    for number in range(5):
        assert server.call("/Counter/k/add", 1, idempotency_key=f"add-{number}") == number + 1
    pending = server.ask("POST", "/Greeter/doze/send", 1000, idempotency_key="d")[2]["invocationId"]
    server.kill()
    server = start()
    for number in range(5):
        assert server.call("/Counter/k/add", 1, idempotency_key=f"add-{number}") == number + 1
    assert server.call("/Counter/k/add", 1) == 6
    assert server.ask("GET", f"/restate/invocation/{pending}/attach")[2] == "rested"
    assert server.stop() == 0
    server = start()
    assert server.call("/Counter/k/add", 1) == 7


def test_the_data_folder_is_private(start):
    server = start()
    assert start.data.stat().st_mode & 0o777 == 0o700
    assert server.stop() == 0


def dev(tmp_path, *options: str, app: str = "tests.live.services:app", **environment: str):
    ports = ["--ingress-port", "0", "--admin-port", "0"]
    return understudy("dev", app, "--data", str(tmp_path / "data"), *ports, *options, **environment)


def refuses(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit code 2, one message that holds *words*, no traceback."""
    assert result.returncode == 2, result
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize(
    ("app", "words"),
    [
        ("nowhere:app", ["no module 'nowhere'"]),
        ("tests.live.nowhere:app", ["no module 'tests.live.nowhere'"]),
        ("tests.live.services:missing", ["has no 'missing'"]),
        ("tests.live.services:not_an_app", ["is a int, not an application"]),
        ("tests.live.services", ["MODULE:ATTRIBUTE"]),
        ("tests.live.broken:app", ["failed while it was imported", "ZeroDivisionError", "broken.py:5"]),
    ],
)
def test_what_is_no_application(tmp_path, app, words):
    refuses(dev(tmp_path, app=app), *words)


def test_unknown_settings_stop_the_start_by_name(tmp_path):
    refuses(dev(tmp_path, "--ingres-port", "1"), "--ingres-port")
    mistyped = dev(tmp_path, UNDERSTUDY_INGRESS__BIND_PROT="1")
    refuses(mistyped, "UNDERSTUDY_INGRESS__BIND_PROT", "did you mean UNDERSTUDY_INGRESS__BIND_PORT")
    refuses(dev(tmp_path, "--ingress-port", "http"), "http")
    refuses(dev(tmp_path, "--partitions", "0"), "partitions")
    refuses(understudy("develop"), "develop")


def test_an_open_admin_wants_a_token(tmp_path):
    refuses(dev(tmp_path, "--bind", "0.0.0.0"), "--admin-token")


def test_a_port_that_is_taken(start, tmp_path):
    server = start()
    result = understudy(
        "dev", "tests.live.services:app", "--data", str(tmp_path / "x"), "--ingress-port", str(server.ingress_port)
    )
    refuses(result, str(server.ingress_port), "--ingress-port")


def test_a_data_folder_held_by_another_process(start):
    start()
    refuses(dev(start.data.parent), "held by another process")


def test_a_data_folder_of_a_newer_format(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "format").write_bytes(cbor2.dumps([99, 1, 1, checksum_of([99, 1, 1])]))
    refuses(dev(tmp_path), "format 99")
    (folder / "format").write_bytes(b"garbage")
    refuses(dev(tmp_path), "format")


def test_a_data_folder_that_is_a_file(tmp_path):
    (tmp_path / "data").write_text("x")
    refuses(dev(tmp_path), "data")


def test_another_number_of_partitions(start):
    assert start("--partitions", "2").stop() == 0
    refuses(dev(start.data.parent, "--partitions", "3"), "2 partitions")
    assert start().stop() == 0


def test_a_corrupt_log_is_refused_by_file_and_place(start):
    server = start()
    for number in range(50):
        server.call("/Counter/k/add", number)
    server.kill()
    segment = sorted((start.data / "partition-0").iterdir())[0]
    data = bytearray(segment.read_bytes())
    data[600] ^= 0xFF
    segment.write_bytes(data)
    result = dev(start.data.parent)
    refuses(result, segment.name)


def test_a_bound_server_with_a_token(start):
    server = start("--admin-token", "t0ken")
    assert server.ask("GET", "/health", admin=True)[0] == 401
    assert server.ask("GET", "/health", admin=True, authorization="Bearer wrong")[0] == 401
    assert server.ask("GET", "/health", admin=True, authorization="Bearer t0ken")[0] == 200
    assert server.call("/Greeter/greet", "x") == "hi x"


def test_help_loads_no_simulator():
    code = "import sys; from understudy_runtime.cli import main; assert 'understudy_sim' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
    result = understudy("--help")
    assert result.returncode == 0
    for command in ("dev", "simulate", "replay", "shrink"):
        assert command in result.stdout
