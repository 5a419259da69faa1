"""Short runs of `kill_nine`, in one process and in two, and proof that its verdict can fail and that it ends."""

from __future__ import annotations

import attrs
import pytest

from tests.live.kill_nine import Options, run
from tests.live.log_reading import judge
from tests.live.processes import Role, WillNotRun
from tests.live.trimmed_reading import judge_trimmed


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    data = tmp_path_factory.mktemp("kill-nine") / "data"
    return data, *run(Options(kills=2, clients=30, seats=60, seed=2), data)


def test_what_survives_two_kills_holds(played):
    _, verdict, figures = played
    assert verdict.broken == []
    assert figures["lives"] == {"dev": 3}
    assert figures["charges"] > 0
    assert verdict.hits["P12 acknowledgements looked up"] >= figures["calls"]
    assert verdict.hits["P8 restarts with work left"] >= 1
    assert verdict.hits["P3 step results recorded"] > 0


def test_a_customer_who_was_told_otherwise_is_noticed(played):
    data, verdict, _ = played
    asked = next(entry for entry in verdict.history.asked if entry.answer.status == 200)
    asked.answers.append(asked.answers[-1].__class__(0, 200, b'"never said"', asked.answers[-1].invocation_id, ""))
    try:
        again = judge(data, verdict.history, verdict.payments, verdict.mails, ["seat-1"], 2, {})
    finally:
        asked.answers.pop()
    assert any("P12" in text for text in again.broken)
    assert any("P4" in text for text in again.broken)


@pytest.mark.parametrize("http_11", [0, 1])
def test_what_survives_accidents_of_server_and_endpoint_holds(tmp_path, http_11):
    options = Options(
        form="pair", http_11=http_11, kills=1, endpoint_kills=1, both_kills=1, stops=2, clients=20, seats=40, seed=3
    )
    verdict, figures = run(options, tmp_path / "data")
    assert verdict.broken == []
    assert sum(figures["lives"].values()) == 2 + 1 + 1 + 2 + 2
    assert figures["charges"] > 0
    assert verdict.hits["P8 restarts with work left"] >= 1


def test_a_server_that_trims_its_log_all_the_while_forgets_nothing(tmp_path):
    options = Options(form="pair", kills=2, stops=1, clients=15, seats=30, seed=4, snapshot_kib=8)
    verdict, figures = run(options, tmp_path / "data")
    assert verdict.broken == []
    assert verdict.hits["records trimmed"] > 0
    assert verdict.hits["P12 acknowledgements looked up"] >= figures["calls"]
    asked = next(entry for entry in verdict.history.asked if entry.answer.status == 200)
    told = attrs.evolve(asked.answers[-1], body=b'"never said"')
    asked.answers.append(told)
    again = judge_trimmed(tmp_path / "data", verdict.history, verdict.payments, verdict.mails, ["seat-1"], 3, {})
    assert any("P12" in text for text in again.broken)


async def never() -> bool:
    return False


async def test_a_process_that_does_not_come_up_ends_the_run_with_what_it_said(tmp_path):
    role = Role("dev", ["dev", "nowhere:app"], tmp_path, never, {})
    with pytest.raises(WillNotRun, match="no module 'nowhere'"):
        await role.start()
