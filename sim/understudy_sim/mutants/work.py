"""The process in which a hunt happens: it plants the mutant before the product is imported, then runs seed by seed.

It reads one task as a line and writes a line of JSON for each run it begins, so that who started it can tell a run that
never ends; the last line is the hunt.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from understudy_sim.mutants.hook import forget_product, install
from understudy_sim.mutants.hunt import Catch, Hunt, Task, ended, task_from_json

if TYPE_CHECKING:
    from understudy_sim.kernel.kernel import Kernel, KernelOutcome
    from understudy_sim.stage.application import Application
    from understudy_sim.stage.rehearsal import Rehearsal
    from understudy_sim.stage.report import Report
    from understudy_sim.stage.scenario import Scenario
    from understudy_sim.stage.strategies.port import Strategy, Trial
    from understudy_sim.stage.watch import Violation

SEEDS_PER_COLLECTION: Final = 5
# How many trials a strategy is asked for at once, as in any search.
ROUND: Final = 60
# So much virtual time a run has left once a claim broke.
AFTER_NS: Final = 120_000_000_000

Tell = Callable[[dict[str, Any]], None]


def main() -> None:
    """One task from standard input."""
    sys.path.insert(0, str(Path.cwd()))
    task = task_from_json(sys.stdin.readline())
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # what the planted product prints is nobody's line

        def tell(line: dict[str, Any]) -> None:
            out.write(json.dumps(line) + "\n")
            out.flush()

        import attrs

        tell({"hunt": attrs.asdict(work(task, tell))})


def work(task: Task, tell: Tell) -> Hunt:
    """Hunt in this process.  The product must not be in use here: it is imported anew, with the bug in it."""
    forget_product()
    if task.mutant is not None:
        install(task.mutant)
    from understudy_sim.stage.silence import collect, silence_for_good, silent

    silence_for_good()
    start = time.monotonic()
    rounds = _round_robin([_Ground(path, task) for path in task.scenarios])
    runs = 0
    with silent():
        while runs < task.seeds_max and time.monotonic() - start < task.seconds_max:
            ground = next(rounds, None)
            if ground is None:
                break
            runs += 1
            tell({"run": runs, "scenario": ground.name})
            trial, report = ground.run()
            if report.failed:
                catch = _catch(ground.name, trial, report, runs, time.monotonic() - start)
                return ended(task, runs, catch.seconds, catch)
            if runs == 1 or runs % SEEDS_PER_COLLECTION == 0:
                collect(keep=runs == 1)
    return ended(task, runs, time.monotonic() - start)


def _catch(name: str, trial: Trial, report: Report, runs: int, seconds: float) -> Catch:
    from understudy_sim.stage.variation import AS_DRAWN

    return Catch(
        seeds=runs,
        seconds=round(seconds, 2),
        scenario=name,
        seed=trial.seed,
        claims=tuple(dict.fromkeys(violation.claim for violation in report.violations)),
        what=report.violations[0].what[:400],
        variation="" if trial.variation == AS_DRAWN else repr(trial.variation)[:2_000],
    )


def _round_robin(grounds: list[_Ground]) -> Iterator[_Ground]:
    """One run of each in turn, while any has a trial left."""
    left = deque(grounds)
    while left:
        ground = left.popleft()
        if ground.has_trial():
            yield ground
            left.append(ground)


class _Enough:
    """Lets a run whose claim broke go on for a while, for what else breaks, and not for all the time it may take."""

    def attach(self, rehearsal: Rehearsal) -> None:
        """Wait for the first broken claim."""
        from understudy_sim.stage.watch import Violation

        self._kernel: Kernel = rehearsal.kernel
        self._is_over = False
        rehearsal.watch.subscribe({Violation: self._broken})

    def _broken(self, _: Violation) -> None:
        if not self._is_over:
            self._is_over = True
            self._kernel.call_later(AFTER_NS, self._stop)

    def _stop(self, _: object) -> None:
        from understudy_sim.kernel.loop import Ending

        self._kernel.loop.stop(Ending.TIME_EXHAUSTED)

    def stopped(self, rehearsal: Rehearsal, ended: KernelOutcome) -> None:
        """Nothing to do."""


class _Ground:
    """One scenario, and the strategy that searches it."""

    def __init__(self, path: str, task: Task) -> None:
        self._path = path
        self._task = task
        self.name = path.partition(":")[0].rpartition(".")[2]
        self._trials: deque[Trial] = deque()
        self._scenario: Scenario | None = None
        self._application: Application | None = None
        self._strategy: Strategy | None = None

    def has_trial(self) -> bool:
        """Whether there is another run to make."""
        if not self._trials:
            self._trials.extend(self._ready().trials(ROUND))
        return bool(self._trials)

    def run(self) -> tuple[Trial, Report]:
        """Make it."""
        from understudy_sim.stage.run import run_seed

        assert self._scenario is not None, "asked for a trial first"
        assert self._application is not None, "asked for a trial first"
        assert self._strategy is not None, "asked for a trial first"
        trial = self._trials.popleft()
        report = run_seed(self._scenario, self._application, trial.seed, trial.variation, observers=[_Enough()])
        self._strategy.told(trial, report)
        return trial, report

    def _ready(self) -> Strategy:
        """Scenarios are imported when they are needed: most hunts end in the first."""
        if self._strategy is None:
            from understudy_sim.stage.application import Application

            module, _, name = self._path.partition(":")
            self._scenario = getattr(importlib.import_module(module), name)
            self._application = Application(self._scenario.app)
            self._strategy = strategy_of(self._task, self._scenario)
        return self._strategy


def strategy_of(task: Task, scenario: Scenario) -> Strategy:
    """The strategy a task names, for one scenario."""
    from understudy_sim.stage import faults
    from understudy_sim.stage.strategies import make
    from understudy_sim.stage.strategies.port import Scope
    from understudy_sim.stage.variation import Variation

    variation = Variation(faults=faults.parse(task.faults) if task.faults else None)
    return make(task.strategy, Scope(scenario=scenario, first_seed=task.first_seed, variation=variation))


if __name__ == "__main__":
    main()
