"""One golden tour, and a power cut at every durable write of it: before the sync takes effect, and right after."""

from __future__ import annotations

import pytest
from understudy_sim import faults
from understudy_sim.kernel.choices import SeededChoices
from understudy_sim.stage.application import Application
from understudy_sim.stage.operations import Call
from understudy_sim.stage.report import Report
from understudy_sim.stage.run import Variation, run_choices
from understudy_sim.stage.script import load_scenario
from understudy_sim.stage.silence import silent

SEED = 5
CALLS = (
    Call(client="ann", service="CartObject", key="ann", handler="addTicket", argument="seat-1"),
    Call(client="bob", service="CartObject", key="bob", handler="addTicket", argument="seat-1"),
    Call(client="bob", service="CartObject", key="bob", handler="addTicket", argument="seat-2"),
    Call(client="ann", service="CartObject", key="ann", handler="checkout"),
)
PIECES = 4


def golden(crash_at_sync: tuple[int, str] | None = None) -> Report:
    variation = Variation(faults=faults.none(), crash_at_sync=crash_at_sync)
    scenario = load_scenario("scenarios/ticket_tour.py")
    return run_choices(scenario, Application(scenario.app), SeededChoices(SEED), SEED, variation, CALLS)


@pytest.mark.parametrize("piece", range(PIECES))
def test_the_tour_survives_a_power_cut_at_every_sync(piece: int) -> None:
    with silent():
        undisturbed = golden()
        assert not undisturbed.failed
        assert undisturbed.syncs >= 30, "a tour writes"
        for ordinal in range(1 + piece, undisturbed.syncs + 1, PIECES):
            for phase in ("before", "after"):
                report = golden((ordinal, phase))
                assert report.firings, f"nobody crashed {phase} sync {ordinal}"
                assert not report.failed, f"{phase} sync {ordinal}: {report.stories}"
