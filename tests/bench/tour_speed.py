"""How fast a rehearsal is: seeds per second on one core with every property on, and virtual seconds per wall second.

    python -m tests.bench.tour_speed --seeds 100 --rounds 3

Each round runs the same seeds in this process, as a search does, its collections included.  CPU time is given beside
wall time: on a machine that others use, the rate by CPU is what one free core would do.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

from understudy_sim.stage.report import Report
from understudy_sim.stage.script import load_scenario
from understudy_sim.stage.search import run_seeds
from understudy_sim.stage.variation import AS_DRAWN


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--script", default="scenarios/ticket_tour.py")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    scenario = load_scenario(args.script)
    list(run_seeds(scenario, range(1), AS_DRAWN))
    by_cpu, by_wall, virtual = [], [], []
    for number in range(args.rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        reports: list[Report] = list(run_seeds(scenario, range(args.seeds), AS_DRAWN))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        failed = [report.seed for report in reports if report.failed]
        if failed:
            sys.exit(f"seeds {failed} failed: the figures mean nothing")
        by_cpu.append(args.seeds / cpu)
        by_wall.append(args.seeds / wall)
        virtual.append(sum(report.virtual_ns for report in reports) / 1e9 / wall)
        steps = sum(report.steps for report in reports) / args.seeds
        print(f"round {number + 1}: {by_wall[-1]:.1f} seeds/s wall, {by_cpu[-1]:.1f} by CPU, {steps:.0f} steps a seed")
    print(
        f"median: {statistics.median(by_wall):.1f} seeds/s wall, {statistics.median(by_cpu):.1f} by CPU, "
        f"{statistics.median(virtual):,.0f} virtual seconds per wall second"
    )


if __name__ == "__main__":
    main()
