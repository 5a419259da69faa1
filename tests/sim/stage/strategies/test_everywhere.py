"""Crash at every point: which cuts there are, what they are judged by, and that a careless service is found."""

from __future__ import annotations

import pytest
from understudy_sim import Call, Scenario
from understudy_sim.stage.application import Application
from understudy_sim.stage.equivalence import CLAIM, allowed_by, masked, undisturbed
from understudy_sim.stage.report import Report
from understudy_sim.stage.run import run_seed
from understudy_sim.stage.silence import silent
from understudy_sim.stage.strategies.everywhere import ORDERS, CrashPoints, Place, crashes, some_of
from understudy_sim.stage.strategies.port import Scope, Trial
from understudy_sim.stage.variation import PointCrash, Variation

from tests.sim.stage.points_app import paid, paid_carelessly


def trials_of(scenario: Scenario, seed: int = 3) -> tuple[CrashPoints, list[Trial]]:
    strategy = CrashPoints("crash-points", Scope(scenario=scenario, first_seed=seed))
    found: list[Trial] = []
    while more := strategy.trials(60):
        found += more
    return strategy, found


def run(scenario: Scenario, strategy: CrashPoints, trials: list[Trial]) -> list[Report]:
    application = Application(scenario.app)
    reports = []
    with silent():
        for trial in trials:
            report = run_seed(scenario, application, trial.seed, trial.variation)
            strategy.told(trial, report)
            reports.append(report)
    return reports


def cuts(trials: list[Trial], *points: str) -> list[Trial]:
    return [one for one in trials if one.variation.crash_at is not None and one.variation.crash_at.point in points]


# --- which cuts there are -----------------------------------------------------------------------------------------


def test_a_place_is_cut_once_for_each_who_can_lose_power_there() -> None:
    places = [
        Place("server", "journal.append", 1, "before", step=7),
        Place("server", "journal.append", 2, "before", step=7),  # of the same batch
        Place("server", "disk.sync", 4, "before", step=7),  # the same place
        Place("server", "disk.sync", 5, "before", step=9),
        Place("ann", "answer", 1, "before", step=11),
    ]
    found = [(one.point, one.nth, one.side, one.victim) for one in crashes(places)]
    assert found == [
        ("journal.append", 1, "before", ""),
        ("journal.append", 1, "before", "server+endpoint"),
        ("journal.append", 1, "torn", ""),
        ("disk.sync", 5, "before", ""),
        ("disk.sync", 5, "torn", ""),
        ("answer", 1, "before", ""),
        ("answer", 1, "before", "server"),
    ]


def test_of_many_operations_every_client_keeps_its_first_and_what_nobody_else_does() -> None:
    calls = [Call(client=name, service="S", handler="h", argument=n) for name in ("ann", "bob") for n in range(5)]
    assert some_of(calls, 1) == (0,)
    assert some_of(calls, 4) == (0, 4, 5, 9)
    assert some_of(calls, 5) == (0, 3, 4, 5, 9)
    assert some_of(calls, 99) == tuple(range(10))
    calls[2] = Call(client="ann", service="S", handler="pay")
    assert some_of(calls, 4) == (0, 2, 5, 9)


def test_every_place_of_the_golden_run_gets_its_cut() -> None:
    strategy, trials = trials_of(paid)
    names = [one.variation.crash_at for one in trials if one.variation.crash_at is not None]
    assert len(trials) - len(names) == ORDERS, "undisturbed orders are run for themselves, too"
    assert trials[0].variation.crash_at is None, "the golden run comes first"
    assert len(set(names)) == len(names) > 300
    early = {(name.process, name.point) for name in names[: len(names) // 5]}
    assert len(early) > 10, "whoever stops early has been everywhere"
    again = trials_of(paid)[1]
    assert again == trials, "a search is the same search anywhere"
    assert strategy.left == f"{len(names):,} cuts of seed 0x3"
    sample = trials[1::25]
    for trial, report in zip(sample, run(paid, strategy, sample), strict=True):
        assert report.firings or trial.variation.crash_at is None, f"nobody was cut at {trial.variation.crash_at}"
        assert not report.failed, report.stories
    cuts = sum(one.variation.crash_at is not None for one in sample)
    assert strategy.left == f"{len(names) - cuts:,} cuts of seed 0x3", "what was told is not left"
    told = strategy.page()
    assert told[0].split() == ["cut", "before", "after", "torn"]
    assert "different outcomes: 1" in told[-1]
    assert "never came" not in told[-1]


def test_several_golden_seeds_come_one_after_the_other() -> None:
    strategy = CrashPoints("crash-points", Scope(scenario=paid, first_seed=3, seeds=2))
    seeds: dict[int, int] = {}
    while more := strategy.trials(500):
        for trial in more:
            seeds[trial.seed] = seeds.get(trial.seed, 0) + 1
    assert sorted(seeds) == [3, 4]
    assert min(seeds.values()) > 300


# --- what comes out -----------------------------------------------------------------------------------------------


def test_each_cell_is_one_that_some_order_gave() -> None:
    allowed = allowed_by([{"a": "1", "b": "x"}, {"a": "2"}])
    assert not allowed.broken_by({"a": "1"})
    assert not allowed.broken_by({"a": "2", "b": "x"}), "cells are judged one by one"
    assert allowed.broken_by({"a": "3"}) == "a: 3; in 2 undisturbed orders it was 1 or 2"
    assert allowed.broken_by({"b": "x"}) == "a: not there; in 2 undisturbed orders it was 1 or 2"
    assert allowed.broken_by({"a": "1", "c": "y"}) == "c: y; in 2 undisturbed orders it was not there"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("0e7e8a6e-2f0b-4d6c-9f6e-0123456789ab", "…"),
        ('{"id": "inv_1jnVs6uItESb5WawUVXJbpLgNRw06rvDPI"}', '{"id": "…"}'),
        ("at 1700000000000, 3 of 40", "at …, 3 of 40"),
        ("seat-1", "seat-1"),
    ],
)
def test_what_every_run_draws_anew_is_masked(text: str, left: str) -> None:
    assert masked(text) == left


def test_orders_differ_and_the_first_is_the_run_itself() -> None:
    calls = (Call(client="ann", service="S", handler="h"), Call(client="bob", service="S", handler="h"))
    disturbed = Variation(crash_at=PointCrash(process="server", point="applied", nth=1, side="after"), orders=9)
    assert undisturbed(disturbed, calls, 0).crash_at is None
    assert undisturbed(disturbed, calls, 0).orders == 0
    orders = [undisturbed(disturbed, calls, order) for order in range(1, 9)]
    assert all(one.crash_at is None for one in orders)
    assert len({tuple((one.salts or {}).items()) for one in orders}) == len(orders), "schedules and latencies differ"
    assert len({tuple(call.pause_ms for call in one.calls or ()) for one in orders}) > 3


def test_a_service_that_is_asked_without_a_key_is_found_although_nothing_is_claimed() -> None:
    strategy, trials = trials_of(paid_carelessly)
    found = run(paid_carelessly, strategy, cuts(trials, "run.body", "external.call"))
    broken = [report for report in found if report.failed]
    assert broken, "a step that was executed once more has charged once more"
    assert {one.claim for report in broken for one in report.violations} == {CLAIM}
    story = broken[0].stories[0]
    assert "in the ledger of bank: (2, 5)" in story.difference
    assert "undisturbed orders it was not there" in story.difference
    assert "crash" in story.fault or "down" in story.fault
