"""Hypothesis draws the operations and the fault plan of a rehearsal: what it finds, it shrinks."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from understudy_sim.kernel.choices import DrawnChoices, SeededChoices
from understudy_sim.stage.application import Application
from understudy_sim.stage.run import run_choices
from understudy_sim.stage.script import load_scenario
from understudy_sim.stage.silence import silent


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), seed=st.integers(0, 2**16))
def test_the_tour_holds_whatever_hypothesis_draws(data: st.DataObject, seed: int) -> None:
    scenario = load_scenario("scenarios/ticket_tour.py")
    with silent():
        report = run_choices(scenario, Application(scenario.app), SeededChoices(seed), seed, outline=DrawnChoices(data))
    assert not report.failed, report.stories
