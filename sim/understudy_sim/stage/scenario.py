"""A scenario: an application, operations drawn as data, the faults it must survive, and a script that claims.

The script may do anything a trio program may; what it does beside `stage.play()` is its own and is not shrunk.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from understudy_sim.stage import faults as fault_kinds
from understudy_sim.stage.faults import FaultSet
from understudy_sim.stage.operations import Operation
from understudy_sim.stage.variation import Deviation, PointCrash, Schedule, Strike, Variation

if TYPE_CHECKING:
    from understudy_sim.kernel.choices import Choices
    from understudy_sim.stage.fixed import Fixed
    from understudy_sim.stage.plan import Plan
    from understudy_sim.stage.play import Stage

Workload = Callable[["Choices"], Sequence[Operation]]
Adjust = Callable[["Plan"], "Plan"]
Script = Callable[["Stage"], Awaitable[None]]


@attrs.frozen
class Scenario:
    """What `@scenario` makes of a script.  `seeds` is how many a test or a search runs unless told otherwise.

    `later` are further versions of the application, each behind an endpoint of its own that an operation deploys.
    """

    name: str
    app: str
    workload: Workload
    faults: FaultSet
    seeds: int
    script: Script
    filename: str
    line: int
    fails: bool = False  # it is here to show what the simulator catches
    plan: Adjust | None = None
    pauses: bool = False  # whoever is paused when all is quiet has come to its end (P5)
    later: tuple[str, ...] = ()
    deadlocks: bool = False  # so has whoever is in a deadlock that the server names, or behind one
    idle: bool = False  # nothing need be asked for: whoever draws operations may draw none

    def fixed(
        self,
        *,
        operations: Sequence[Operation] | None = (),
        strikes: Sequence[Strike] | None = (),
        deviations: Sequence[Deviation] = (),
        schedule: Schedule | None = None,
        decisions: Mapping[str, int] | None = None,
        drawn: Sequence[str] = (),
        seed: int = 0,
        crash_at: PointCrash | None = None,
        orders: int = 0,
        faults: Sequence[str] | None = None,
        salts: Mapping[str, int] | None = None,
        borrowed: Mapping[str, int] | None = None,
    ) -> Fixed:
        """One run of it, written out: what `understudy shrink` leaves in a file.

        *operations* and *strikes* are all there are (None: as *seed* draws them, of the kinds *faults*).  The schedule
        is first come, first served but for *deviations*, unless *schedule* is another.  *decisions* force answers, by
        label (all of them) or `label#n` (one, from 0); what is under a prefix of *drawn* is drawn from *seed*, and all
        the rest is tame.  *salts* and *borrowed* say, by prefix, what is drawn from other streams of it or as another
        seed would.  With *orders* the outcome must be that of one of so many undisturbed orders.
        """
        from understudy_sim.stage.fixed import EVERYTHING, FIFO, Fixed, overrides_of
        from understudy_sim.stage.strategies.port import Trial

        if schedule is not None and deviations:
            raise TypeError("deviations are from first come, first served: give no other schedule beside them")
        variation = Variation(
            calls=None if operations is None else tuple(operations),
            strikes=None if strikes is None else tuple(strikes),
            schedule=attrs.evolve(FIFO, deviations=tuple(deviations)) if schedule is None else schedule,
            overrides=overrides_of(decisions),
            tame=EVERYTHING,
            wild=tuple(drawn),
            crash_at=crash_at,
            orders=orders,
            faults=None if faults is None else fault_kinds.only(*faults),
            salts=None if salts is None else dict(salts),
            borrowed=None if borrowed is None else dict(borrowed),
        )
        return Fixed(self, Trial(seed, variation))


def no_operations(choices: Choices) -> Sequence[Operation]:
    """The workload of a scenario whose script does everything itself."""
    return ()


def limited(**bounds: Any) -> Adjust:
    """A scenario's `plan` whose server always has these bounds, by the names of `Limits`."""
    return lambda plan: attrs.evolve(plan, limits=attrs.evolve(plan.limits, **bounds))


def scenario(
    *,
    app: str,
    workload: Workload = no_operations,
    faults: FaultSet | None = None,
    seeds: int = 100,
    fails: bool = False,
    plan: Adjust | None = None,
    pauses: bool = False,
    later: Sequence[str] = (),
    deadlocks: bool = False,
) -> Callable[[Script], Scenario]:
    """Declare a scenario.  *app* is `package.module:attribute`; *faults* are all kinds unless named.

    *fails* says that a claim is meant to break: as a test it passes when one does.  *plan* changes what a seed drew, to
    fix or forbid what this scenario cannot do with.  *pauses* declares that a pause is an end as good as any,
    *deadlocks* the same of a deadlock that the server names.  *later* names applications that take over while it runs:
    `Deploy(app=1)` registers the first of them.
    """
    assert seeds >= 1, "a scenario without seeds shows nothing"

    def declare(script: Script) -> Scenario:
        code = script.__code__
        chosen = fault_kinds.everything() if faults is None else faults
        where = (code.co_filename, code.co_firstlineno)
        return Scenario(
            script.__name__,
            app,
            workload,
            chosen,
            seeds,
            script,
            *where,
            fails=fails,
            plan=plan,
            pauses=pauses,
            later=tuple(later),
            deadlocks=deadlocks,
        )

    return declare
