"""The shrinker's passes over a run that is no rehearsal: a table says why it fails, so what must be left is known."""

from __future__ import annotations

from functools import cache

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from understudy_sim.kernel.choices import SeededChoices
from understudy_sim.stage import faults, reductions
from understudy_sim.stage.application import Application
from understudy_sim.stage.operations import Call
from understudy_sim.stage.plan import Plan, draw_plan
from understudy_sim.stage.report import Report, Story
from understudy_sim.stage.run import ENDED_EARLY, NONE_ACCEPTED, NOTHING_ASKED, run_seed
from understudy_sim.stage.script import load_scenario
from understudy_sim.stage.shrink import NotRepeated, Shrunk, explained, shrink
from understudy_sim.stage.silence import silent
from understudy_sim.stage.strategies.port import Trial
from understudy_sim.stage.tally import Firing
from understudy_sim.stage.tries import Ran, Tries, kind_of, runner_of
from understudy_sim.stage.variation import AS_DRAWN, BadVariation, Deviation, Schedule, Strike, Variation
from understudy_sim.stage.watch import Violation

TOUR = load_scenario("scenarios/ticket_tour.py")
CLAIM = "P3 what is done is done once"
CALLS = tuple(Call(client=f"c{n % 3}", service="S", key=str(n), handler="h", pause_ms=100 * n) for n in range(10))
KINDS = ("server_crash", "pause", "partition", "clock_jump")
STRIKES = tuple(
    Strike(kind=KINDS[n % 4], on=("server",), at_ns=1_234_567_890 * (n + 1), lasts_ns=2_000_000_001) for n in range(8)
)
DEVIATIONS = tuple(Deviation(task=f"server.1/task#{n}", nth=1 + n % 3, by=1 + n % 2) for n in range(20))
LABELS = tuple(f"limits/{name}" for name in "abcdefgh")


@cache
def plan() -> Plan:
    return draw_plan(SeededChoices(0), faults.none())


@attrs.frozen
class Cause:
    """Why a run fails: all of these must be there.  *labels* must not have their tame answers."""

    calls: frozenset[str] = frozenset()
    strikes: frozenset[int] = frozenset()
    deviations: frozenset[int] = frozenset()
    labels: frozenset[str] = frozenset()


class World:
    """Runs trials: every decision is real, and what it comes to is looked up."""

    def __init__(self, cause: Cause, claim: str = CLAIM) -> None:
        self.cause = cause
        self.claim = claim
        self.runs = 0
        self.moody = False

    def __call__(self, trial: Trial) -> Ran:
        self.runs += 1
        variation = trial.variation
        choices = SeededChoices(trial.seed, variation.overrides, tame=variation.tame, wild=variation.wild)
        wild = {label for label in LABELS if choices.integer(label, 0, 9) > 0}
        calls = CALLS if variation.calls is None else variation.calls
        firings = self._firings(choices, trial)
        schedule = variation.schedule
        deviations = DEVIATIONS if schedule is None else schedule.deviations
        broken = (
            {one.key for one in calls if isinstance(one, Call)} >= self.cause.calls
            and {number for number, _ in firings} >= self.cause.strikes
            and {DEVIATIONS.index(one) for one in deviations} >= self.cause.deviations
            and wild >= self.cause.labels
        )
        violations = (Violation(self.claim, "it was done twice", 5),) if broken else ()
        report = Report(
            seed=trial.seed,
            digest=f"{self.runs}" if self.moody else "the same",
            violations=violations,
            stories=tuple(Story(claim=one.claim, operation="", fault="", difference="", at_ns=5) for one in violations),
            steps=1_000,
            virtual_ns=10**9,
            invocations=1,
            attempts=1,
            faults={one.kind: (1, 1) for _, one in firings},
            happened={},
            sometimes={},
            hits={},
            plan=plan(),
            calls=calls,
            firings=tuple(one for _, one in firings),
            syncs=0,
        )
        return Ran(report, tuple(choices.recorded), deviations)

    def _firings(self, choices: SeededChoices, trial: Trial) -> list[tuple[int, Firing]]:
        variation = trial.variation
        if variation.strikes is not None:
            # A strike is known by its kind and the second it comes in.
            meant = [(_number(one), one) for one in variation.strikes]
            return [(number, Firing(one.kind, "server", one.at_ns, ("", 0), one)) for number, one in meant]
        fired = []
        for number, one in enumerate(STRIKES):
            label = f"fault.{one.kind}.fire"
            ordinal = number // len(KINDS)
            switched_on = choices.integer(label, 0, 999) > 0
            if switched_on and (variation.faults is None or one.kind in variation.faults):
                fired.append((number, Firing(one.kind, "server", one.at_ns, (label, ordinal), one)))
        return fired


def _number(strike: Strike) -> int:
    alike = [number for number, one in enumerate(STRIKES) if one.kind == strike.kind]
    return min(alike, key=lambda number: abs(STRIKES[number].at_ns - strike.at_ns))


