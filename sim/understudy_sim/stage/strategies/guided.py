"""Search by coverage: runs that got to cells where few have been are kept and varied, and unseen cells are aimed at.

A variation is of a whole family of decisions, by the prefix of their labels: other faults, another schedule, another
plan, or those of another kept run's seed.  What is aimed at: a row that some run got to, while a class of faults is
about that was not about then; so a run that got there is repeated with a fault of this class made to exist.

Every choice here follows from the first seed and the number of the variation; what was told decides what there is to
choose from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from understudy_sim.kernel.choices import Stream, stable_seed
from understudy_sim.stage.coverage import CELL_COUNT, CLASS_COUNT, CLASS_NAMES, CLASSES, cells_in, reachable
from understudy_sim.stage.report import Report
from understudy_sim.stage.strategies.port import Scope, Trial
from understudy_sim.stage.strategies.seeds import Seeds
from understudy_sim.stage.variation import Variation
from understudy_sim.stage.variation_text import to_text

# A cell is rare while no more runs than this were seen in it; what got to a rare one is kept, as many as this at most.
RARE_MAX: Final = 3
KEPT_MAX: Final = 200
# Labels of decisions that belong together, which a variation draws anew.
FAMILIES: Final = ("schedule", "fault.", "net.", "disk.", "plan/", "limits/")
# What makes a run of one size and the faults of another: the plan and the bounds, or when and whom faults strike.
MIXED: Final = (("plan/", "limits/"), ("fault.",), ("limits/",))
SALT_MAX: Final = 2**32 - 1
# Of a hundred variations: so many are aimed at an unseen cell, so many mix two runs, the rest draws families anew.
AIMED_PERCENT: Final = 40
MIXED_PERCENT: Final = 20
# Under `plan/<kind>`: of a thousand, what says that the kind exists; under `plan/<kind>/bite` how hard it bites.
EXISTS: Final = 999
BITES: Final = 3
# How many seeds there are before anything is varied, and how many of the runs after that are seeds.
PLAIN_FIRST: Final = 120
PLAIN_ONE_IN: Final = 10


@attrs.define
class _Kept:
    """A run worth varying, the cells that were rare when it got there, and how often it was varied."""

    trial: Trial
    cells: int
    rare: tuple[int, ...]
    children: int = 0


class Corpus:
    """What was covered, by how many runs, and which runs are worth varying."""

    def __init__(self, scope: Scope) -> None:
        self.seen = 0
        self.runs_in = [0] * CELL_COUNT
        self._kinds = (scope.variation.faults or scope.scenario.faults).kinds
        self._reachable = reachable(scope.variation.faults or scope.scenario.faults)
        self._kept: list[_Kept] = []
        self._made = 0
        self._names: dict[tuple[int, str], None] = {}
        self._first_seed = scope.first_seed

    def told(self, trial: Trial, report: Report) -> None:
        """Count a run in, and keep it when it got to a rare cell."""
        rare = []
        for number in cells_in(report.cells):
            self.runs_in[number] += 1
            if self.runs_in[number] <= RARE_MAX:
                rare.append(number)
        self.seen |= report.cells
        if rare:
            self._kept.append(_Kept(trial, report.cells, tuple(rare)))
            if len(self._kept) > KEPT_MAX:
                self._kept.remove(min(self._kept, key=lambda one: (self._rarity(one), -one.children)))

    def _rarity(self, one: _Kept) -> int:
        return sum(self.runs_in[number] <= RARE_MAX for number in one.rare)

    def variation(self) -> Trial | None:
        """A new trial; None while nothing is kept."""
        if not self._kept:
            return None
        self._made += 1
        stream = Stream(stable_seed("guided", self._first_seed, self._made))
        lot = stream.integer(0, 99)
        made = None
        if lot < AIMED_PERCENT:
            made = self._aim(stream)
        elif lot < AIMED_PERCENT + MIXED_PERCENT:
            made = self._mix(stream)
        if made is None or (made.seed, to_text(made.variation)) in self._names:
            family = FAMILIES[stream.integer(0, len(FAMILIES) - 1)]
            # The number of the variation makes it another one than any before.
            salt = stream.integer(0, SALT_MAX) << 32 | self._made
            made = _varied(self._parent(stream).trial, salts={family: salt})
        self._names[made.seed, to_text(made.variation)] = None
        return made

    def _mix(self, stream: Stream) -> Trial | None:
        """One run with the plan or the faults of another's seed."""
        parent, other = self._parent(stream), self._kept[stream.integer(0, len(self._kept) - 1)]
        prefixes = MIXED[stream.integer(0, len(MIXED) - 1)]
        if other.trial.seed == parent.trial.seed:
            return None
        return _varied(parent.trial, borrowed=dict.fromkeys(prefixes, other.trial.seed))

    def _parent(self, stream: Stream) -> _Kept:
        """Of three, the one that got to the most rare cells for how often it was varied."""
        drawn = [self._kept[stream.integer(0, len(self._kept) - 1)] for _ in range(3)]
        best = max(drawn, key=lambda one: self._rarity(one) * 1_000 // (1 + one.children))
        best.children += 1
        return best

    def _aim(self, stream: Stream) -> Trial | None:
        """A run that got to a row, with a class of faults about that no run had there."""
        unseen = [number for number in cells_in(self._reachable & ~self.seen) if self._row_was_seen(number)]
        if not unseen:
            return None
        row, class_ = divmod(unseen[stream.integer(0, len(unseen) - 1)], CLASS_COUNT)
        row_bits = ((1 << CLASS_COUNT) - 1) << (row * CLASS_COUNT)
        there = [one for one in self._kept if one.cells & row_bits]
        kinds = [kind for kind in CLASSES[CLASS_NAMES[class_]][1] if kind in self._kinds]
        if not there or not kinds:
            return None
        kind = kinds[stream.integer(0, len(kinds) - 1)]
        parent = there[stream.integer(0, len(there) - 1)]
        parent.children += 1
        return _varied(
            parent.trial,
            overrides={(f"plan/{kind}", 0): EXISTS, (f"plan/{kind}/bite", 0): BITES},
            salts={f"fault.{kind}": stream.integer(0, SALT_MAX)},
        )

    def _row_was_seen(self, number: int) -> bool:
        first = number - number % CLASS_COUNT
        return bool(self.seen >> first & ((1 << CLASS_COUNT) - 1))


def _varied(
    parent: Trial,
    *,
    salts: dict[str, int] | None = None,
    borrowed: dict[str, int] | None = None,
    overrides: dict[tuple[str, int | None], int] | None = None,
) -> Trial:
    """*parent* with more of its decisions changed."""
    before = parent.variation
    after: Variation = attrs.evolve(
        before,
        salts={**(before.salts or {}), **(salts or {})} or None,
        borrowed={**(before.borrowed or {}), **(borrowed or {})} or None,
        overrides={**(before.overrides or {}), **(overrides or {})} or None,
    )
    return Trial(parent.seed, after)


class Guided(Seeds):
    """A few seeds as they are drawn, then variations of those that got somewhere.  `Scope.seeds` bounds the runs."""

    def __init__(self, name: str, scope: Scope) -> None:
        super().__init__(name, scope)
        self.corpus = Corpus(scope)
        self._plain = 0

    def trial(self, index: int) -> Trial:
        """The first ones are seeds, then one in PLAIN_ONE_IN is."""
        varied = self.corpus.variation() if index >= PLAIN_FIRST and index % PLAIN_ONE_IN else None
        if varied is not None:
            return varied
        self._plain += 1
        return super().trial(self._plain - 1)

    def told(self, trial: Trial, report: Report) -> None:
        """Count it in."""
        self.corpus.told(trial, report)


class Portfolio:
    """Every seed as it draws itself; when enough is covered, for every FOUR of them one variation more.

    A seed draws its schedule's kind and its faults, so that seeds alone are a portfolio of policies already.
    `Scope.seeds` bounds the seeds, not the variations: all of an interval's seeds are run.
    """

    FIRST: Final = PLAIN_FIRST
    FOUR: Final = 4

    def __init__(self, name: str, scope: Scope) -> None:
        self.name = name
        self._seeds = Seeds(name, scope)
        self._corpus = Corpus(scope)
        self._due = 0

    @property
    def left(self) -> str:
        """As for seeds."""
        return self._seeds.left

    def trials(self, count: int) -> Sequence[Trial]:
        """Seeds, with variations between them."""
        found: list[Trial] = []
        while len(found) < count:
            varied = self._corpus.variation() if self._due >= self.FOUR else None
            if self._due >= self.FOUR:
                self._due = 0
            if varied is not None:
                found.append(varied)
                continue
            seeds = self._seeds.trials(1)
            if not seeds:
                break
            self._due += self._seeds.next > self.FIRST
            found += seeds
        return found

    def told(self, trial: Trial, report: Report) -> None:
        """Count it in."""
        self._corpus.told(trial, report)
