"""The stage's smaller parts: fault sets, histories, ledgers, claims, what must not survive."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_runtime.limits import Limits
from understudy_sim.kernel.choices import Overrides, SeededChoices
from understudy_sim.stage import faults
from understudy_sim.stage.application import Application
from understudy_sim.stage.history import Answer, Fate, History
from understudy_sim.stage.ledger import Ledger
from understudy_sim.stage.operations import Attach, Call
from understudy_sim.stage.plan import NOT_DRAWN, Hop, draw_plan
from understudy_sim.stage.run import judge_idle, run_seed
from understudy_sim.stage.script import load_scenario
from understudy_sim.stage.silence import silent
from understudy_sim.stage.tally import Tally
from understudy_sim.stage.variation import Variation
from understudy_sim.stage.watch import VIOLATIONS_MAX, Watch


def test_fault_sets_are_named() -> None:
    assert faults.parse("all") == faults.everything()
    assert faults.parse("none").kinds == ()
    assert faults.parse("pause, server_crash").kinds == ("server_crash", "pause")
    with pytest.raises(faults.UnknownFault, match="there is no fault 'x'"):
        faults.only("x")


@given(seed=st.integers(0, 2**64 - 1), kind=st.sampled_from(sorted(faults.KINDS)))
def test_leaving_out_one_kind_changes_no_other(seed: int, kind: str) -> None:
    whole = draw_plan(SeededChoices(seed), faults.everything())
    without = draw_plan(
        SeededChoices(seed), faults.FaultSet(tuple(one for one in faults.everything().kinds if one != kind))
    )
    assert without.intensity == {name: bite for name, bite in whole.intensity.items() if name != kind}
    assert without.limits == whole.limits


def test_every_bound_is_drawn_or_there_is_a_reason() -> None:
    """A bound that rehearsals never move is a bound whose behaviour they never see."""
    seen: dict[str, set[object]] = {field.name: set() for field in attrs.fields(Limits)}
    for seed in range(60):
        limits = draw_plan(SeededChoices(seed), faults.everything()).limits
        for name, values in seen.items():
            values.add(getattr(limits, name))
    drawn = {name for name, values in seen.items() if len(values) > 1}
    assert drawn.isdisjoint(NOT_DRAWN)
    assert drawn | set(NOT_DRAWN) == set(seen)
    assert all(len(reason) > 20 for reason in NOT_DRAWN.values())


def test_every_hop_is_drawn() -> None:
    hops = [draw_plan(SeededChoices(seed), faults.none()).hops for seed in range(300)]
    in_bytes = [one for one in hops if one.in_bytes]
    assert 70 < len(in_bytes) < 140
    assert {(one.client, one.endpoint, one.registered) for one in in_bytes} == {
        (client, endpoint, registered)
        for client in (Hop.H1, Hop.H2)
        for endpoint in (Hop.H1, Hop.H2)
        for registered in (False, True)
    }
    assert {len(one.moves_s) for one in in_bytes if one.registered} == {0, 1, 2}
    assert {(one.client, one.endpoint, one.registered, one.moves_s) for one in hops if not one.in_bytes} == {
        (Hop.EXCHANGE, Hop.EXCHANGE, False, ())
    }


def test_a_history_knows_what_is_unknown() -> None:
    history = History()
    call = Call(client="ann", service="S", handler="h")
    first, second = history.ask(call, "", 1), history.ask(call, "", 2)
    history.answered(first, Answer(3, 200, b"", "inv_1", ""), final=True)
    history.gave_up(second)
    assert first.answer is not None
    assert second.answer is None
    assert second.fate is Fate.UNKNOWN


def test_a_ledger_tells_of_each_entry() -> None:
    told: list[int] = []
    ledger: Ledger[int] = Ledger("l", lambda: told.append(len(ledger)))
    ledger.append(7)
    ledger.append(8)
    assert told == [1, 2]
    assert list(ledger) == [7, 8]


def test_a_watch_keeps_each_violation_once_and_a_page_of_them() -> None:
    watch = Watch(lambda: 5)
    for number in range(2 * VIOLATIONS_MAX):
        watch.broken("claim", f"text {number}")
        watch.broken("claim", f"text {number}")
    assert len(watch.violations) == VIOLATIONS_MAX
    assert watch.violations[0].at_ns == 5


def test_only_one_way_calls_are_delayed() -> None:
    with pytest.raises(AssertionError, match="one-way"):
        Call(client="ann", service="S", handler="h", delay_ms=5)


@pytest.mark.parametrize(
    ("fates", "is_explained"),
    [((), False), ((Fate.ANSWERED,), False), ((Fate.UNKNOWN, Fate.WAITING), False), ((Fate.UNKNOWN,) * 2, True)],
)
def test_a_run_that_did_nothing_is_explained_only_where_nobody_was_heard(
    fates: tuple[Fate, ...], is_explained: bool
) -> None:
    history, tally, watch = History(), Tally(), Watch(lambda: 0)
    for fate in fates:
        history.ask(Call(client="ann", service="S", handler="h"), "", 0).fate = fate
    judge_idle(watch, tally, history)
    assert bool(tally.happened) == is_explained
    assert bool(watch.violations) != is_explained


def test_that_a_result_is_asked_for_explains_nothing_and_accuses_nobody() -> None:
    call = Call(client="ann", service="S", handler="h", label="it")
    looks = Attach(client="auditor", to="it")
    alone, tally, watch = History(), Tally(), Watch(lambda: 0)
    alone.ask(call, "", 0, looks).fate = Fate.UNKNOWN
    judge_idle(watch, tally, alone)
    assert len(watch.violations) == 1
    unheard, tally, watch = History(), Tally(), Watch(lambda: 0)
    unheard.ask(call, "", 0).fate = Fate.UNKNOWN
    unheard.ask(call, "", 0, looks).fate = Fate.ANSWERED
    judge_idle(watch, tally, unheard)
    assert watch.violations == []


@pytest.mark.parametrize(("cut_ms", "is_cut"), [(1, True), (400, False)])
def test_an_upgrade_is_cut_only_before_its_server_leads(cut_ms: int, is_cut: bool) -> None:
    tour = load_scenario("scenarios/ticket_tour.py")
    overrides: Overrides = {
        ("plan/calm", None): 0,
        ("plan/upgrade", None): 999,
        ("plan/upgrade_ms", None): 1_000,
        ("plan/upgrade_cut", None): 999,
        ("plan/upgrade_cut_ms", None): cut_ms,
    }
    variation = Variation(faults=faults.only("server_crash"), overrides=overrides)
    with silent():
        happened = run_seed(tour, Application(tour.app), 3, variation).happened
    assert happened["upgraded"] == 1
    assert ("cut in its upgrade" in happened) is is_cut
