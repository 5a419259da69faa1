"""One seed, from its choices to its report.  Everything a run needs is built here and thrown away after the verdict."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import attrs
import outcome
from understudy_runtime import world
from understudy_runtime.model.events import AttemptStarted
from understudy_runtime.node import sole_error

from understudy_sim.kernel.choices import Choices, SeededChoices
from understudy_sim.kernel.clock import NS_PER_S
from understudy_sim.kernel.deviations import Deviating
from understudy_sim.kernel.fence import Fence
from understudy_sim.kernel.kernel import Kernel, KernelOutcome
from understudy_sim.kernel.loop import Budget, Ending
from understudy_sim.kernel.policies import Policy
from understudy_sim.stage.application import Application
from understudy_sim.stage.cluster import Cluster
from understudy_sim.stage.coverage import Coverage
from understudy_sim.stage.equivalence import OutcomeJudged, OutcomeSeen, allowed_by, undisturbed
from understudy_sim.stage.history import Fate, History
from understudy_sim.stage.operations import Operation
from understudy_sim.stage.plan import Plan, draw_plan, registered
from understudy_sim.stage.play import Stage
from understudy_sim.stage.properties import PROPERTIES
from understudy_sim.stage.properties.accepted_ends import AcceptedEnds
from understudy_sim.stage.properties.outstanding import Outstanding
from understudy_sim.stage.properties.replay_closure import ReplayClosure
from understudy_sim.stage.properties.terms import DeclaredTerms
from understudy_sim.stage.rehearsal import Observer, Rehearsal
from understudy_sim.stage.report import Report
from understudy_sim.stage.scenario import Scenario
from understudy_sim.stage.schedules import decided, policy_of
from understudy_sim.stage.server import SERVER
from understudy_sim.stage.story import tell
from understudy_sim.stage.tally import Tally
from understudy_sim.stage.telling_errors import describe, only_of
from understudy_sim.stage.truth import Truth
from understudy_sim.stage.variation import AS_DRAWN, BadVariation, Variation
from understudy_sim.stage.variation_text import to_text
from understudy_sim.stage.watch import Violation, Watch
from understudy_sim.stage.why import chains_behind

STEPS_MAX = 3_000_000
VIRTUAL_NS_MAX = 14 * 24 * 3600 * NS_PER_S
# What a broken run is called when no claim could be judged.
ENDED_EARLY = "the rehearsal comes to its end"
NOTHING_ASKED = "nothing was asked for: a rehearsal that did nothing shows nothing"
NONE_ACCEPTED = "no invocation was ever accepted: a rehearsal that did nothing shows nothing"


def run_seed(
    scenario: Scenario,
    application: Application,
    seed: int,
    variation: Variation = AS_DRAWN,
    observers: Sequence[Observer] = (),
) -> Report:
    """Rehearse *scenario* once under *seed*.  Raises BadVariation where no run of it can vary so."""
    if variation.orders:
        return _run_judged(scenario, application, seed, variation, observers)
    choices = choices_of(seed, variation)
    return run_choices(scenario, application, choices, seed, variation, observers=observers)


def _run_judged(
    scenario: Scenario, application: Application, seed: int, variation: Variation, observers: Sequence[Observer]
) -> Report:
    """Rehearse once, and judge what came out by what undisturbed orders give."""
    _, calls = outline_of(scenario, application, seed, variation)
    key = to_text(attrs.evolve(variation, crash_at=None, strikes=None))
    allowed = application.allowed.get((scenario.name, seed, key))
    if allowed is None:
        outcomes = []
        for order in range(variation.orders):
            seen = OutcomeSeen()
            calm = undisturbed(variation, calls, order)
            report = run_choices(scenario, application, choices_of(seed, calm), seed, calm, observers=(seen,))
            if not report.failed:
                outcomes.append(seen.cells)
            elif not order:
                return report  # Without any accident a claim breaks: there is nothing to compare with.
        allowed = application.allowed[scenario.name, seed, key] = allowed_by(outcomes)
    judge = OutcomeJudged(allowed)
    judged = (*observers, judge)
    report = run_choices(scenario, application, choices_of(seed, variation), seed, variation, observers=judged)
    return attrs.evolve(report, outcome=judge.digest)


def choices_of(seed: int, variation: Variation) -> SeededChoices:
    """Where the decisions of a run come from."""
    return SeededChoices(
        seed,
        variation.overrides,
        salts=variation.salts,
        borrowed=variation.borrowed,
        tame=variation.tame,
        wild=variation.wild,
    )


def outline_of(
    scenario: Scenario, application: Application, seed: int, variation: Variation
) -> tuple[Plan, tuple[Operation, ...]]:
    """What a run is like before it begins: its plan and its operations."""
    choices = choices_of(seed, variation)
    return _plan(scenario, application, choices, variation), _calls(scenario, choices, variation)


def run_choices(
    scenario: Scenario,
    application: Application,
    choices: Choices,
    seed: int = 0,
    variation: Variation = AS_DRAWN,
    *,
    outline: Choices | None = None,
    observers: Sequence[Observer] = (),
) -> Report:
    """Rehearse *scenario* once with decisions from *choices*.

    *outline*, when given, draws the plan and the operations in their stead: few decisions, which Hypothesis can shrink.
    """
    first = choices if outline is None else outline
    plan = _plan(scenario, application, first, variation)
    calls = _calls(scenario, first, variation)
    budget = Budget(variation.steps_max or STEPS_MAX, VIRTUAL_NS_MAX)
    policy = policy_of(choices, variation.schedule)
    coverage = Coverage()
    kernel = Kernel(choices, policy=policy, budget=budget, disk_errors=DiskErrors())
    with _environment(), coverage, kernel:
        rehearsal = _build(scenario, application, variation, choices, plan, calls, kernel)
        attempts = _Counter(rehearsal.watch, rehearsal.truth)
        for observer in (coverage, *observers):
            observer.attach(rehearsal)
        cluster = rehearsal.cluster
        with Fence(kernel, cluster.zone, cluster.fenced, application.sites), cluster.guests():
            ended = kernel.run(scenario.script, rehearsal.stage)
        _refuse(variation, ended)
        stopped = variation.steps_max is not None and ended.ending is Ending.STEPS_EXHAUSTED
        if not stopped:
            _judge_ending(rehearsal, ended)
        idles = scenario.idle or cluster.server.noticed is not None
        if not rehearsal.truth.commands and not stopped and not idles:
            judge_idle(rehearsal.watch, rehearsal.tally, cluster.history)
        for observer in observers:
            observer.stopped(rehearsal, ended)
        shown = _report(seed, rehearsal, ended, attempts.count, stopped)
        unmet = unmet_by(choices, policy, variation)
        return attrs.evolve(shown, cells=coverage.cells, schedule=decided(policy), unmet=unmet)


def _refuse(variation: Variation, ended: KernelOutcome) -> None:
    """Raises BadVariation where a fault is written out for whom the cluster does not have: that is known only there."""
    written_out = variation.strikes is not None or variation.crash_at is not None
    if written_out and isinstance(ended.result, outcome.Error) and only_of(ended.result.error, (BadVariation,)):
        raise BadVariation(str(sole_error(ended.result.error)))


def unmet_by(choices: Choices, policy: Policy, variation: Variation) -> tuple[str, ...]:
    """What a variation says about decisions that the run never took."""
    said = []
    for label, ordinal in variation.overrides or ():
        if choices.asked(label) <= (ordinal or 0):
            said.append(label if ordinal is None else f"{label}#{ordinal}")
    if isinstance(policy, Deviating) and policy.unmet:
        said.append(f"{policy.unmet} of {policy.unmet + policy.met} deviations")
    return tuple(said)


def _plan(scenario: Scenario, application: Application, choices: Choices, variation: Variation) -> Plan:
    plan = draw_plan(choices, scenario.faults if variation.faults is None else variation.faults)
    if scenario.plan is not None:
        plan = scenario.plan(plan)
    return registered(plan) if scenario.later or application.is_guest else plan


def _calls(scenario: Scenario, choices: Choices, variation: Variation) -> tuple[Operation, ...]:
    drawn = tuple(scenario.workload(choices)) if variation.calls is None else variation.calls
    if variation.kept_calls is None:
        return drawn
    for index in variation.kept_calls:
        if not 0 <= index < len(drawn):
            raise BadVariation(f"operation {index} is to be kept; there are {len(drawn)}, numbered from 0")
    return tuple(drawn[index] for index in variation.kept_calls)


def _build(
    scenario: Scenario,
    application: Application,
    variation: Variation,
    choices: Choices,
    plan: Plan,
    calls: tuple[Operation, ...],
    kernel: Kernel,
) -> Rehearsal:
    shape(kernel, plan)
    watch = Watch(lambda: kernel.now_ns)
    truth = Truth(plan.partition_count, plan.limits.timers_max)
    tally = Tally()
    # Before the properties: what they read of the truth was learned when they are told.
    properties = [kind(watch, truth) for kind in PROPERTIES]
    for checker in properties:
        watch.subscribe(checker.handlers())
        if isinstance(checker, AcceptedEnds):
            checker.paused_is_terminal = scenario.pauses
            checker.deadlocked_is_terminal = scenario.deadlocks
        if isinstance(checker, Outstanding):
            checker.checks_deadlocks = plan.limits.refuse_deadlocks
    later = [application.later(path) for path in scenario.later]
    cluster = Cluster(kernel, plan, truth, watch, tally, application, later)
    cluster.stop_at(variation.crash_at)
    for checker in properties:
        if isinstance(checker, ReplayClosure):
            checker.applications = list(zip(cluster.addresses, (application, *later), strict=True))
        if isinstance(checker, DeclaredTerms):
            checker.watches(cluster.offered, plan.limits)
    stage = Stage(kernel, plan, truth, watch, cluster, properties, calls)
    stage.strikes = variation.strikes
    return Rehearsal(
        scenario=scenario,
        application=application,
        variation=variation,
        choices=choices,
        plan=plan,
        calls=calls,
        kernel=kernel,
        watch=watch,
        truth=truth,
        tally=tally,
        properties=properties,
        cluster=cluster,
        stage=stage,
    )


def _report(seed: int, run: Rehearsal, ended: KernelOutcome, attempts: int, stopped: bool) -> Report:
    watch, tally, cluster = run.watch, run.tally, run.cluster
    return Report(
        seed=seed,
        digest=ended.digest,
        violations=tuple(watch.violations),
        stories=tuple(
            tell(one, run.truth, cluster.history, tally, chain)
            for one, chain in zip(watch.violations, chains_behind(run, ended), strict=True)
        ),
        steps=ended.steps,
        virtual_ns=ended.time_ns,
        invocations=len(run.truth.commands),
        attempts=attempts,
        faults=dict(tally.counts),
        happened=dict(tally.happened),
        sometimes=dict(run.stage.seen),
        hits=dict(watch.hits),
        plan=run.plan,
        calls=run.calls,
        firings=tuple(tally.firings),
        syncs=cluster.server.host.medium.syncs,
        not_judged=cluster.not_judged,
        waiters=tuple(str(waiter) for waiter in ended.waiters) if stopped else None,
    )


def judge_idle(watch: Watch, tally: Tally, history: History) -> None:
    """Nothing was accepted.  That is so where every client gave up while there were faults, and nowhere else.

    Who asked for a result later was told that there is none.  Where nobody asked at all the run is to blame, and not
    the server.
    """
    calls = [one for one in history.asked if one.attach is None]
    if not calls:
        watch.broken(ENDED_EARLY, NOTHING_ASKED)
    elif all(one.fate is Fate.UNKNOWN for one in calls):
        tally.noted("nobody was heard")
    else:
        watch.broken(ENDED_EARLY, NONE_ACCEPTED)


def shape(kernel: Kernel, plan: Plan) -> None:
    """Give the network and the server's disk the seed's speeds."""
    network = kernel.network.profile
    network.latency_low_ns = max(1, plan.latency_ns_max // 20)
    network.latency_high_ns = plan.latency_ns_max
    disk = kernel.medium(SERVER).profile
    disk.sync_low_ns = max(1, plan.sync_ns_max // 40)
    disk.sync_high_ns = plan.sync_ns_max


class DiskErrors:
    """What the product expects of a disk that fails."""

    def __init__(self) -> None:
        self.DiskError: type[Exception] = world.DiskError
        self.SyncFailed: type[Exception] = world.SyncFailed
        self.DiskFull: type[Exception] = world.DiskFull
        self.DiskLocked: type[Exception] = world.DiskLocked


class _Counter:
    def __init__(self, watch: Watch, truth: Truth) -> None:
        self.count = 0
        self._attempts = truth.attempts
        watch.subscribe({AttemptStarted: self._add})

    def _add(self, event: AttemptStarted) -> None:
        self.count += 1
        self._attempts[event.invocation_id] = self._attempts.get(event.invocation_id, 0) + 1


def _judge_ending(run: Rehearsal, ended: KernelOutcome) -> None:
    watch = run.watch
    if isinstance(ended.result, outcome.Error):
        who = f"process {ended.failed_process!r}" if ended.failed_process is not None else "the scenario"
        watch.violations.append(Violation(ENDED_EARLY, f"{who} failed: {describe(ended.result.error)}", ended.time_ns))
    elif ended.ending is not Ending.DONE:
        # Who spins is told by P16; who waits beside it is of no account.
        waiters = "".join(f"\n  {waiter}" for waiter in ended.waiters if ended.ending is not Ending.SPINS)
        watch.violations.append(Violation(ENDED_EARLY, f"{ended.ending.value}{waiters}", ended.time_ns))
    elif run.kernel.process(SERVER).incarnation and not run.stage.played:
        watch.broken(ENDED_EARLY, "the script started it and did not finish it: end with await stage.finish()")


@contextmanager
def _environment() -> Iterator[None]:
    """Give the process its environment back."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
