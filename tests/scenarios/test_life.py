"""The whole life of an invocation, rehearsed: each scenario holds for a few seeds, and gets where it is to get."""

from __future__ import annotations

import pytest
from understudy_sim.stage.script import load_scenario
from understudy_sim.stage.search import run_seeds
from understudy_sim.stage.variation import AS_DRAWN

# The scenario, how many seeds, and what is seen in that many already.
HELD = {
    "trip": (8, ("a trip was booked", "a trip was cancelled half way")),
    "render_farm": (8, ("a film was delivered", "a film was killed", "a killed body went on", "a preview was killed")),
    "report": (10, ("one looked too early", "an auditor found nothing", "a handler joined")),
    "repairs": (6, ("a part was beyond repair", "a guarantee was given before", "a complaint was called off")),
    "power_cuts": (6, ("a seat was sold", "a reservation expired")),
    "night_watch": (6, ("a page was given up", "he dozed off twice")),
    "turnstile": (6, ("a page was full",)),
    "parcels": (8, ("a parcel was paused", "an operator resumed it", "a message was given up")),
    "graceful_stop": (10, ("a job was asked once and finished", "a job was stopped")),
    "order_upgrade": (8, ("an order ended on version 1 after an upgrade", "an order was parked")),
}
# Scenarios that are scripts, or several to a file.
SCRIPTED = (
    "held_sync.py",
    "interleavings.py::completed_while_it_restarts",
    "interleavings.py::who_is_let_go_first",
    "interleavings.py::on_its_way_to_another_partition",
    "transfers.py::transfers",
)


@pytest.mark.parametrize("name", HELD)
def test_it_holds_and_gets_there(name: str) -> None:
    seeds, wanted = HELD[name]
    seen: dict[str, int] = {}
    for report in run_seeds(load_scenario(f"scenarios/{name}.py"), range(seeds), AS_DRAWN):
        assert not report.failed, report.stories
        for what, is_seen in report.sometimes.items():
            seen[what] = seen.get(what, 0) + is_seen
    assert [what for what in wanted if not seen[what]] == []


@pytest.mark.parametrize("name", SCRIPTED)
def test_what_is_scripted_holds(name: str) -> None:
    for report in run_seeds(load_scenario(f"scenarios/{name}"), range(4), AS_DRAWN):
        assert not report.failed, report.stories


def test_transfers_in_a_hurry_are_caught() -> None:
    reports = list(run_seeds(load_scenario("scenarios/transfers.py::hurried"), range(6), AS_DRAWN))
    assert any(report.failed for report in reports)


def test_trips_nobody_takes_back_are_caught() -> None:
    reports = list(run_seeds(load_scenario("scenarios/trip_careless.py"), range(3), AS_DRAWN))
    broken = {violation.claim for report in reports for violation in report.violations}
    assert broken == {"a trip is booked as a whole or not at all", "the offers know what is booked"}
