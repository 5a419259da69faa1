"""What a rehearsal costs as its scenario grows: the tour with 1, 4 and 16 box offices open at once.

    python -m tests.bench.scenario_growth --seeds 20 --plot docs/scenario-growth.svg

Every box office has customers and seats of its own, all on one server and one endpoint, and all claims and properties
are on.  Of each seed the least CPU time of all rounds counts.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import attrs
from understudy_sim.kernel.choices import Choices
from understudy_sim.stage.operations import Call
from understudy_sim.stage.report import Report
from understudy_sim.stage.scenario import Scenario
from understudy_sim.stage.script import load_scenario
from understudy_sim.stage.search import run_seeds
from understudy_sim.stage.variation import AS_DRAWN

from scenarios import box_office
from tests.bench.journal_cost_plot import draw_log
from tests.bench.plot import Series

SIZES = (1, 4, 16)
CUSTOMERS, SEATS = box_office.CUSTOMERS, box_office.SEATS


def numbered(names: tuple[str, ...], count: int) -> tuple[str, ...]:
    """*names* once for each box office; those of the first are called as ever."""
    return tuple(f"{name}{suffix(office)}" for office in range(count) for name in names)


def suffix(office: int) -> str:
    return f"-at-{office}" if office else ""


def crowd(count: int, one: Callable[[Choices], tuple[Call, ...]]) -> Callable[[Choices], tuple[Call, ...]]:
    """The workload *one*, drawn anew for each of *count* box offices."""

    def workload(choices: Choices) -> tuple[Call, ...]:
        return tuple(moved(call, suffix(office)) for office in range(count) for call in one(choices))

    return workload


def moved(call: Call, end: str) -> Call:
    """The same at another box office."""
    seat = None if call.argument is None else f"{call.argument}{end}"
    return attrs.evolve(call, client=f"{call.client}{end}", key=f"{call.key}{end}", argument=seat)


def cost(scenario: Scenario, seeds: int, rounds: int) -> tuple[float, list[Report]]:
    """CPU seconds of all seeds, each in its best round, and their reports."""
    best: dict[int, float] = {}
    reports: dict[int, Report] = {}
    for _ in range(rounds):
        began = time.process_time()
        for report in run_seeds(scenario, range(seeds), AS_DRAWN):
            now = time.process_time()
            best[report.seed] = min(best.get(report.seed, 1e9), now - began)
            reports[report.seed] = report
            began = time.process_time()
    return sum(best.values()), list(reports.values())


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plot", type=Path, help="Write the curves to this SVG.")
    args = parser.parse_args()
    tour = load_scenario("scenarios/ticket_tour.py")
    cost(tour, 1, 1)
    curves: dict[str, list[float]] = {"ms a seed": [], "ms an invocation": []}
    for size in SIZES:
        box_office.CUSTOMERS, box_office.SEATS = numbered(CUSTOMERS, size), numbered(SEATS, size)
        # The workload itself draws one box office at a time.
        scenario = attrs.evolve(tour, workload=crowd(size, one_office))
        seconds, reports = cost(scenario, args.seeds, args.rounds)
        failed = [report.seed for report in reports if report.failed]
        if failed:
            sys.exit(f"seeds {failed} failed with {size} box offices: the figures mean nothing")
        invocations = sum(report.invocations for report in reports)
        steps = sum(report.steps for report in reports)
        curves["ms a seed"].append(seconds * 1e3 / args.seeds)
        curves["ms an invocation"].append(seconds * 1e3 / invocations)
        print(
            f"{size:3d}: {args.seeds / seconds:6.2f} seeds/s by CPU, {invocations / args.seeds:6.0f} invocations and "
            f"{steps / args.seeds:7.0f} steps a seed, {seconds * 1e3 / invocations:5.2f} ms an invocation"
        )
    if args.plot is not None:
        series = [Series(name, values) for name, values in curves.items()]
        args.plot.write_text(
            draw_log("The cost of a rehearsal", "box offices", [float(size) for size in SIZES], series)
        )


def one_office(choices: Choices) -> tuple[Call, ...]:
    """The tour's own workload, whatever the claims are told of other box offices."""
    claimed = box_office.CUSTOMERS, box_office.SEATS
    box_office.CUSTOMERS, box_office.SEATS = CUSTOMERS, SEATS
    try:
        return box_office.workload(choices)
    finally:
        box_office.CUSTOMERS, box_office.SEATS = claimed


if __name__ == "__main__":
    main()