def small(cause: Cause, **given: int) -> tuple[Shrunk, World]:
    world = World(cause)
    report = world(Trial(7)).report
    assert report.failed
    return shrink(None, report, AS_DRAWN, runner=world, **given), world  # type: ignore[arg-type]


CAUSES = st.builds(
    Cause,
    calls=st.frozensets(st.sampled_from([str(n) for n in range(10)]), max_size=3),
    strikes=st.frozensets(st.integers(0, 7), max_size=3),
    deviations=st.frozensets(st.integers(0, 19), max_size=2),
    labels=st.frozensets(
        st.sampled_from([label for label in LABELS if SeededChoices(7).integer(label, 0, 9)]), max_size=2
    ),
)


@settings(max_examples=25, deadline=None)
@given(CAUSES)
def test_exactly_what_made_it_fail_is_left(cause: Cause) -> None:
    shrunk, _ = small(cause, runs_max=1_000)
    variation = shrunk.variation
    assert variation.calls is not None
    assert {one.key for one in variation.calls if isinstance(one, Call)} == cause.calls
    assert variation.strikes is not None
    assert {_number(one) for one in variation.strikes} == cause.strikes
    assert variation.schedule is not None
    assert {DEVIATIONS.index(one) for one in variation.schedule.deviations} == cause.deviations
    assert {label for label, _ in variation.overrides or {}} == cause.labels
    assert (variation.tame, variation.wild, shrunk.trial.seed) == (("",), (), 0)


@settings(max_examples=10, deadline=None)
@given(CAUSES)
def test_what_is_left_is_as_simple_as_it_can_be(cause: Cause) -> None:
    shrunk, _ = small(cause, runs_max=1_000)
    for call in shrunk.variation.calls or ():
        assert (call.pause_ms, call.client) == (0, (shrunk.variation.calls or ())[0].client)
    for strike in shrunk.variation.strikes or ():
        assert strike.at_ns % 1_000_000_000 == 0
        assert (strike.lasts_ns, strike.strength_ns) == (1_000_000, 1)
    assert all(value == 1 for value in (shrunk.variation.overrides or {}).values())


@settings(max_examples=8, deadline=None)
@given(CAUSES)
def test_each_neighbour_holds_and_lacks_one_thing(cause: Cause) -> None:
    shrunk, world = small(cause, runs_max=1_000)
    things = len(cause.calls) + len(cause.strikes) + len(cause.deviations) + len(cause.labels)
    assert len(shrunk.neighbours) == things
    assert all(not world(trial).report.failed for _, trial in shrunk.neighbours)
    if cause.strikes:
        assert shrunk.neighbours[0][0].startswith("without the ")


@settings(max_examples=8, deadline=None)
@given(CAUSES, st.integers(2, 60))
def test_a_budget_is_kept_and_what_is_left_fails_all_the_same(cause: Cause, runs_max: int) -> None:
    shrunk, world = small(cause, runs_max=runs_max)
    assert shrunk.report.failed
    assert shrunk.runs <= runs_max + 2  # and twice to be sure of it
    assert world.runs <= runs_max + 3
    assert all(not world(trial).report.failed for _, trial in shrunk.neighbours), "only what was seen to hold is named"
    few, _ = small(cause, runs_max=1_000, steps_max=5_000)
    assert few.runs <= 5 + 2


def test_the_same_failure_gets_small_the_same_way() -> None:
    cause = Cause(frozenset({"3", "8"}), frozenset({1, 6}), frozenset({4}), frozenset({LABELS[0]}))
    assert small(cause)[0].trial == small(cause)[0].trial


def test_what_is_not_the_same_twice_is_told() -> None:
    world = World(Cause())
    report = world(Trial(7)).report
    world.moody = True
    with pytest.raises(NotRepeated, match="not the same twice"):
        shrink(None, report, AS_DRAWN, runner=world)  # type: ignore[arg-type]


def test_no_run_is_made_twice() -> None:
    seen: list[str] = []
    world = World(Cause(frozenset({"1"}), frozenset({2})))

    def run(trial: Trial) -> Ran:
        bare = attrs.evolve(trial, variation=attrs.evolve(trial.variation, steps_max=None))
        seen.append(repr(bare))
        return world(trial)

    report = world(Trial(7)).report
    shrink(None, report, AS_DRAWN, runner=run)  # type: ignore[arg-type]
    assert len(set(seen[:-2])) == len(seen[:-2])


