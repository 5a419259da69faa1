"""How fast a rehearsal is: seeds per second on one core with every property on, and virtual seconds per wall second.

    python -m tests.bench.tour_speed --seeds 100 --rounds 3

Each round runs the same seeds in this process.  CPU time is given beside wall time: on a machine that others use, the
rate by CPU is what one free core would do.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

from understudy_sim.stage.application import Application
from understudy_sim.stage.report import Report
from understudy_sim.stage.run import run_seed
from understudy_sim.stage.script import load_scenario
from understudy_sim.stage.silence import silence_for_good


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--script", default="scenarios/ticket_tour.py")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    scenario = load_scenario(args.script)
    application = Application(scenario.app)
    silence_for_good()
    run_seed(scenario, application, 0)
    by_cpu, by_wall, virtual = [], [], []
    for number in range(args.rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        reports: list[Report] = [run_seed(scenario, application, seed) for seed in range(args.seeds)]
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
