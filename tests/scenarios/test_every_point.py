"""The tour under a power cut at every point, sampled: every so many places of a few golden runs that differ in kind.

All places of one seed take minutes: `understudy simulate scenarios/ticket_tour.py --strategy crash-points`.
"""

from __future__ import annotations

import pytest
from understudy_sim.kernel.choices import Overrides
from understudy_sim.stage.application import Application
from understudy_sim.stage.run import run_seed
from understudy_sim.stage.script import load_scenario
from understudy_sim.stage.silence import silent
from understudy_sim.stage.strategies.everywhere import ORDERS, CrashPoints
from understudy_sim.stage.strategies.port import Scope
from understudy_sim.stage.variation import Variation

from tests.scenarios.small_tour import CALLS, EXCHANGES, SCRIPT, SEED, SNAPSHOTS

SAMPLES = 35
IN_BYTES: Overrides = {("plan/bytes", None): 999, ("plan/registered", None): 0, ("plan/hop/client", None): 1}
KINDS: dict[str, Overrides] = {"exchanges": EXCHANGES, "with snapshots": SNAPSHOTS, "in bytes": IN_BYTES}


@pytest.mark.parametrize("kind", KINDS)
def test_the_tour_survives_a_power_cut_at_any_point(kind: str) -> None:
    scenario = load_scenario(SCRIPT)
    variation = Variation(calls=CALLS, overrides=KINDS[kind])
    strategy = CrashPoints("crash-points", Scope(scenario=scenario, first_seed=SEED, variation=variation))
    cuts = []
    while trials := strategy.trials(60):
        cuts += [one for one in trials if one.variation.crash_at is not None]
    assert len(cuts) > 700, "a tour has many places"
    application = Application(scenario.app)
    sampled = cuts[:: len(cuts) // SAMPLES]
    with silent():
        for trial in sampled:
            report = run_seed(scenario, application, trial.seed, trial.variation)
            strategy.told(trial, report)
            assert report.firings, f"nobody was cut: {trial.variation.crash_at}"
            assert not report.failed, f"{trial.variation.crash_at}: {report.stories}"
    assert len({one.variation.crash_at.point for one in sampled if one.variation.crash_at}) >= 5, "points of all kinds"
    assert ORDERS >= 20, "with fewer orders an outcome is wrong only because nobody looked"
