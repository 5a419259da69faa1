"""Delay-bounded search: every schedule with no deviation from first come first served, then with one, with two, so on.

After M. Emmi, S. Qadeer, Z. Rakamarić, "Delay-Bounded Scheduling", POPL 2011: most bugs need few delays, and what has
been tried is known exactly.  All runs are of one seed, so that nothing but the schedule differs.

A run lists its decisions.  Its children deviate once more, at a decision behind its last deviation, by every number of
places there is: so each set of deviations comes exactly once, and the search ends when there is none left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from understudy_sim.kernel.policies import Turn
from understudy_sim.stage.report import Report
from understudy_sim.stage.strategies.port import Scope, Trial
from understudy_sim.stage.variation import Deviation, Schedule

# Children are known only to the run they come from; a scenario of thousands of decisions has more than anybody runs.
WAITING_MAX: Final = 200_000


@attrs.frozen
class _Parent:
    """A run that is over, and the decisions behind its last deviation."""

    deviations: tuple[Deviation, ...]
    turns: tuple[Turn, ...]

    @property
    def children(self) -> int:
        return sum(turn.ready - 1 for turn in self.turns)

    def each(self) -> Iterator[tuple[Deviation, ...]]:
        for turn in self.turns:
            for by in range(1, turn.ready):
                yield (*self.deviations, Deviation(task=turn.task, nth=turn.nth, by=by))


def behind(turns: Sequence[Turn], deviations: Sequence[Deviation]) -> tuple[Turn, ...]:
    """The decisions after the last deviation; all of them where there is none."""
    if not deviations:
        return tuple(turns)
    last = deviations[-1]
    at = next((at for at, turn in enumerate(turns) if (turn.task, turn.nth) == (last.task, last.nth)), len(turns))
    return tuple(turns[at + 1 :])


class DelayBounded:
    """Exhaustive by number of deviations, breadth first; seed after seed (`Scope.seeds`; None: the first one)."""

    def __init__(self, name: str, scope: Scope) -> None:
        self.name = name
        self.scope = scope
        self._seed = scope.first_seed
        self._begin()

    def _begin(self) -> None:
        """A seed: its run without a deviation comes first."""
        self._level: Iterator[tuple[Deviation, ...]] = iter([()])
        self._known = 1  # runs of this level that were not asked for yet
        self._depth = 0
        self._parents: deque[_Parent] = deque()  # runs of this level that were told
        self._waiting = 0
        self._ran = self._told = 0
        self._gave_up = False

    @property
    def left(self) -> str:
        """How many runs of this level, and of the next as far as it is known."""
        known = self._known + self._ran - self._told  # What is under way is not run.
        if not known and not self._waiting and not self._gave_up:
            return f"none: every schedule of seed {self._seed} was run, the last with {self._depth} deviations"
        at_least = "at least " if self._gave_up else ""
        more = f", {at_least}{self._waiting:,} with {self._depth + 1}" if self._waiting else ""
        return f"{known:,} schedules with {self._depth} deviations{more}, of seed {self._seed}"

    def trials(self, count: int) -> Sequence[Trial]:
        """The next ones of this level, or the first ones of the next when all of this one are told."""
        if not self._known and self._ran == self._told:
            self._descend()
        taken = [self._trial(deviations) for _, deviations in zip(range(count), self._level, strict=False)]
        self._ran += len(taken)
        self._known -= len(taken)
        return taken

    def _descend(self) -> None:
        """All of a level are told: the next one, or the next seed."""
        if not self._parents:
            if self._seed + 1 < self.scope.first_seed + (self.scope.seeds or 1):
                self._seed += 1
                self._begin()
            return
        self._depth += 1
        self._known, self._waiting = self._waiting, 0
        parents, self._parents = self._parents, deque()
        self._level = (child for parent in parents for child in parent.each())

    def _trial(self, deviations: tuple[Deviation, ...]) -> Trial:
        schedule = Schedule(kind="fifo", deviations=deviations, surveyed=True)
        return Trial(self._seed, attrs.evolve(self.scope.variation, schedule=schedule))

    def told(self, trial: Trial, report: Report) -> None:
        """Learn where a run could have gone on otherwise."""
        schedule, turns = trial.variation.schedule, report.schedule.turns
        assert schedule is not None, "this strategy names every schedule"
        assert turns is not None, "a surveyed run lists its decisions"
        self._told += 1
        if self._waiting > WAITING_MAX:
            self._gave_up = True
            return
        parent = _Parent(schedule.deviations, behind(turns, schedule.deviations))
        if parent.turns:
            self._parents.append(parent)
            self._waiting += parent.children
