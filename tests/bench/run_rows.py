"""Three rows in one run: the real server with the official SDK, ours with the same SDK, ours in one process.

    python -m tests.bench.run_rows                                # about 12 minutes
    python -m tests.bench.run_rows --rows real,dev --only echo@64,steps10@8 --rounds 2 --seconds 1.5

A round starts every pair afresh and measures window by window, each window on all rows one after the other: the
machine's speed drifts by tens of per cent within minutes, and the rows of one window share it.  So ratios are taken
within a window and their median is given first; rates follow.  A window in which other processes used more than
`--others-max` cores is run again (at most `--tries` times), the least disturbed try counts, and it is marked when it
stays disturbed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs

from tests.bench.loadgen import WORKLOADS
from tests.bench.procfs import calibration_ms, machine
from tests.bench.rows import ROOT, ROWS, Pair
from tests.bench.tables import Windows, cpu_table, rates_table, ratios_table

CLIENTS = (1, 8, 64)


@attrs.frozen
class Plan:
    """What to measure, and when a window counts as quiet."""

    rows: list[str]
    windows: list[str]
    rounds: int
    seconds: float
    warmup_s: float
    others_max: float
    tries: int


def load(pair: Pair, window: str, seconds: float, warmup_s: float) -> dict[str, Any]:
    """One window, from a load generator of its own."""
    workload, _, clients = window.partition("@")
    command = [sys.executable, "-m", "tests.bench.loadgen", "--url", f"http://127.0.0.1:{pair.places.ingress_port}"]
    command += ["--workload", workload, "-c", clients, "-d", str(seconds), "-w", str(warmup_s)]
    for name, pid in pair.pids().items():
        command += ["--watch", f"{name}={pid}"]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"the load generator failed:\n{done.stderr[-2000:]}")
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def quiet_load(pair: Pair, window: str, plan: Plan) -> dict[str, Any]:
    """The least disturbed of at most `tries` windows."""
    tries: list[dict[str, Any]] = []
    for _ in range(plan.tries):
        speed_ms = calibration_ms()
        figures = load(pair, window, plan.seconds, plan.warmup_s)
        figures["calibration_ms"] = speed_ms
        tries.append(figures)
        if figures["usage"]["cores_others"] <= plan.others_max:
            break
    best = min(tries, key=lambda figures: float(figures["usage"]["cores_others"]))
    best["disturbed"] = best["usage"]["cores_others"] > plan.others_max
    best["tries"] = len(tries)
    return best


def run_round(plan: Plan, number: int, folder: Path, found: Windows) -> None:
    """All windows once, on pairs started for this round; the order of the rows turns with the round."""
    turn = number % len(plan.rows)
    order = plan.rows[turn:] + plan.rows[:turn]
    with ExitStack() as stack:
        pairs = [stack.enter_context(Pair(ROWS[name], folder / name)) for name in order]
        for window in plan.windows:
            for pair in pairs:
                figures = quiet_load(pair, window, plan)
                found[window][pair.row.name].append(figures)
                say(number, window, pair.row.name, figures)


def say(number: int, window: str, row: str, figures: dict[str, Any]) -> None:
    """Progress, for whoever waits."""
    usage = figures["usage"]
    print(
        f"round {number + 1} {window:14} {row:6} {figures['ops_per_s']:8.1f} ops/s  p50 "
        f"{figures['latency_ms'].get('p50', 0):7.2f} ms  others {usage['cores_others']:.2f}  "
        f"errors {figures['errors']} {figures['error_examples']}",
        file=sys.stderr,
        flush=True,
    )


def windows_of(only: str) -> list[str]:
    """`echo,steps10@8` as windows; all when *only* is empty.  Raises SystemExit for a workload that is none."""
    names = [part.partition("@") for part in only.split(",")] if only else [(name, "", "") for name in WORKLOADS]
    for workload, _, _ in names:
        if workload not in WORKLOADS:
            raise SystemExit(f"no workload is called {workload!r}: they are {', '.join(WORKLOADS)}")
    return [f"{name}@{count}" for name, _, one in names for count in ([one] if one else CLIENTS)]


def plan_of(args: argparse.Namespace) -> Plan:
    """The options as a plan.  Raises SystemExit for a row that is none."""
    rows = args.rows.split(",")
    if unknown := [row for row in rows if row not in ROWS]:
        raise SystemExit(f"no row is called {unknown[0]!r}: they are {', '.join(ROWS)}")
    return Plan(
        rows, windows_of(args.only), args.rounds, args.seconds, args.warmup, args.others_max, max(1, args.tries)
    )


def report(plan: Plan, found: Windows, began: str) -> str:
    """Ratios first, then what each row did."""
    about = machine()
    head = (
        f"{plan.rounds} rounds, windows of {plan.seconds:g} s after {plan.warmup_s:g} s, {began}; "
        f"{about['cpus']} cores ({about['cpu_model']}), {about['memory_mib']} MiB."
    )
    parts = [head]
    if len(plan.rows) > 1:
        parts += [ratios_table(found, plan.rows), "CPU per operation:", cpu_table(found, plan.rows)]
    return "\n\n".join([*parts, *(f"**{ROWS[row].title}**\n\n{rates_table(found, row)}" for row in plan.rows)])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="real,serve,dev", help=f"of {', '.join(ROWS)}; ratios are to the first")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a window")
    parser.add_argument("--warmup", type=float, default=0.7, help="seconds before a window")
    parser.add_argument("--only", default="", help="comma-separated workloads or windows: echo,steps10@64")
    parser.add_argument("--others-max", type=float, default=0.3, help="cores that others may use in a quiet window")
    parser.add_argument("--tries", type=int, default=2)
    parser.add_argument("--work-dir", default=None, help="where data folders go: the disk that is measured")
    parser.add_argument("--json", default=None, help="write all windows to this file")
    args = parser.parse_args()
    plan = plan_of(args)
    found: Windows = {window: {row: [] for row in plan.rows} for window in plan.windows}
    began = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    with tempfile.TemporaryDirectory(dir=args.work_dir) as folder:
        for number in range(plan.rounds):
            run_round(plan, number, Path(folder) / str(number), found)
            if args.json:
                Path(args.json).write_text(json.dumps({"machine": machine(), "windows": found}, indent=1) + "\n")
    print(report(plan, found, began))
    every = [window for rows in found.values() for windows in rows.values() for window in windows]
    if any(window["errors"] or window["stuck_clients"] for window in every):
        raise SystemExit("there were wrong answers: the figures mean nothing")


if __name__ == "__main__":
    main()
