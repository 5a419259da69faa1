"""Seed after seed: as each one draws itself, or all of them under one kind of schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from understudy_sim.stage.plan import draw_hops
from understudy_sim.stage.report import Report
from understudy_sim.stage.run import choices_of
from understudy_sim.stage.strategies.port import Scope, Trial
from understudy_sim.stage.variation import Schedule

# Depths of bugs to look for, in turn; a bug of depth d needs d - 1 change points.
DEPTHS: Final = (2, 3, 4)


class Seeds:
    """Every seed once.  With *schedule* its kind is not drawn."""

    def __init__(self, name: str, scope: Scope, schedule: Schedule | None = None) -> None:
        self.name = name
        self.scope = scope
        self.next = 0
        self._variation = attrs.evolve(scope.variation, schedule=schedule) if schedule is not None else scope.variation

    @property
    def left(self) -> str:
        """Nobody counts to 2**64."""
        return ""

    def trials(self, count: int) -> Sequence[Trial]:
        """The next *count* seeds, or as many as there are."""
        end = self.next + count if self.scope.seeds is None else min(self.scope.seeds, self.next + count)
        taken = [self.trial(index) for index in range(self.next, end)]
        self.next = end
        return taken

    def trial(self, index: int) -> Trial:
        """The *index*-th seed's (from 0)."""
        return Trial(self.scope.first_seed + index, self._variation)

    def told(self, trial: Trial, report: Report) -> None:
        """Nothing is learned."""


class Measured(Seeds):
    """Every seed once, by priorities with change points (PCT), for bugs of each of DEPTHS in turn.

    The horizon is measured: the most decisions that any run of the same class told so far had; runs whose hops carry
    bytes are a class of their own.  Until one is told the seed draws it.
    """

    def __init__(self, name: str, scope: Scope) -> None:
        super().__init__(name, scope)
        self._horizons: dict[bool, int] = {}
        self._measuring = True

    def trials(self, count: int) -> Sequence[Trial]:
        """The first of all comes alone, to measure by."""
        found = super().trials(1 if self._measuring else count)
        self._measuring = False
        return found

    def trial(self, index: int) -> Trial:
        """A seed with the horizon of its class."""
        seed = self.scope.first_seed + index
        horizon = self._horizons.get(self._class(seed), 0)
        schedule = Schedule(kind="pct", changes=DEPTHS[index % len(DEPTHS)] - 1, horizon=horizon)
        return Trial(seed, attrs.evolve(self.scope.variation, schedule=schedule))

    def told(self, trial: Trial, report: Report) -> None:
        """Learn how many decisions a run has."""
        class_ = self._class(trial.seed)
        self._horizons[class_] = max(self._horizons.get(class_, 0), report.schedule.decisions)

    def _class(self, seed: int) -> bool:
        return draw_hops(choices_of(seed, self.scope.variation)).in_bytes
