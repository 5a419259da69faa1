"""Many runs, named by a strategy, made by one process or many, merged into one summary that does not depend on how.

Rounds have a fixed size and are told in order of their trials, so that a search on many workers runs the same trials,
finds the same failures and ends at the same trial as one on a single process.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import attrs

from understudy_sim.stage.application import Application
from understudy_sim.stage.report import Report
from understudy_sim.stage.resume import ResumeFile, header_of
from understudy_sim.stage.run import outline_of
from understudy_sim.stage.scenario import Scenario
from understudy_sim.stage.script import load_scenario
from understudy_sim.stage.strategies import DEFAULT, STRATEGIES, make
from understudy_sim.stage.strategies.port import Scope, Strategy, Trial
from understudy_sim.stage.summary import Summary
from understudy_sim.stage.variation import AS_DRAWN, Variation
from understudy_sim.stage.workers import Start, here, on, pool, run_trials

__all__ = ["Search", "Summary", "explore", "run_seeds", "search"]

# How many trials a strategy is asked for at once, and how many rounds are under way at once.
ROUND: Final = 60
ROUNDS_AHEAD: Final = 2


@attrs.frozen(kw_only=True)
class Search:
    """What to run, and when to stop.

    *seeds* bounds a strategy's seeds (None: the scenario's own number, or no bound where another rule or the strategy
    itself ends the search), *runs* the runs, *seconds* the time, *until_quiet* the runs without a new cell.  *resume*
    names a file of finished runs to go on with.
    """

    script: str
    first_seed: int = 0
    seeds: int | None = None
    jobs: int = 1
    runs: int | None = None
    seconds: float | None = None
    until_quiet: int | None = None
    strategy: str = DEFAULT
    variation: Variation = AS_DRAWN
    stop_at_failure: bool = False
    resume: Path | None = None

    def seeds_max(self, scenario: Scenario) -> int | None:
        """How many seeds there are to run."""
        ends = any(rule is not None for rule in (self.runs, self.seconds, self.until_quiet))
        endless = ends or STRATEGIES[self.strategy].ends
        return self.seeds if self.seeds is not None or endless else scenario.seeds


def search(wanted: Search, watch: Callable[[Summary], None], executor: Executor | None = None) -> Summary:
    """Run *wanted*; *watch* is told after every run.

    With an *executor* (of `concurrent.futures`, or anything with its `submit`) the runs are made there, and *jobs* does
    not count.  Its workers must be processes that can import what this one can; it is left open.  Raises ForeignFile.
    """
    began = time.monotonic()
    scenario = load_scenario(wanted.script)
    scope = Scope(
        scenario=scenario,
        first_seed=wanted.first_seed,
        seeds=wanted.seeds_max(scenario),
        variation=wanted.variation,
    )
    strategy = make(wanted.strategy, scope)
    summary = Summary()
    with ExitStack() as opened:
        book = None if wanted.resume is None else opened.enter_context(_book(wanted, scope, wanted.resume))
        start = _start(wanted, scenario, executor, opened)
        runs = explore(strategy, start if book is None else _from(book, start))
        opened.callback(runs.close)
        for trial, report in runs:
            if book is not None and summary.seeds >= book.taken:
                book.keep(trial, report)
            summary.add(report, trial, base=wanted.variation)
            summary.left = strategy.left
            watch(summary)
            summary.ended = _reason(wanted, summary, began)
            if summary.ended:
                break
    summary.ended = summary.ended or _at_the_end(scope, strategy, summary)
    summary.left = strategy.left
    summary.page = tuple(getattr(strategy, "page", tuple)())
    return summary


def _reason(wanted: Search, summary: Summary, began: float) -> str:
    """Why to stop now; empty: go on."""
    if wanted.stop_at_failure and summary.failures:
        return "a claim broke"
    if wanted.runs is not None and summary.seeds >= wanted.runs:
        return f"{wanted.runs:,} runs are made"
    if wanted.until_quiet is not None and summary.quiet >= wanted.until_quiet:
        return f"no new cell in {wanted.until_quiet:,} runs"
    if wanted.seconds is not None and time.monotonic() - began >= wanted.seconds:
        return f"{wanted.seconds:g} s are over"
    return ""


def _at_the_end(scope: Scope, strategy: Strategy, summary: Summary) -> str:
    if scope.seeds is not None and summary.seeds >= scope.seeds:
        return f"{scope.seeds:,} seeds are run" if scope.seeds > 1 else "the seed is run"
    return "nothing is left to try"


def _start(wanted: Search, scenario: Scenario, executor: Executor | None, opened: ExitStack) -> Start:
    if executor is not None:
        return opened.enter_context(on(executor, wanted.script))
    return here(scenario) if wanted.jobs == 1 else opened.enter_context(pool(wanted.jobs, wanted.script))


def _book(wanted: Search, scope: Scope, path: Path) -> ResumeFile:
    application = Application(scope.scenario.app)
    header = header_of(wanted.script, wanted.strategy, scope, application)
    return ResumeFile(path, header, lambda trial: outline_of(scope.scenario, application, trial.seed, trial.variation))


def _from(book: ResumeFile, start: Start) -> Start:
    """What is in the file from there, the rest as *start* does it."""

    def take(trials: Sequence[Trial]) -> Iterator[Report]:
        known = book.take(trials)
        rest = start(trials[len(known) :]) if len(known) < len(trials) else iter(())
        return _both(known, rest)

    return take


def _both(known: Sequence[Report], rest: Iterator[Report]) -> Iterator[Report]:
    yield from known
    yield from rest


def explore(strategy: Strategy, start: Start) -> Generator[tuple[Trial, Report], None, None]:
    """Every trial of *strategy* with its report, in order; each is told before it is yielded."""
    under_way: deque[tuple[Sequence[Trial], Iterator[Report]]] = deque()
    waits = False
    while True:
        while not waits and len(under_way) < ROUNDS_AHEAD:
            trials = strategy.trials(ROUND)
            waits = len(trials) < ROUND
            if trials:
                under_way.append((trials, start(trials)))
            elif not under_way:
                return
        trials, reports = under_way.popleft()
        for trial, report in zip(trials, reports, strict=True):
            strategy.told(trial, report)
            yield trial, report
        waits = waits and bool(under_way)


def run_seeds(scenario: Scenario, seeds: Sequence[int], variation: Variation) -> Iterator[Report]:
    """The reports of *seeds*, in order, in this process."""
    return run_trials(scenario, Application(scenario.app), [Trial(seed, variation) for seed in seeds])
