"""From a failing run to the smallest one that still breaks the same claim.

What counts, in this order: faults, operations, places where the schedule is not first come, first served, decisions
that are not tame, and last how round the times are.  Everything that is left is written out as data: operations, faults
at their instants, deviations, decisions by name; of the seed nothing remains where that can be had.

The stages are those of `reductions.STAGES`, in their order; all of them are tried again until none finds anything, or
the budget of runs and steps is spent.  The result is run twice more: it must break the claim both times, with one
digest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from understudy_sim.stage import reductions
from understudy_sim.stage.chronicle import Chronicle
from understudy_sim.stage.difference import chronicled, told
from understudy_sim.stage.report import Report, Story
from understudy_sim.stage.run import ENDED_EARLY
from understudy_sim.stage.scenario import Scenario
from understudy_sim.stage.silence import silent
from understudy_sim.stage.strategies.port import Trial
from understudy_sim.stage.tries import Ran, Runner, Tries, kind_of, runner_of, size_of
from understudy_sim.stage.variation import Variation

RUNS_MAX: Final = 300
STEPS_MAX: Final = 20_000_000
ROUNDS_MAX: Final = 4
NEIGHBOURS_MAX: Final = 8  # of them are run again, to tell what differs

Tell = Callable[[str], object]


@attrs.frozen
class Shrunk:
    """The smallest failing run found, what names it, and what it cost.

    *neighbours* are runs in which the claim held and that lack one thing of it, nearest first.
    """

    report: Report
    trial: Trial
    claim: str
    runs: int
    steps: int
    neighbours: tuple[tuple[str, Trial], ...]
    ran: Ran

    @property
    def variation(self) -> Variation:
        """How it differs from its seed."""
        return self.trial.variation

    @property
    def size(self) -> tuple[int, int, int, int]:
        """Faults, operations, deviations and decisions that are not tame."""
        return size_of(self.ran, self.trial)

    @property
    def story(self) -> Story:
        """How the claim broke."""
        return next(one for one in self.report.stories if one.claim == self.claim)


class NotRepeated(Exception):
    """The small run did not fail twice with one digest: something is not decided by the run's name."""


def shrink(
    scenario: Scenario,
    report: Report,
    variation: Variation,
    runs_max: int = RUNS_MAX,
    *,
    steps_max: int = STEPS_MAX,
    tell: Tell | None = None,
    runner: Runner | None = None,
) -> Shrunk:
    """Make the failing run behind *report* smaller.  *tell* hears of progress, a line at a time.

    Raises NotRepeated.
    """
    assert report.failed, "only a failure shrinks"
    with silent():
        run = runner_of(scenario) if runner is None else runner
        kind = kind_of(report.violations[0])
        tries = Tries(run, Trial(report.seed, variation), runs_max=runs_max, steps_max=steps_max, kind=kind)
        if not tries.is_failing:
            raise NotRepeated(f"seed {report.seed:#x} did not break {kind!r} again: its name does not decide all of it")
        _reduce(tries, tell if tell is not None else _nobody)
        small = _confirmed(tries, run)
    claim = next(one.claim for one in small.report.violations if kind_of(one) == kind)
    neighbours = tuple(reductions.neighbours(tries))
    return Shrunk(small.report, tries.best, claim, tries.runs, tries.steps, neighbours, small)


def explained(scenario: Scenario, shrunk: Shrunk) -> str:
    """What the nearest run in which the claim holds has otherwise, first; empty when no run near it holds."""
    for what, trial in shrunk.neighbours[:NEIGHBOURS_MAX]:
        for near in (reductions.missing(shrunk.trial, trial), trial):
            held = chronicled(scenario, near)
            if _holds(held, shrunk.claim):
                broken = chronicled(scenario, shrunk.trial)
                return f"Nearest run that holds: {what}.\n{told(broken, held, ('breaks', 'holds'))}"
    return ""


def _holds(chronicle: Chronicle, claim: str) -> bool:
    """Whether the run came to its own end, and *claim* held: one that did not shows nothing."""
    broken = [event.fact("claim") for event in chronicle.events if event.kind == "violation"]
    return claim not in broken and ENDED_EARLY not in broken


def _reduce(tries: Tries, tell: Tell) -> None:
    for _ in range(ROUNDS_MAX):
        before = tries.best
        for name, stage in reductions.STAGES:
            at = tries.runs
            stage(tries)
            if tries.runs > at:
                faults, operations, deviations, wild = size_of(tries.ran, tries.best)
                tell(
                    f"{name}: {faults} faults, {operations} operations, {deviations} deviations, "
                    f"{wild} decisions ({tries.runs} runs)"
                )
        if tries.best == before or tries.spent:
            return


def _confirmed(tries: Tries, run: Runner) -> Ran:
    """The best run, whole, twice."""
    first, second = run(tries.best), run(tries.best)
    tries.runs += 2
    if first.report.digest != second.report.digest:
        raise NotRepeated(f"the small run is not the same twice: {first.report.digest}, {second.report.digest}")
    if not any(kind_of(one) == tries.kind for one in first.report.violations):
        raise NotRepeated(f"the small run does not break {tries.kind!r} when it is run to its end")
    return first


def _nobody(_: str) -> None:
    """Nobody wants to know."""