def test_another_claim_is_another_failure() -> None:
    def run(trial: Trial) -> Ran:
        ran = World(Cause())(trial)
        kept = trial.variation.calls is None or len(trial.variation.calls) == len(CALLS)
        other = (Violation("P5 every accepted one ends", "", 1),)
        return ran if kept else attrs.evolve(ran, report=attrs.evolve(ran.report, violations=other))

    tries = Tries(run, Trial(7), runs_max=100, steps_max=10**9)
    reductions.drop_operations(tries)
    assert tries.ran.report.calls == CALLS


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("P3 it is done once", "a"), ("P3 it is done just once", "b"), True),
        (("P3 it is done once", "a"), ("P5 it ends", "a"), False),
        (("(b) a seat is sold once", "x"), ("(b) a seat", "y"), True),
        (("carts are empty", "ann's"), ("carts are empty", "bob's"), True),
        ((ENDED_EARLY, "process 'main' failed: X"), (ENDED_EARLY, "no task is ready"), False),
        ((ENDED_EARLY, NOTHING_ASKED), (ENDED_EARLY, NONE_ACCEPTED), False),
        (("the server does not fail", "SyncFailed: 3"), ("the server does not fail", "SyncFailed: 4"), True),
        (("the server does not fail", "SyncFailed: 3"), ("the server does not fail", "KeyError: 4"), False),
    ],
)
def test_which_broken_claims_are_the_same(one: tuple[str, str], other: tuple[str, str], same: bool) -> None:
    assert (kind_of(Violation(*one, 0)) == kind_of(Violation(*other, 0))) is same


def test_a_run_that_does_nothing_is_no_smaller_run() -> None:
    def run(trial: Trial) -> Ran:
        ran = World(Cause())(trial)
        idle = Violation(ENDED_EARLY, NOTHING_ASKED, 1)
        violations = (*ran.report.violations, *(() if ran.report.calls else (idle,)))
        return attrs.evolve(ran, report=attrs.evolve(ran.report, violations=violations))

    tries = Tries(run, Trial(7), runs_max=100, steps_max=10**9)
    reductions.drop_operations(tries)
    assert len(tries.ran.report.calls) == 1


def test_that_nobody_is_heard_needs_somebody_who_asks() -> None:
    """With no operation left nothing is accepted either, for no fault of the server: that is told otherwise."""

    def run(trial: Trial) -> Ran:
        ran = World(Cause())(trial)
        violation = Violation(ENDED_EARLY, NONE_ACCEPTED if ran.report.calls else NOTHING_ASKED, 1)
        return attrs.evolve(ran, report=attrs.evolve(ran.report, violations=(violation,)))

    tries = Tries(run, Trial(7), runs_max=100, steps_max=10**9)
    reductions.drop_operations(tries)
    assert [one.what for one in tries.ran.report.violations] == [NONE_ACCEPTED]
    assert len(tries.ran.report.calls) == 1


def test_what_was_cut_off_has_not_held_and_what_cannot_be_has_not_failed() -> None:
    def run(trial: Trial) -> Ran:
        ran = World(Cause(calls=frozenset({"3"})))(trial)
        if trial.variation.calls == ():
            raise BadVariation("nobody is left to be hit")
        return ran if ran.report.failed else attrs.evolve(ran, report=attrs.evolve(ran.report, waiters=("a task",)))

    tries = Tries(run, Trial(7), runs_max=100, steps_max=10**9)
    reductions.drop_operations(tries)
    assert [one.key for one in tries.ran.report.calls if isinstance(one, Call)] == ["3"]
    assert tries.held == []
    assert tries.look(calls=()) is None


def _crashed() -> tuple[Trial, Trial]:
    """A run with one power cut, and the same without."""
    calls = tuple(
        Call(client="ann", service="CartObject", key="ann", handler="addTicket", argument=f"seat-{n}") for n in (1, 2)
    )
    crash = Strike(kind="server_crash", on=("server",), at_ns=100_000_000)
    whole = TOUR.fixed(operations=calls, strikes=[crash]).trial
    return whole, attrs.evolve(whole, variation=attrs.evolve(whole.variation, strikes=()))


def test_the_nearest_run_that_holds_is_one_that_was_made_to_its_end() -> None:
    whole, calm = _crashed()
    idle = attrs.evolve(whole, variation=attrs.evolve(whole.variation, calls=()))
    ran = runner_of(TOUR)(whole)
    neighbours = (("without all that is asked", idle), ("without the server_crash of server", calm))
    told = explained(TOUR, Shrunk(ran.report, whole, CLAIM, 1, 1, neighbours, ran))
    assert told.startswith("Nearest run that holds: without the server_crash of server.\n")
    holds = [line for line in told.splitlines() if line.startswith("  holds")]
    assert any("Invoke CartObject/ann/addTicket" in line for line in holds), told
    assert explained(TOUR, Shrunk(ran.report, whole, CLAIM, 1, 1, neighbours[:1], ran)) == ""


@pytest.mark.parametrize("kind", ["random", "pct", "drawn"])
def test_a_rehearsal_written_as_deviations_is_the_same_rehearsal(kind: str) -> None:
    run = runner_of(load_scenario("scenarios/ticket_tour.py"))
    schedule = Schedule(kind=kind, changes=3 if kind == "pct" else 0)
    with silent():
        ran = run(Trial(1, Variation(schedule=schedule)))
        written = Schedule(kind="fifo", deviations=ran.deviations)
        again = run(Trial(1, Variation(schedule=written)))
        plain = run_seed(load_scenario("scenarios/ticket_tour.py"), Application("scenarios.ticket_tour:app"), 1)
    assert ran.deviations or kind == "drawn"
    assert again.report.digest == ran.report.digest
    assert again.deviations == ran.deviations
    assert kind != "drawn" or plain.digest == ran.report.digest, "whoever records changes nothing"
