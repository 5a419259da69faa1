"""The tours as a user runs them: the careful one holds, the careless one is caught and its bug can be read off."""

from __future__ import annotations

from understudy_sim.stage.script import load_scenario
from understudy_sim.stage.search import Search, run_seeds, search
from understudy_sim.stage.variation import AS_DRAWN

SEEDS = 32
# What must happen in that share of the seeds (in a quarter of 200: there is room for a few dozen's luck).
SHARES = {
    "snapshot written": 0.3,
    "log trimmed": 0.3,
    "started from a snapshot": 0.15,
    "upgraded": 0.05,
}


def test_the_tour_holds_and_does_enough_in_every_seed() -> None:
    seeds_of: dict[str, int] = {}
    for report in run_seeds(load_scenario("scenarios/ticket_tour.py"), range(SEEDS), AS_DRAWN):
        assert not report.failed, report.stories
        assert report.invocations >= 20
        assert report.hits["P7 records compared"] > 50
        for what in report.happened:
            seeds_of[what] = seeds_of.get(what, 0) + 1
    for what, share in SHARES.items():
        assert seeds_of.get(what, 0) >= share * SEEDS, f"{what} in {seeds_of.get(what, 0)} of {SEEDS} seeds"


def test_the_careless_tour_is_caught_with_its_line() -> None:
    summary = search(
        Search(script="scenarios/ticket_tour_naive.py", first_seed=0, seeds=20, stop_at_failure=True), lambda _: None
    )
    assert summary.failures
    told = "\n".join(violation.what for violation in summary.failures[0].violations)
    assert "ticket_tour_naive.py" in told
    assert "uuid" in told


def test_a_search_does_not_depend_on_how_many_work() -> None:
    digests = {
        jobs: search(
            Search(script="scenarios/ticket_tour.py", first_seed=100, seeds=6, jobs=jobs), lambda _: None
        ).digest
        for jobs in (1, 2)
    }
    assert digests[1] == digests[2]
