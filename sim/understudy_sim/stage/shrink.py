"""From a failing seed to the fewest operations and faults that still break the same claim.

Operations are left out; faults are forced off by their named decisions, whole kinds first and then single injections.
Nothing else of the run changes: every other decision has a stream of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import attrs

from understudy_sim.stage.application import Application
from understudy_sim.stage.report import Report
from understudy_sim.stage.run import run_seed
from understudy_sim.stage.scenario import Scenario
from understudy_sim.stage.silence import silent
from understudy_sim.stage.variation import Variation

T = TypeVar("T")
RUNS_MAX = 150


@attrs.frozen
class Shrunk:
    """The smallest failing run found, how it differs from its seed, and how many runs that took."""

    report: Report
    variation: Variation
    runs: int


class _Shrinker:
    def __init__(self, scenario: Scenario, report: Report, variation: Variation, runs_max: int) -> None:
        self.scenario = scenario
        self.application = Application(scenario.app)
        self.claim = report.violations[0].claim
        self.report = report
        self.variation = variation
        self.runs = 0
        self.runs_max = runs_max

    def fails(self, variation: Variation) -> bool:
        """Whether the first claim that broke still breaks; keeps the variation if so."""
        if self.runs >= self.runs_max:
            return False
        self.runs += 1
        report = run_seed(self.scenario, self.application, self.report.seed, variation)
        if any(one.claim == self.claim for one in report.violations):
            self.report, self.variation = report, variation
            return True
        return False

    def drop_calls(self) -> None:
        """Leave out operations, in halves and then one by one."""
        kept = self.variation.kept_calls
        indexes = tuple(range(len(self.report.calls))) if kept is None else kept
        drop_each(indexes, lambda rest: self.fails(attrs.evolve(self.variation, kept_calls=rest)))

    def drop_kinds(self) -> None:
        """Forbid whole kinds of faults."""
        faults = self.variation.faults if self.variation.faults is not None else self.scenario.faults
        fired = tuple(kind for kind in faults.kinds if kind in self.report.faults)
        # First forbid what never happened: nothing can change, and the list gets readable.
        self.fails(attrs.evolve(self.variation, faults=attrs.evolve(faults, kinds=fired)))
        drop_each(fired, lambda rest: self.fails(attrs.evolve(self.variation, faults=attrs.evolve(faults, kinds=rest))))

    def drop_injections(self) -> None:
        """Force single injections off."""
        for firing in self.report.firings:
            overrides = {**(self.variation.overrides or {}), firing.switch: 0}
            self.fails(attrs.evolve(self.variation, overrides=overrides))


def drop_each(items: Sequence[T], fails: Callable[[tuple[T, ...]], bool]) -> tuple[T, ...]:
    """The items that cannot be left out: halves, quarters and so on down to one by one."""
    kept = tuple(items)
    size = max(1, len(kept) // 2)
    while size:
        at = 0
        while at < len(kept):
            rest = kept[:at] + kept[at + size :]
            if len(rest) < len(kept) and fails(rest):
                kept = rest
            else:
                at += size
        size //= 2
    return kept


def shrink(scenario: Scenario, report: Report, variation: Variation, runs_max: int = RUNS_MAX) -> Shrunk:
    """Make the failing run behind *report* smaller."""
    assert report.failed, "only a failure shrinks"
    shrinker = _Shrinker(scenario, report, variation, runs_max)
    with silent():
        shrinker.drop_kinds()
        shrinker.drop_calls()
        shrinker.drop_injections()
    return Shrunk(shrinker.report, shrinker.variation, shrinker.runs)
