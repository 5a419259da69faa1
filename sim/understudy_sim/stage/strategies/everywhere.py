"""Crash at every point: one undisturbed run of a seed names all points, then one run for each with a power cut there.

The golden run is of the seed as it is drawn, without faults, with as many of its operations as there is time for, and
with clients who insist.  Each point it passes is cut on each of its sides, at each of its victims: the process that
passes, and those that work with it.  What was not synced is lost, but after a write it is kept, and on the side `torn`
a write is torn.  Places where the same process would lose the same are one place.  A cut changes nothing of what came
before it, so each run meets its point; how many did not is told.

Outcomes are judged by all claims of the scenario and the product, and by equivalence (`stage/equivalence.py`): what
came out must be what some undisturbed order of the same operations gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import attrs

from understudy_sim.stage import faults
from understudy_sim.stage.application import Application
from understudy_sim.stage.equivalence import undisturbed
from understudy_sim.stage.operations import Call, Operation
from understudy_sim.stage.points import AFTER, BEFORE, POINTS, TORN_POINTS, Passing
from understudy_sim.stage.report import Report
from understudy_sim.stage.run import outline_of, run_seed
from understudy_sim.stage.silence import silent
from understudy_sim.stage.strategies.port import Scope, Trial
from understudy_sim.stage.variation import SIDES, PointCrash, Variation

if TYPE_CHECKING:
    from understudy_sim.kernel.choices import Overrides
    from understudy_sim.kernel.kernel import KernelOutcome
    from understudy_sim.stage.rehearsal import Rehearsal

# Operations of the golden run, at most: more are more places, not other ones.
OPERATIONS_MAX: Final = 6
# How many undisturbed orders say what may come out.
ORDERS: Final = 40
TRIES_MAX: Final = 8
# 2**32 divided by the golden ratio: its multiples are spread evenly.
SCATTER: Final = 2_654_435_769
TORN: Final = "torn"
# Who else loses power there, beside the one who passes: alone, or (with +) together.
VICTIMS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = MappingProxyType(
    {
        ("journal.append", BEFORE): ("server+endpoint",),
        ("journal.append", AFTER): ("endpoint", "server+endpoint"),
        ("run.body", BEFORE): ("server",),
        ("run.body", AFTER): ("server", "server+endpoint"),
        ("external.call", AFTER): ("server", "endpoint"),
        ("answer", BEFORE): ("server",),
    }
)


@attrs.frozen
class Place:
    """One side of one passing, and when it came: in which step of the run."""

    process: str
    point: str
    nth: int
    side: str
    step: int


class PlacesSeen:
    """An observer of the golden run: every place it passed, in order."""

    def __init__(self) -> None:
        self.places: list[Place] = []

    def attach(self, rehearsal: Rehearsal) -> None:
        loop = rehearsal.kernel.loop

        def passed(one: Passing) -> None:
            self.places.append(Place(one.process, one.point, one.nth, one.side, loop.steps))

        rehearsal.cluster.points.listen(passed)

    def stopped(self, rehearsal: Rehearsal, ended: KernelOutcome) -> None:
        """They stay as they are."""


class CrashPoints:
    """See the module.  `Scope.seeds` bounds the golden seeds, each of which is exhausted; one unless told otherwise."""

    def __init__(self, name: str, scope: Scope) -> None:
        self.name = name
        self.scope = scope
        self.points = 0
        self.places = 0
        self._application = Application(scope.scenario.app)
        self._counts: dict[tuple[str, str], int] = {}  # cuts that were run, by point and side
        self._outcomes: dict[str, None] = {}
        self._missed = 0
        self._seed = scope.first_seed
        self._to_come = 0  # cuts of this seed that were not told yet
        self._rest = self._all()

    @property
    def left(self) -> str:
        """How many cuts are to come; before its first one each process makes ORDERS undisturbed runs."""
        return f"{self._to_come:,} cuts of seed {self._seed:#x}" if self._to_come else ""

    def page(self) -> Sequence[str]:
        """What was cut, at how many places on which side, and what came of it."""
        points = list(dict.fromkeys(name for name, _ in self._counts))
        lines = [f"{'cut':<18}" + "".join(f"{side:>8}" for side in SIDES)]
        for point in sorted(points):
            counts = (self._counts.get((point, side), 0) for side in SIDES)
            lines.append(f"  {point:<16}" + "".join(f"{count:>8}" if count else f"{'':>8}" for count in counts))
        missed = f", {self._missed} of them never came" if self._missed else ""
        lines.append(
            f"{self.points:,} points, {self.places:,} places, {sum(self._counts.values()):,} cuts{missed}; "
            f"different outcomes: {len(self._outcomes)}"
        )
        return lines

    def trials(self, count: int) -> Sequence[Trial]:
        """The next places."""
        return [trial for _, trial in zip(range(count), self._rest, strict=False)]

    def told(self, trial: Trial, report: Report) -> None:
        """Count what came of it."""
        crash = trial.variation.crash_at
        if crash is not None:
            self._to_come -= 1
            name = (crash.point, crash.side)
            self._counts[name] = self._counts.get(name, 0) + 1
            self._outcomes[report.outcome] = None
            self._missed += not report.firings

    def _all(self) -> Iterator[Trial]:
        for index in range(self.scope.seeds or 1):
            yield from self._of_seed(self.scope.first_seed + index)

    def _of_seed(self, seed: int) -> Iterator[Trial]:
        variation = self._golden(seed)
        seen = PlacesSeen()
        with silent():
            golden = run_seed(self.scope.scenario, self._application, seed, attrs.evolve(variation, orders=0), [seen])
        _, calls = outline_of(self.scope.scenario, self._application, seed, variation)
        yield Trial(seed, undisturbed(variation, calls, 0))
        if golden.failed:
            return  # It says so itself: there is nothing to compare with.
        self.points += len({(one.process, one.point, one.nth) for one in seen.places})
        self.places += len(seen.places)
        cuts = scattered(tuple(crashes(seen.places)))
        self._seed, self._to_come = seed, self._to_come + len(cuts)
        for crash in cuts:
            yield Trial(seed, attrs.evolve(variation, crash_at=crash))
        for order in range(1, ORDERS):  # What was compared with must hold by itself.
            yield Trial(seed, undisturbed(variation, calls, order))

    def _golden(self, seed: int) -> Variation:
        """The seed without accidents, with insistent clients and not too many operations."""
        base = attrs.evolve(self.scope.variation, faults=faults.none(), orders=ORDERS)
        _, calls = outline_of(self.scope.scenario, self._application, seed, base)
        overrides: Overrides = {
            **(base.overrides or {}),
            ("plan/upgrade", None): 0,
            **{(f"client/{one.client}/tries", None): TRIES_MAX for one in calls},
        }
        kept = base.kept_calls
        if kept is None and base.calls is None and len(calls) > OPERATIONS_MAX:
            kept = some_of(calls, OPERATIONS_MAX)
        return attrs.evolve(base, overrides=overrides, kept_calls=kept)


def scattered(cuts: Sequence[PointCrash]) -> list[PointCrash]:
    """*cuts* so that any first part of them is spread over the run: a search may be stopped early."""
    order = sorted(range(len(cuts)), key=lambda index: (index * SCATTER) % 2**32)
    return [cuts[index] for index in order]


def some_of(calls: Sequence[Operation], count: int) -> tuple[int, ...]:
    """Indexes of *count* of *calls*: of every client its first, then in turn what nobody does yet, or else its last."""
    by_client: dict[str, list[int]] = {}
    for index, one in enumerate(calls):
        by_client.setdefault(one.client, []).append(index)
    kept = [waiting.pop(0) for waiting in by_client.values()][:count]
    kinds = {_kind_of(calls[index]) for index in kept}
    while len(kept) < count and any(by_client.values()):
        for waiting in by_client.values():
            if waiting and len(kept) < count:
                new = next((index for index in waiting if _kind_of(calls[index]) not in kinds), waiting[-1])
                waiting.remove(new)
                kept.append(new)
                kinds.add(_kind_of(calls[new]))
    return tuple(sorted(kept))


def _kind_of(operation: Operation) -> tuple[str, str]:
    """What an operation does: two of one kind show less than two of different kinds."""
    if isinstance(operation, Call):
        return operation.service, operation.handler
    return type(operation).__name__, ""


def crashes(places: Sequence[Place]) -> Iterator[PointCrash]:
    """Every cut worth a run of its own, in the order of the golden run."""
    seen: dict[tuple[str, str, str, int], None] = {}
    for one in places:
        sides = [one.side]
        if one.point in TORN_POINTS and one.side == (AFTER if one.point == "disk.write" else BEFORE):
            sides.append(TORN)
        for side in sides:
            for victim in ("", *VICTIMS.get((one.point, side), ())):
                if victim == one.process:
                    continue
                key = (_kind(one.point), victim or one.process, side, one.step)
                if key not in seen:
                    seen[key] = None
                    yield PointCrash(process=one.process, point=one.point, nth=one.nth, side=side, victim=victim)


def _kind(point: str) -> str:
    """Points that are the same place when they are passed in one step."""
    return "disk.sync" if point == "journal.append" else point


assert all(point in POINTS and side in POINTS[point].sides for point, side in VICTIMS), "victims of known places"
