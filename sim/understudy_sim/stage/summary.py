"""What a search has seen so far: all reports merged, in a way that does not depend on how they were made."""

from __future__ import annotations

import hashlib
from typing import Any

import attrs

from understudy_sim.kernel.clock import NS_PER_S
from understudy_sim.stage.coverage import CELL_COUNT, cells_in
from understudy_sim.stage.faults import KINDS
from understudy_sim.stage.report import Report
from understudy_sim.stage.strategies.port import Trial
from understudy_sim.stage.variation import AS_DRAWN, Variation
from understudy_sim.stage.variation_text import to_text


@attrs.define
class Summary:
    """`seeds` counts runs, `distinct` are their seeds; `varied` counts the runs beyond one of each seed.

    `failures` are in order of their seeds, `variations` say how the failing ones that were varied differ.  `cells` are
    all that were covered, as bits; `runs_in` counts the runs that covered each; `cells_last` is how many runs had been
    told when a cell was new last.  `ended` says what ended the search, `left` what it had left to try.
    """

    seeds: int = 0
    distinct: dict[int, None] = attrs.Factory(dict)
    failures: list[Report] = attrs.Factory(list)
    variations: dict[tuple[int, str], Variation] = attrs.Factory(dict)  # by seed and digest
    virtual_ns: int = 0
    invocations: int = 0
    attempts: int = 0
    steps: int = 0
    bytes_seeds: int = 0
    faults: dict[str, list[int]] = attrs.Factory(dict)  # kind: seeds it bit in, fired, bit
    happened: dict[str, list[int]] = attrs.Factory(dict)  # what: seeds it happened in, times
    sometimes: dict[str, int] = attrs.Factory(dict)
    hits: dict[str, int] = attrs.Factory(dict)
    schedules: dict[str, int] = attrs.Factory(dict)  # policy: runs
    digests: dict[tuple[int, str], str] = attrs.Factory(dict)
    cells: int = 0
    runs_in: list[int] = attrs.Factory(lambda: [0] * CELL_COUNT)
    cells_last: int = 0
    covered: list[int] = attrs.Factory(list)  # how many cells were covered after each run
    not_judged: dict[str, None] = attrs.Factory(dict)
    ended: str = ""
    left: str = ""
    page: tuple[str, ...] = ()  # what else the strategy has to say

    def add(self, report: Report, trial: Trial | None = None, *, base: Variation = AS_DRAWN) -> None:
        """Count one run's report in.  *base* is what all of the search's runs differ by: that is no variation."""
        text = "" if trial is None or trial.variation == base else to_text(trial.variation)
        key = (report.seed, text)
        assert key not in self.digests, "a run counts once"
        self.digests[key] = report.digest
        self.seeds += 1
        self.distinct[report.seed] = None
        self.virtual_ns += report.virtual_ns
        self.invocations += report.invocations
        self.attempts += report.attempts
        self.steps += report.steps
        self.bytes_seeds += report.bytes_mode
        self._count(report)
        self._cover(report.cells)
        if report.failed:
            self.failures.append(report)
            self.failures.sort(key=lambda one: one.seed)
            if trial is not None and trial.variation != AS_DRAWN:
                self.variations[report.seed, report.digest] = trial.variation

    def variation_of(self, report: Report) -> Variation:
        """How a failing run differs from its seed."""
        return self.variations.get((report.seed, report.digest), AS_DRAWN)

    def _count(self, report: Report) -> None:
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
        self.not_judged.update(dict.fromkeys(report.not_judged))
        policy = report.schedule.words.partition(",")[0]
        self.schedules[policy] = self.schedules.get(policy, 0) + 1

    def _cover(self, cells: int) -> None:
        if cells & ~self.cells:
            self.cells |= cells
            self.cells_last = self.seeds
        for number in cells_in(cells):
            self.runs_in[number] += 1
        self.covered.append(self.cells.bit_count())

    def new_in(self, runs: int) -> int:
        """How many cells were new in the last *runs* runs."""
        before = self.covered[-runs - 1] if len(self.covered) > runs else 0
        return self.cells.bit_count() - before

    @property
    def varied(self) -> int:
        """How many runs there were beyond one of each seed."""
        return self.seeds - len(self.distinct)

    @property
    def quiet(self) -> int:
        """How many runs there were since a cell was new."""
        return self.seeds - self.cells_last

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
        for seed, text in sorted(self.digests):
            name = f"{seed} {text}" if text else f"{seed}"
            whole.update(f"{name}:{self.digests[seed, text]}\n".encode())
        return whole.hexdigest()

    def as_json(self, seconds: float) -> dict[str, Any]:
        """The object of `--json`."""
        kinds = [*KINDS, *(kind for kind in self.faults if kind not in KINDS)]
        return {
            "seeds": self.seeds,
            "varied": self.varied,
            "failed": len(self.failures),
            "failing_seeds": [report.seed for report in self.failures],
            "failing_variations": [to_text(self.variation_of(report)) for report in self.failures],
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
            "schedules": dict(sorted(self.schedules.items())),
            "cells": self.cells.bit_count(),
            "cells_digest": hashlib.blake2b(f"{self.cells:x}".encode(), digest_size=8).hexdigest(),
            "not_judged": list(self.not_judged),
            "quiet": self.quiet,
            "ended": self.ended,
            "digest": self.digest,
        }
