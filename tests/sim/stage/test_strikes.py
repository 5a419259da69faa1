"""A run's faults, written out: a run that is given its own strikes is the same run."""

from __future__ import annotations

import re
from typing import Any

import pytest
from understudy_sim.stage.aim import GROUPS
from understudy_sim.stage.application import Application
from understudy_sim.stage.faults import PROMISES, UnknownFault
from understudy_sim.stage.nemesis import targets_of
from understudy_sim.stage.report import Report
from understudy_sim.stage.run import run_seed
from understudy_sim.stage.script import load_scenario
from understudy_sim.stage.silence import silent
from understudy_sim.stage.strikes import OF_CALLS, OF_LINKS, Waiting
from understudy_sim.stage.variation import BadVariation, PointCrash, Strike, Variation

TOUR = load_scenario("scenarios/ticket_tour.py")
APPLICATION = Application(TOUR.app)
SEEDS = range(20)
S = 1_000_000_000


def strikes_of(report: Report) -> tuple[Strike, ...]:
    return tuple(one.strike for one in report.firings if one.strike is not None)


def rehearsed(strikes: tuple[Strike, ...], seed: int = 1) -> Report:
    with silent():
        return run_seed(TOUR, APPLICATION, seed, Variation(strikes=strikes))


def test_a_run_given_its_own_strikes_is_the_same_run() -> None:
    """To the step: the digest is over every step, message, sync and record."""
    kinds: set[str] = set()
    for seed in SEEDS:
        with silent():
            drawn = run_seed(TOUR, APPLICATION, seed)
        strikes = strikes_of(drawn)
        assert len(strikes) >= len(drawn.firings) - 1, "only an upgrade's power cut is the plan's"
        kinds.update(one.kind for one in strikes)
        given = rehearsed(strikes, seed)
        assert given.digest == drawn.digest, f"seed {seed}"
        assert [one.strike for one in given.firings] == [one.strike for one in drawn.firings]
        assert eval(repr(strikes), {"Strike": Strike}) == strikes, "strikes print as Python"
    assert {"lost_write", "torn_write", "failing_sync", *OF_CALLS} <= kinds, "the ones that wait for somebody are there"


def test_no_strikes_no_faults() -> None:
    report = rehearsed(())
    assert not report.failed
    assert [one for one in report.firings if one.strike is not None] == []


def test_a_strike_comes_when_it_is_told_also_after_all_else() -> None:
    strikes = (
        Strike(kind="server_crash", on=("server",), at_ns=2 * S, lasts_ns=S),
        Strike(kind="pause", on=("endpoint",), at_ns=2_000 * S, lasts_ns=S),
    )
    report = rehearsed(strikes)
    assert not report.failed
    told = [(one.kind, one.at_ns) for one in report.firings if one.strike is not None]
    assert [kind for kind, _ in told] == ["server_crash", "pause"]
    assert told[0][1] - 2 * S < 1_000_000
    assert told[1][1] == 2_000 * S


def test_a_strike_of_a_call_meets_one_call_in_its_time() -> None:
    strike = Strike(kind="provider_error", on=("mail",), at_ns=5, lasts_ns=10)
    waiting = Waiting((strike,))
    assert waiting.met("provider_error", "mail", 4) is None
    assert waiting.met("provider_slow", "mail", 7) is None
    assert waiting.met("provider_error", "payments", 7) is None
    assert waiting.met("provider_error", "mail", 7) is strike
    assert waiting.met("provider_error", "mail", 7) is None
    assert Waiting((strike,)).met("provider_error", "mail", 15) is None


@pytest.mark.parametrize(
    ("kind", "on", "text"),
    [
        ("pause", ("sever",), "pause is to strike 'sever'; there are: server, endpoint"),
        ("partition", ("ann", "sever"), "partition is to strike 'sever'"),
        ("power_failure", ("sever", "mail"), "is to strike 'sever'"),
        ("provider_slow", ("post",), "provider_slow is to strike 'post'"),
        ("partition", ("server",), "strikes client and server of a link, not ('server',)"),
        ("server_crash", ("server", "endpoint"), "strikes one host, not ('server', 'endpoint')"),
    ],
)
def test_a_strike_at_somebody_who_is_not_there_is_no_run(kind: str, on: tuple[str, ...], text: str) -> None:
    with pytest.raises(BadVariation, match=re.escape(text)):
        rehearsed((Strike(kind=kind, on=on, at_ns=1),))


def test_who_is_hit_by_links_is_known() -> None:
    for kind in PROMISES:
        lengths = {len(one) for one in targets_of(kind, services=("mail",), clients=("ann",))}
        assert kind in GROUPS or lengths == {2 if kind in OF_LINKS else 1}, kind


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"kind": "flood"}, UnknownFault, "there is no fault 'flood'"),
        ({"on": ()}, BadVariation, "pause strikes nobody"),
        ({"at_ns": -1}, BadVariation, "is to strike at -1 ns"),
        ({"lasts_ns": 0}, BadVariation, "is to last 0 ns"),
    ],
)
def test_a_strike_that_cannot_be_is_refused(fields: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Strike(**{"kind": "pause", "on": ("server",), "at_ns": 1, **fields})


def test_a_power_cut_of_somebody_who_is_not_there_is_no_run() -> None:
    cut = Variation(crash_at=PointCrash(process="server", point="disk.sync", nth=1, victim="endpoint+sever"))
    with silent(), pytest.raises(BadVariation, match="'sever' is to lose its power; there are: server, endpoint"):
        run_seed(TOUR, APPLICATION, 1, cut)


@pytest.mark.parametrize("index", [-1, 1_000])
def test_an_operation_that_is_not_there_cannot_be_kept(index: int) -> None:
    with silent(), pytest.raises(BadVariation, match=f"operation {index} is to be kept; there are "):
        run_seed(TOUR, APPLICATION, 1, Variation(kept_calls=(0, index)))
