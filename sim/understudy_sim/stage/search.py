"""Many seeds: one after the other or over a pool of processes, merged into one summary that does not depend on how.

A pool's workers load the script themselves; nothing but seeds goes in and nothing but reports comes out.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, Final

import attrs

from understudy_sim.stage.application import Application
from understudy_sim.stage.faults import KINDS
from understudy_sim.stage.report import Report
from understudy_sim.stage.run import run_seed
from understudy_sim.stage.scenario import Scenario
from understudy_sim.stage.script import load_scenario
from understudy_sim.stage.silence import collect, silence_for_good, silent
from understudy_sim.stage.variation import AS_DRAWN, Variation

SEEDS_PER_TASK: Final = 5
SEEDS_PER_COLLECTION: Final = 5
NS_PER_S: Final = 1_000_000_000


@attrs.define
class Summary:
    """What a search has seen so far.  `failures` are in order of their seeds."""

    seeds: int = 0
    failures: list[Report] = attrs.Factory(list)
    virtual_ns: int = 0
    invocations: int = 0
    attempts: int = 0
    steps: int = 0
    bytes_seeds: int = 0
    faults: dict[str, list[int]] = attrs.Factory(dict)  # kind: seeds it bit in, fired, bit
    happened: dict[str, list[int]] = attrs.Factory(dict)  # what: seeds it happened in, times
    sometimes: dict[str, int] = attrs.Factory(dict)
    hits: dict[str, int] = attrs.Factory(dict)
    digests: dict[int, str] = attrs.Factory(dict)

    def add(self, report: Report) -> None:
        """Count one seed's report in."""
        assert report.seed not in self.digests, "a seed counts once"
        self.seeds += 1
        self.virtual_ns += report.virtual_ns
        self.invocations += report.invocations
        self.attempts += report.attempts
        self.steps += report.steps
        self.bytes_seeds += report.bytes_mode
        self.digests[report.seed] = report.digest
        for kind, (fired, bit) in report.faults.items():
            row = self.faults.setdefault(kind, [0, 0, 0])
            row[0] += bool(bit)
            row[1] += fired
            row[2] += bit
        for what, times in report.happened.items():
            row = self.happened.setdefault(what, [0, 0])
            row[0] += 1
            row[1] += times
        for name, seen in report.sometimes.items():
            self.sometimes[name] = self.sometimes.get(name, 0) + seen
        for name, count in report.hits.items():
            self.hits[name] = self.hits.get(name, 0) + count
        if report.failed:
            self.failures.append(report)
            self.failures.sort(key=lambda one: one.seed)

    @property
    def never_seen(self) -> list[str]:
        """What a scenario says happens sometimes and did in no seed."""
        return [name for name, seeds in self.sometimes.items() if not seeds]

    @property
    def digest(self) -> str:
        """One name for all runs, whatever order they came in; of a single run, its own."""
        if len(self.digests) == 1:
            return next(iter(self.digests.values()))
        whole = hashlib.blake2b(digest_size=16)
        for seed in sorted(self.digests):
            whole.update(f"{seed}:{self.digests[seed]}\n".encode())
        return whole.hexdigest()

    def as_json(self, seconds: float) -> dict[str, Any]:
        """The object of `--json`."""
        kinds = [*KINDS, *(kind for kind in self.faults if kind not in KINDS)]
        return {
            "seeds": self.seeds,
            "failed": len(self.failures),
            "failing_seeds": [report.seed for report in self.failures],
            "seconds": round(seconds, 3),
            "seeds_per_second": round(self.seeds / seconds, 2) if seconds else 0.0,
            "virtual_seconds": self.virtual_ns // NS_PER_S,
            "invocations": self.invocations,
            "attempts": self.attempts,
            "steps": self.steps,
            "faults": {
                kind: dict(zip(("seeds", "fired", "bit"), self.faults[kind], strict=True))
                for kind in kinds
                if kind in self.faults
            },
            "happened": {
                what: dict(zip(("seeds", "times"), self.happened[what], strict=True)) for what in sorted(self.happened)
            },
            "sometimes": dict(self.sometimes),
            "byte_share": round(self.bytes_seeds / self.seeds, 3) if self.seeds else 0.0,
            "digest": self.digest,
        }


@attrs.frozen(kw_only=True)
class Search:
    """What to run: *seeds* seeds from *first_seed* on, by *jobs* processes, for at most *seconds*."""

    script: str
    first_seed: int
    seeds: int
    jobs: int = 1
    seconds: float | None = None
    variation: Variation = AS_DRAWN
    stop_at_failure: bool = False


def search(wanted: Search, watch: Callable[[Summary], None]) -> Summary:
    """Run *wanted*; *watch* is told after every seed."""
    summary = Summary()
    until = None if wanted.seconds is None else time.monotonic() + wanted.seconds
    reports = _in_process(wanted) if wanted.jobs == 1 else _in_pool(wanted)
    for report in reports:
        summary.add(report)
        watch(summary)
        if wanted.stop_at_failure and summary.failures:
            break
        if until is not None and time.monotonic() >= until:
            break
    return summary


def run_seeds(scenario: Scenario, seeds: Sequence[int], variation: Variation) -> Iterator[Report]:
    """The reports of *seeds*, in order."""
    application = Application(scenario.app)
    with silent():
        for count, seed in enumerate(seeds, 1):
            yield run_seed(scenario, application, seed, variation)
            if count == 1 or count % SEEDS_PER_COLLECTION == 0:
                collect(keep=count == 1)  # The first run imports what all of them use.


def _in_process(wanted: Search) -> Iterator[Report]:
    seeds = range(wanted.first_seed, wanted.first_seed + wanted.seeds)
    return run_seeds(load_scenario(wanted.script), seeds, wanted.variation)


def _in_pool(wanted: Search) -> Iterator[Report]:
    """Tasks of a few seeds, merged in order of the seeds, so that a search ends at the same seed however many work."""
    seeds = range(wanted.first_seed, wanted.first_seed + wanted.seeds)
    tasks = [seeds[at : at + SEEDS_PER_TASK] for at in range(0, len(seeds), SEEDS_PER_TASK)]
    pool = ProcessPoolExecutor(wanted.jobs, mp_context=get_context("spawn"), initializer=silence_for_good)
    try:
        for reports in pool.map(_task, [(wanted.script, tuple(task), wanted.variation) for task in tasks]):
            yield from reports
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _task(work: tuple[str, tuple[int, ...], Variation]) -> list[Report]:
    script, seeds, variation = work
    return list(run_seeds(load_scenario(script), seeds, variation))
