"""How a run differs from what its seed alone would make of it, as data: frozen values that print as Python.

A run is named by its scenario, its seed and its variation.  Searches vary (another schedule, a power cut at a point,
other streams for some decisions), shrinking varies (fewer operations, strikes written out, tame answers), and a replay
repeats a variation to the step.
"""

from __future__ import annotations

from typing import Final

import attrs

from understudy_sim.kernel.choices import Overrides, Salts
from understudy_sim.stage.faults import FaultSet, check
from understudy_sim.stage.operations import Operation

# How ready tasks are picked: `stage/schedules.py` makes a policy of each.
SCHEDULES: Final = ("drawn", "random", "fifo", "pct")
# The sides of a point at which a process may lose its power.
SIDES: Final = ("before", "after", "torn")


class BadVariation(ValueError):
    """Nothing can vary so, or no run of this scenario can: what was found, and what there is."""


@attrs.frozen(kw_only=True)
class Deviation:
    """One place where the schedule is not first come, first served.

    When the *task*'s *nth* turn (from 1) is at the head of two or more ready tasks, the one *by* places behind it
    goes first.  A task's name is stable: `process.incarnation/parent/name#n`.
    """

    task: str
    nth: int
    by: int


@attrs.frozen(kw_only=True)
class Schedule:
    """Which ready task runs next: a *kind* of SCHEDULES; `drawn` lets the seed decide for one of the others.

    `pct` changes priorities at *changes* points within *horizon* decisions; 0: the seed draws a horizon.  *deviations*
    belong to `fifo`, and so does *surveyed*: every decision is listed in the report.
    """

    kind: str = "drawn"
    changes: int = 0
    horizon: int = 0
    deviations: tuple[Deviation, ...] = ()
    surveyed: bool = False

    def __attrs_post_init__(self) -> None:
        _require(self.kind in SCHEDULES, f"there is no schedule {self.kind!r}; there are: {', '.join(SCHEDULES)}")
        _require(self.changes >= 0, f"{self.changes} change points: there are no less than none")
        _require(self.horizon >= 0, f"a horizon of {self.horizon}: it is a number of decisions, or 0 to draw one")
        _require(not self.deviations or self.kind == "fifo", f"{self.kind} has no deviations: only fifo has them")
        _require(not self.surveyed or self.kind == "fifo", f"{self.kind} is not surveyed: only fifo is")


@attrs.frozen(kw_only=True)
class Strike:
    """One fault, written out: a *kind* of `faults.KINDS` at an instant of virtual time, whatever the seed would draw.

    *on* is a host, or client and server of a link.  `strength_ns` and `detail` mean what the fault says.
    Raises UnknownFault, BadVariation.
    """

    kind: str
    on: tuple[str, ...]
    at_ns: int
    lasts_ns: int = 1_000_000_000
    strength_ns: int = 1
    detail: int = 0

    def __attrs_post_init__(self) -> None:
        check(self.kind)
        _require(bool(self.on), f"{self.kind} strikes nobody: name a host, or client and server of a link")
        _require(self.at_ns >= 0, f"{self.kind} is to strike at {self.at_ns} ns: a run begins at 0")
        _require(self.lasts_ns >= 1, f"{self.kind} is to last {self.lasts_ns} ns: a fault lasts at least 1")


@attrs.frozen(kw_only=True)
class PointCrash:
    """Power is cut at the *nth* (from 1) passing of *point* by *process*, on one of SIDES; see `stage/points.py`.

    *victim* loses it: the process itself, unless another is named.
    """

    process: str
    point: str
    nth: int
    side: str = "before"
    victim: str = ""

    def __attrs_post_init__(self) -> None:
        _require(self.nth >= 1, f"passings are numbered from 1, not {self.nth}")
        _require(self.side in SIDES, f"there is no side {self.side!r}; there are: {', '.join(SIDES)}")

    def __str__(self) -> str:
        return f"{self.side} {self.point} number {self.nth} of {self.process}"


@attrs.frozen(kw_only=True)
class Variation:
    """What is not as drawn.  Every field's default changes nothing.

    `overrides` force single decisions, `salts` give the decisions under a label's prefix another stream, `tame` answers
    those under a prefix with their tame value unless they are under one of `wild`, `borrowed` answers those under a
    prefix as another seed would.  `calls` replace the drawn
    operations; `kept_calls` are indexes into those that remain.  `strikes` replace all drawn faults.
    With `orders` the outcome must also be that of one of so many undisturbed orders (`stage/equivalence.py`).
    """

    faults: FaultSet | None = None
    overrides: Overrides | None = None
    salts: Salts | None = None
    borrowed: Salts | None = None
    tame: tuple[str, ...] = ()
    wild: tuple[str, ...] = ()
    calls: tuple[Operation, ...] | None = None
    kept_calls: tuple[int, ...] | None = None
    schedule: Schedule | None = None
    strikes: tuple[Strike, ...] | None = None
    crash_at: PointCrash | None = None
    steps_max: int | None = None
    orders: int = 0

    def __attrs_post_init__(self) -> None:
        _require(self.steps_max is None or self.steps_max >= 1, f"a run has at least 1 step, not {self.steps_max}")
        _require(self.orders >= 0, f"{self.orders} undisturbed orders: there are no less than none")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise BadVariation(otherwise)


AS_DRAWN: Final = Variation()
