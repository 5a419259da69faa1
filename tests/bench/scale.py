"""What many invocations cost, and what a kill -9 does to them: sleepers, recovery, echoes that are kept for a while.

Each function takes a fresh running pair and gives figures; nothing here prints.  Waits have deadlines.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Callable
from typing import Any

from tests.bench.bulk import Request, send_all, side_lines
from tests.bench.procfs import Window, disk_mib, rss_mib
from tests.bench.rows import Pair

CLIENTS = 64
SETTLE_TIMEOUT_S = 240
IDLE_CORES = 0.15
RECOVERY_TIMEOUT_S = 300
STEPS = 5
# The kill comes when this share of the steps has run.
KILL_AT = 0.45


def sleepers(pair: Pair, count: int) -> dict[str, Any]:
    """*count* handlers that sleep for an hour: memory and disk they take; kill -9; time to the first echo."""
    time.sleep(2)
    before = sizes(pair)
    window = Window(pair.pids())
    window.start()
    began = time.perf_counter()
    answers = send_all(
        pair.places.ingress_port, (Request("/Sleeper/hour/send", b"%d" % i) for i in range(count)), CLIENTS
    )
    settle(pair)
    settled_s = time.perf_counter() - began
    usage = window.stop()
    after = sizes(pair)
    restart = restarted(pair)
    return {
        "sleepers": count,
        "accepted": answers.figures(),
        "all_asleep_s": round(settled_s, 2),
        "cpu_us_per_sleeper": {name: round(used / count * 1e6) for name, used in usage["cpu_s"].items()},
        "before": before,
        "after": after,
        "rss_grown_mib": round(after["rss_mib"] - before["rss_mib"], 1),
        "rss_bytes_per_sleeper": round((after["rss_mib"] - before["rss_mib"]) * 2**20 / count),
        "disk_bytes_per_sleeper": round((after["disk_mib"] - before["disk_mib"]) * 2**20 / count),
        **restart,
        "after_restart": sizes(pair),
    }


def recovery(pair: Pair, count: int) -> dict[str, Any]:
    """*count* invocations of five steps and sleeps, kill -9 amid them: time until all are done, and what they did."""
    places = pair.places
    places.side_log.unlink(missing_ok=True)
    keys = [Request("/Recover/run/send", b"%d" % i, b"idempotency-key: r%d\r\n" % i) for i in range(count)]
    accepted = send_all(places.ingress_port, keys, CLIENTS)
    await_lines(pair, lambda lines: len(lines) >= count * STEPS * KILL_AT)
    pair.kill_server()
    at_kill = side_lines(places.side_log)
    began = time.perf_counter()
    healthy_s = pair.start_server()
    window = Window(pair.pids())
    window.start()
    await_lines(pair, lambda lines: len(ended(lines)) >= count)
    done_s = time.perf_counter() - began
    usage = window.stop()
    return {
        "invocations": count,
        "accepted": accepted.figures(),
        "unfinished_at_kill": count - len(ended(at_kill)),
        "steps_at_kill": sum(words[0] == "step" for words in at_kill),
        "restart_healthy_s": round(healthy_s, 3),
        "restart_all_done_s": round(done_s, 2),
        "cores_after_restart": usage["cores"],
        **verified(pair, count),
    }


def verified(pair: Pair, count: int) -> dict[str, Any]:
    """Every result once more through its key, every counter, every step."""
    port = pair.places.ingress_port
    keys = [Request("/Recover/run", b"%d" % i, b"idempotency-key: r%d\r\n" % i) for i in range(count)]
    results = send_all(port, keys, CLIENTS)
    tallies = send_all(port, (Request(f"/Tally/{i}/value") for i in range(count)), CLIENTS)
    counted = collections.Counter(int(body) for body in tallies.bodies)
    lines = side_lines(pair.places.side_log)
    steps = collections.Counter((words[1], words[2]) for words in lines if words[0] == "step")
    return {
        "results_right": {int(body) for body in results.bodies} == set(range(count)),
        "each_exactly_once": counted == {1: count},
        "steps_missing": count * STEPS - len(steps),
        "steps_executed_again": sum(times - 1 for times in steps.values()),
    }


def kept_echoes(pair: Pair, count: int, retention_s: float) -> dict[str, Any]:
    """*count* echoes, each kept under an idempotency key for *retention_s*: memory and disk over time; restart."""
    time.sleep(2)
    samples = [sample(pair, 0.0)]
    began = time.perf_counter()
    chunk = max(1, count // 100)
    sent = errors = 0
    latencies = []
    while sent < count:
        numbers = range(sent, min(sent + chunk, count))
        requests = (Request("/Echo/echo", b'"%d"' % i, b"idempotency-key: e%d\r\n" % i) for i in numbers)
        answers = send_all(pair.places.ingress_port, requests, CLIENTS)
        sent, errors = sent + len(numbers), errors + len(answers.errors)
        latencies.append(answers.latency_ms.get("p99", 0.0))
        samples.append({**sample(pair, time.perf_counter() - began), "sent": sent})
    load_s = time.perf_counter() - began
    restart = restarted(pair)
    restarted_at_s = time.perf_counter() - began
    while time.perf_counter() - began < restarted_at_s + retention_s * 1.25:
        time.sleep(2)
        samples.append({**sample(pair, time.perf_counter() - began), "sent": sent})
    return {
        "echoes": count,
        "retention_s": retention_s,
        "per_s": round(count / load_s, 1),
        "load_s": round(load_s, 1),
        "errors": errors,
        "p99_ms_worst_hundredth": max(latencies),
        **restart,
        "restarted_at_s": round(restarted_at_s, 1),
        "samples": samples,
    }


def sizes(pair: Pair) -> dict[str, float]:
    """Memory of the server (in `dev`: of server and services) and disk of its data folder."""
    return {"rss_mib": rss_mib(pair.server_pid), "disk_mib": disk_mib(pair.places.data)}


def sample(pair: Pair, at_s: float) -> dict[str, Any]:
    """One point of the curves."""
    return {"at_s": round(at_s, 1), **sizes(pair)}


def restarted(pair: Pair) -> dict[str, float]:
    """kill -9 and start again: seconds until the ingress is healthy, and until an echo is answered."""
    pair.kill_server()
    began = time.perf_counter()
    healthy_s = pair.start_server()
    pair.first_echo()
    return {"restart_healthy_s": round(healthy_s, 3), "restart_first_echo_s": round(time.perf_counter() - began, 3)}


def settle(pair: Pair) -> None:
    """Wait until the pair has nothing to do: both processes use next to no CPU for two seconds in a row."""
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    quiet = 0
    while quiet < 2:
        window = Window(pair.pids())
        window.start()
        time.sleep(1)
        quiet = quiet + 1 if sum(window.stop()["cores"].values()) < IDLE_CORES else 0
        if time.monotonic() > deadline:
            raise SystemExit(f"{pair.row.name}: still busy after {SETTLE_TIMEOUT_S} s")


def await_lines(pair: Pair, enough: Callable[[list[list[str]]], bool]) -> None:
    """Wait until the steps have written *enough*."""
    deadline = time.monotonic() + RECOVERY_TIMEOUT_S
    while not enough(side_lines(pair.places.side_log)):
        if time.monotonic() > deadline:
            raise SystemExit(f"{pair.row.name}: the steps did not get there in {RECOVERY_TIMEOUT_S} s")
        time.sleep(0.05)


def ended(lines: list[list[str]]) -> set[str]:
    """Which invocations have come to their end."""
    return {words[1] for words in lines if words[0] == "end"}
