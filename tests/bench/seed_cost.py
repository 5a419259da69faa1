"""Which of two checkouts rehearses for less: the same seeds in both, one after the other, and the least time of each.

    python -m tests.bench.seed_cost ../before . --seeds 20 --rounds 4

Neighbours slow a machine by half within a minute.  So both checkouts live in a process of their own, each seed runs in
one and at once in the other, the order alternates, and of each seed the least of all rounds counts.  What collecting
the garbage of a seed takes is told apart.  Seeds whose digests differ are different runs: their ratio says little.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import attrs

WORKER = "--worker"


@attrs.define
class Side:
    """One checkout: its process, and by seed the least CPU seconds of a run and of its garbage, and its digest."""

    folder: Path
    process: subprocess.Popen[str]
    runs_s: dict[int, float] = attrs.field(factory=dict)
    garbage_s: dict[int, float] = attrs.field(factory=dict)
    digests: dict[int, str] = attrs.field(factory=dict)

    @classmethod
    def start(cls, folder: Path, script: str) -> Side:
        paths = [str(folder / part) for part in ("sdk", "runtime", "sim", ".")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        command = [sys.executable, str(Path(__file__).resolve()), WORKER, script]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, cwd=folder, env=environment, stdin=pipe, stdout=pipe, text=True)
        return cls(folder, process)

    def run(self, seed: int) -> None:
        run_s, garbage_s, digest = self._ask(seed)
        self.runs_s[seed] = min(run_s, self.runs_s.get(seed, run_s))
        self.garbage_s[seed] = min(garbage_s, self.garbage_s.get(seed, garbage_s))
        self.digests[seed] = digest

    def _ask(self, seed: int) -> Sequence[Any]:
        asked, answers = self.process.stdin, self.process.stdout
        assert asked is not None, "opened as a pipe"
        assert answers is not None, "opened as a pipe"
        asked.write(f"{seed}\n")
        asked.flush()
        line = answers.readline()
        assert line, f"{self.folder}: the process ended"
        found: Sequence[Any] = json.loads(line)
        return found

    def close(self) -> None:
        assert self.process.stdin is not None, "opened as a pipe"
        self.process.stdin.close()
        self.process.wait()


def work(script: str, asked: IO[str]) -> Iterator[tuple[float, float, str]]:
    """Run the seeds that are asked for: CPU seconds of the run and of its garbage, and the run's digest."""
    from understudy_sim.stage.application import Application
    from understudy_sim.stage.run import run_seed
    from understudy_sim.stage.script import load_scenario
    from understudy_sim.stage.silence import silence_for_good

    warnings.simplefilter("ignore")
    scenario = load_scenario(script)
    application = Application(scenario.app)
    run_seed(scenario, application, 0)
    silence_for_good()
    gc.disable()
    for line in asked:
        start = time.process_time()
        report = run_seed(scenario, application, int(line))
        ran = time.process_time()
        assert not report.failed, f"seed {line.strip()} failed: the figures mean nothing"
        gc.collect()
        yield ran - start, time.process_time() - ran, report.digest


def tell(sides: Sequence[Side]) -> None:
    """Print what was found."""
    for side in sides:
        count = len(side.runs_s)
        run_ms, garbage_ms = sum(side.runs_s.values()) / count * 1e3, sum(side.garbage_s.values()) / count * 1e3
        print(f"{side.folder}: {run_ms:.1f} ms a seed, {garbage_ms:.1f} ms for its garbage")
    one, other = sides
    seeds = sorted(one.runs_s)
    same = [seed for seed in seeds if one.digests[seed] == other.digests[seed]]
    for what, counted in (("all seeds", seeds), ("seeds that are the same run in both", same)):
        if counted:
            total = sum(other.runs_s[seed] for seed in counted) / sum(one.runs_s[seed] for seed in counted)
            median = statistics.median(other.runs_s[seed] / one.runs_s[seed] for seed in counted)
            print(f"{len(counted)} {what}: {total:.3f} of the time, {median:.3f} the median seed")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs=2, type=Path)
    parser.add_argument("--script", default="scenarios/ticket_tour.py")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=4)
    args = parser.parse_args()
    sides = [Side.start(folder.resolve(), args.script) for folder in args.folders]
    for number in range(args.rounds):
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            for side in sides if (number + seed) % 2 else sides[::-1]:
                side.run(seed)
    tell(sides)
    for side in sides:
        side.close()


if __name__ == "__main__":
    if sys.argv[1:2] == [WORKER]:
        for answer in work(sys.argv[2], sys.stdin):
            print(json.dumps(answer), flush=True)
    else:
        main()
