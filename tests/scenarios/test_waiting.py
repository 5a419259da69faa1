"""The scenarios of waiting: for a lock, a promise, an answer, a time, a slot.  A few seeds; a search runs more."""

from __future__ import annotations

import pytest
from understudy_sim import Stage, faults, scenario
from understudy_sim.stage.script import load_scenario
from understudy_sim.stage.search import run_seeds
from understudy_sim.stage.variation import AS_DRAWN, Variation

from scenarios.account import ACCOUNTS, account_model, workload

SEEDS = range(70, 73)
NAMES = (
    "account",
    "approval",
    "deadlock",
    "deadlock_refused",
    "doorbell",
    "fan_out",
    "notebook",
    "promise_race",
    "reminders",
)
# All but the offices, whose answers say nothing of what is on their desks, have objects with a model.
UNMODELLED = ("deadlock", "deadlock_refused")


@pytest.mark.parametrize("name", NAMES)
def test_it_holds_and_does_something(name: str) -> None:
    seen: dict[str, bool] = {}
    for report in run_seeds(load_scenario(f"scenarios/{name}.py"), SEEDS, AS_DRAWN):
        assert not report.failed, (report.seed, report.stories)
        assert report.invocations >= 5
        seen = {what: seen.get(what, False) or it for what, it in report.sometimes.items()}
        assert ("P11 operations put in order" in report.hits) is (name not in UNMODELLED)
        assert "P11 history undecided" not in report.happened
    assert sum(seen.values()) * 2 >= len(seen), f"{SEEDS} see too little: {seen}"


@scenario(app="tests.scenarios.forgetful_account:app", workload=workload)
async def forgetful(stage: Stage) -> None:
    stage.linearizable("Account", account_model, initial=0)
    await stage.play()


def test_a_reader_that_remembers_too_long_is_caught() -> None:
    """Without any fault, and though all that is committed is right."""
    broken = [
        violation
        for report in run_seeds(forgetful, range(6), Variation(faults=faults.none()))
        for violation in report.violations
    ]
    told = [one.what for one in broken if one.claim == "P11 objects are linearizable"]
    assert any(f"operations on Account/{ACCOUNTS[0]}" in what and "balance() for" in what for what in told)
