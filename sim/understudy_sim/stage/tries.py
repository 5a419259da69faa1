"""The runs that a shrinker makes: each compared with the failure it began from, counted, and never made twice.

A try fails when the claim breaks that broke first in the run to shrink: the same property, whatever its text; a claim
without a number by its words, and where those say only that the rehearsal or the server failed, by how.  A try that
gets much longer than the run it began from is cut off, and what was not broken by then counts as held.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import attrs

from understudy_sim.kernel.choices import Choice
from understudy_sim.kernel.deviations import Recording
from understudy_sim.kernel.kernel import KernelOutcome
from understudy_sim.stage.application import Application
from understudy_sim.stage.rehearsal import Rehearsal
from understudy_sim.stage.report import Report
from understudy_sim.stage.run import ENDED_EARLY, NONE_ACCEPTED, NOTHING_ASKED, STEPS_MAX, run_seed
from understudy_sim.stage.scenario import Scenario
from understudy_sim.stage.silence import collect
from understudy_sim.stage.strategies.port import Trial
from understudy_sim.stage.variation import BadVariation, Deviation
from understudy_sim.stage.watch import Violation

_NUMBERED: Final = re.compile(r"(P\d+|\([a-z]\)) ")
_TELLING: Final = re.compile(r"[A-Za-z_. '-]+")
# Claims that say that something failed; what failed is in their texts.
_SAYS_LITTLE: Final = (ENDED_EARLY, "the server does not fail")
LONGER: Final = 3  # times as many steps as the run to shrink, and these more
LONGER_STEPS: Final = 20_000
TRIES_PER_COLLECTION: Final = 10
# So long after a sync what follows it has begun.
AFTER_NS: Final = 20_000


@attrs.frozen
class Ran:
    """What one try was: its report, every decision it took, its schedule as deviations, and when the server's disk was
    in the middle of a sync or had just ended one: moments worth losing power in."""

    report: Report
    decisions: tuple[Choice, ...] = ()
    deviations: tuple[Deviation, ...] = ()
    moments: tuple[int, ...] = ()


Runner = Callable[[Trial], Ran]


@attrs.define
class Recorder:
    """Observes decisions, deviations and syncs of a run."""

    decisions: tuple[Choice, ...] = ()
    deviations: tuple[Deviation, ...] = ()
    moments: list[int] = attrs.Factory(list)
    _recording: Recording | None = None

    def attach(self, rehearsal: Rehearsal) -> None:
        """Stand between the loop and its policy."""
        loop = rehearsal.kernel.loop
        recording = self._recording = Recording(loop.pick)
        known = loop.names
        if known is not None:
            recording.names = known
        loop.pick, loop.names = recording, recording.names
        medium = rehearsal.cluster.server.host.medium
        before = medium.on_sync
        begun_ns: dict[int, int] = {}

        def on_sync(ordinal: int, phase: str) -> None:
            if phase == "before":
                begun_ns[ordinal] = loop.now_ns
            else:
                self.moments += [(begun_ns[ordinal] + loop.now_ns) // 2, loop.now_ns + AFTER_NS]
            if before is not None:
                before(ordinal, phase)

        medium.on_sync = on_sync

    def stopped(self, rehearsal: Rehearsal, ended: KernelOutcome) -> None:
        """Keep what was noted."""
        assert self._recording is not None, "attached before"
        self.decisions = tuple(rehearsal.choices.recorded)
        self.deviations = tuple(Deviation(task=task, nth=nth, by=by) for task, nth, by in self._recording.passed)
        self._recording = None  # It knows every task of the run: let the dead go.


def runner_of(scenario: Scenario) -> Runner:
    """Runs *scenario* in this process."""
    application = Application(scenario.app)
    made = 0

    def run(trial: Trial) -> Ran:
        nonlocal made
        recorder = Recorder()
        report = run_seed(scenario, application, trial.seed, trial.variation, [recorder])
        made += 1
        if made == 1 or made % TRIES_PER_COLLECTION == 0:
            collect(keep=made == 1)
        return Ran(report, recorder.decisions, recorder.deviations, tuple(recorder.moments))

    return run


def kind_of(violation: Violation) -> str:
    """What makes two broken claims the same one."""
    numbered = _NUMBERED.match(violation.claim)
    if numbered is not None:
        return numbered.group(1)
    if violation.claim not in _SAYS_LITTLE:
        return violation.claim
    told = _TELLING.match(violation.what)
    return f"{violation.claim}: {told.group().strip() if told is not None else ''}"


# A run without an operation that was heard shows nothing, and so does whatever breaks in it.  That nobody was heard is
# a failure by itself, but another one than that nobody asked.
SHOWS_NOTHING: Final = tuple(kind_of(Violation(ENDED_EARLY, what, 0)) for what in (NOTHING_ASKED, NONE_ACCEPTED))


class Tries:
    """The smallest failing run so far: `best` names it, `ran` is what it showed.

    `runs` and `steps` count what was spent of *runs_max* and *steps_max*.  `held` are the tries in which the claim
    held, in order: up to their own end, and not only up to where they were cut off.
    """

    def __init__(self, run: Runner, start: Trial, *, runs_max: int, steps_max: int, kind: str = "") -> None:
        assert runs_max >= 1, "the run to shrink is a run"
        self._run = run
        self._known: dict[str, bool] = {}
        self.runs = 1
        self.runs_max = runs_max
        self.steps_max = steps_max
        self.best = start
        self.ran = run(start)
        self.steps = self.ran.report.steps
        self.kind = kind or (kind_of(self.ran.report.violations[0]) if self.ran.report.failed else "")
        self.held: list[Trial] = []
        # A run that used up its steps is as long as it is because it fails.
        self._cut_at = None if self.steps >= STEPS_MAX else min(STEPS_MAX, LONGER * self.steps + LONGER_STEPS)

    @property
    def is_failing(self) -> bool:
        """Whether the best run breaks the claim: so it is from the first one on."""
        return any(kind_of(one) == self.kind for one in self.ran.report.violations)

    @property
    def spent(self) -> bool:
        """Whether no further run may be made."""
        return self.runs >= self.runs_max or self.steps >= self.steps_max

    def attempt(self, trial: Trial, smaller: Callable[[Tries], object], runs_max: int) -> bool:
        """Whether *trial* fails and is, after *smaller* with at most *runs_max* runs, less than the best; else that
        stays the best."""
        before, bound = (self.best, self.ran), self.runs_max
        if not self.fails(trial):
            return False
        self.runs_max = min(bound, self.runs + runs_max)
        smaller(self)
        self.runs_max = bound
        if size_of(self.ran, self.best) < size_of(before[1], before[0]):
            return True
        self.best, self.ran = before
        return False

    def look(self, **changes: Any) -> Ran | None:
        """What the best run would show with these fields of its variation changed, whether it fails or not."""
        if self.spent:
            return None
        self.runs += 1
        trial = Trial(self.best.seed, attrs.evolve(self.best.variation, **changes, steps_max=self._cut_at))
        ran = self._made(trial)
        self.steps += 0 if ran is None else ran.report.steps
        return ran

    def vary(self, **changes: Any) -> bool:
        """Whether the best run, with these fields of its variation changed, still fails; then it is the best."""
        return self.fails(Trial(self.best.seed, attrs.evolve(self.best.variation, **changes)))

    def fails(self, trial: Trial) -> bool:
        """Whether *trial* fails with the same claim; then it is the best."""
        if trial == self.best:
            return True
        name = named(trial)
        if name in self._known or self.spent:
            return False  # What failed became the best; a known one is either behind us or held.
        limit = trial.variation.steps_max or self._cut_at
        ran = self._made(attrs.evolve(trial, variation=attrs.evolve(trial.variation, steps_max=limit)))
        self.runs += 1
        if ran is None:
            return False
        self.steps += ran.report.steps
        kinds = [kind_of(one) for one in ran.report.violations]
        failed = self.kind in kinds and (self.kind in SHOWS_NOTHING or not any(one in kinds for one in SHOWS_NOTHING))
        self._known[name] = failed
        if failed:
            self.best, self.ran = trial, ran
        elif ran.report.waiters is None:
            self.held.append(trial)
        return failed

    def _made(self, trial: Trial) -> Ran | None:
        """The run *trial* names; None where there can be none: a fault is left over for somebody who is left out."""
        try:
            return self._run(trial)
        except BadVariation:
            return None


def size_of(ran: Ran, trial: Trial) -> tuple[int, int, int, int]:
    """What counts: faults, operations, deviations, decisions that are not tame."""
    schedule = trial.variation.schedule
    fifo = schedule is not None and schedule.kind == "fifo"
    deviations = len(schedule.deviations) if schedule is not None and fifo else len(ran.deviations)
    return len(ran.report.firings), len(ran.report.calls), deviations, len(wild_decisions(ran, trial))


def wild_decisions(ran: Ran, trial: Trial) -> list[Choice]:
    """The decisions of a run that were left to its seed, and those that were forced."""
    variation = trial.variation
    forced = variation.overrides or {}
    return [
        one
        for one in ran.decisions
        if (one.label, one.ordinal) in forced
        or (one.label, None) in forced
        or not variation.tame
        or not one.label.startswith(variation.tame)
        or one.label.startswith(variation.wild)
    ]


def named(trial: Trial) -> str:
    """One text for one run, however its fields were put together."""
    overrides = trial.variation.overrides
    tidy = sorted(overrides.items(), key=repr) if overrides else None
    return f"{trial.seed} {tidy} {attrs.evolve(trial.variation, overrides=None)!r}"
