"""The commands' contract: exit codes, what bad usage says, the JSON line, and that a replay is the same run."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from understudy_sim.cli.replay import replay
from understudy_sim.cli.shrink import shrink
from understudy_sim.cli.simulate import simulate
from understudy_sim.stage.shrunk_file import load_fixed

TOUR = "scenarios/ticket_tour.py"
NAIVE = "scenarios/ticket_tour_naive.py"
TINY = "tests/sim/stage/strategies/tiny.py"
SCRIPT = """from understudy_sim import scenario
@scenario({arguments})
async def {name}(stage): await stage.play()
"""
KEYS = {
    "seeds",
    "failed",
    "failing_seeds",
    "seconds",
    "seeds_per_second",
    "virtual_seconds",
    "invocations",
    "attempts",
    "steps",
    "faults",
    "happened",
    "sometimes",
    "byte_share",
    "digest",
    "varied",
    "failing_variations",
    "schedules",
    "cells",
    "cells_digest",
    "quiet",
    "ended",
    "not_judged",
}


def run(command: Any, *args: str) -> Result:
    return CliRunner().invoke(command, list(args), catch_exceptions=False)


def last_json(result: Result) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(result.stdout.strip().splitlines()[-1])
    return line


def test_all_claims_hold_is_0_and_the_last_line_is_json() -> None:
    result = run(simulate, TOUR, "--seeds", "2", "--json")
    assert result.exit_code == 0, result.output
    found = last_json(result)
    assert set(found) == KEYS
    assert found["seeds"] == 2
    assert found["failed"] == 0
    assert all(set(row) == {"seeds", "fired", "bit"} for row in found["faults"].values())


def test_a_broken_claim_is_1_and_0_when_it_was_expected() -> None:
    result = run(simulate, NAIVE, "--seeds", "1", "--faults", "none")
    assert result.exit_code == 1
    assert "ticket_tour_naive.py:" in result.stdout
    assert "understudy replay scenarios/ticket_tour_naive.py --seed 0x0 --faults none" in result.stdout
    expected = run(simulate, NAIVE, "--seeds", "1", "--expect-failure")
    assert expected.exit_code == 0
    wrong = run(simulate, TOUR, "--seeds", "1", "--expect-failure")
    assert wrong.exit_code == 1


@pytest.mark.parametrize("seed", ["7", "0x7"])
def test_a_replay_has_the_digest_of_the_search(seed: str) -> None:
    searched = last_json(run(simulate, TOUR, "--seed", seed, "--json"))
    replayed = last_json(run(replay, TOUR, "--seed", seed, "--json"))
    assert searched["digest"] == replayed["digest"]
    assert searched["steps"] == replayed["steps"]


def test_a_replay_can_stop_at_a_step() -> None:
    result = run(replay, TOUR, "--seed", "7", "--until", "200", "--json")
    assert result.exit_code == 0
    assert last_json(result)["steps"] == 200
    assert last_json(result)["failed"] == 0
    assert "ServerProcess._main waits in" in result.output, "the server is among those who wait"


def test_a_replay_says_that_a_place_was_never_passed() -> None:
    place = '{"faults":[],"crash_at":{"process":"%s","point":"disk.sync","nth":1}}'
    assert "nobody lost power" not in run(replay, TOUR, "--seed", "7", "--variation", place % "server").output
    wrong = run(replay, TOUR, "--seed", "7", "--variation", place % "sever")
    assert "nobody lost power: before disk.sync number 1 of sever was never passed" in wrong.output


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["no/such/file.py"], "there is no file"),
        (["scenarios/providers.py"], "has no scenario"),
        ([TOUR, "--seed", "seven"], "is not a seed"),
        ([TOUR, "--seed", "-1"], "is not a seed"),
        ([TOUR, "--faults", "gremlins"], "there is no fault 'gremlins'"),
        ([TOUR, "--seeds", "0"], "0"),
        ([TOUR, "--seed", "1", "--seeds", "3"], "--seed runs one seed"),
        ([f"{TOUR}::nothing"], "no scenario named 'nothing'"),
        (["README.md"], "is no Python file"),
        ([TOUR, "--strategy", "luck"], "'portfolio'"),
        ([TOUR, "--seeds", "1", "--resume", "README.md"], "README.md is no file of a search"),
        ([TOUR, "--resume", "{tmp}/no/runs.jsonl"], "there is no folder '{tmp}/no'"),
        ([TOUR, "--output", "{tmp}/no/run.py"], "there is no folder '{tmp}/no'"),
        ([TOUR, "--html", "{tmp}/no/run.html"], "there is no folder '{tmp}/no'"),
        ([TOUR, "--strategy", "crash-points", "--faults", "all"], "leave out --faults"),
        (["{tmp}/shop/tour.py"], "run this from {tmp}, whose shop/ it looks for"),
        (["{tmp}/shop"], "'{tmp}/shop' is a folder: name the script in it"),
        (["{tmp}/shop/exits.py"], "ends the program when it is imported"),
        (["{tmp}/shop/nowhere.py"], "nowhere:app cannot be imported from "),
        (["{tmp}/shop/later.py"], "no.such:app cannot be imported from "),
        (["{tmp}/shop/odd.py"], "the workload of odd draws 1, of int: Call(...) was expected"),
        (["{tmp}/shop/fails.py"], "the plan and the operations of fails cannot be drawn: KeyError: 'x'"),
    ],
)
def test_bad_usage_is_2_and_says_what_was_wrong(args: list[str], said: str, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "tour.py").write_text("import shop.nothing\n")
    (folder / "exits.py").write_text("raise SystemExit(0)\n")
    tour = "app='scenarios.ticket_tour:app'"
    for name, arguments in {
        "nowhere": "app='nowhere:app'",
        "later": f"{tour}, later=['no.such:app']",
        "odd": f"{tour}, workload=lambda choices: [1]",
        "fails": f"{tour}, workload=lambda choices: dict()['x']",
    }.items():
        (folder / f"{name}.py").write_text(SCRIPT.format(name=name, arguments=arguments))
    result = run(simulate, *(arg.format(tmp=tmp_path) for arg in args))
    assert result.exit_code == 2
    assert said.format(tmp=tmp_path) in result.output
    assert "Traceback" not in result.output


def test_a_search_writes_the_smallest_run_that_it_found(tmp_path: Path) -> None:
    file = tmp_path / "small.py"
    result = run(simulate, NAIVE, "--seed", "1", "--faults", "none", "--output", str(file))
    assert result.exit_code == 1
    assert f"run it again with: python {file}" in result.stdout
    assert "Nearest run that holds:" in file.read_text()
    assert load_fixed(file).run().failed


def test_shrink_writes_a_file_that_replays(tmp_path: Path) -> None:
    file = tmp_path / "small.py"
    result = run(shrink, NAIVE, "--seed", "1", "--faults", "none", "--output", str(file), "--json")
    assert result.exit_code == 1
    assert len(last_json(result)["operations"]) <= 3
    again = run(replay, NAIVE, "--seed", "0", "--shrunk", str(file))
    assert again.exit_code == 1
    assert "ticket_tour_naive.py:" in again.stdout


def test_shrink_refuses_a_seed_that_holds(tmp_path: Path) -> None:
    result = run(shrink, TOUR, "--seed", "1", "--faults", "none", "--output", str(tmp_path / "x.py"))
    assert result.exit_code == 1
    assert "does not fail" in result.output


def test_replay_refuses_a_file_that_is_no_shrunk_run(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("small = None\n")
    result = run(replay, TOUR, "--seed", "1", "--shrunk", str(file))
    assert result.exit_code == 2
    assert "is no shrunk run" in result.output


def test_the_smallest_run_that_fails_is_written_as_a_page(tmp_path: Path) -> None:
    page = tmp_path / "run.html"
    result = run(simulate, NAIVE, "--seeds", "1", "--faults", "none", "--html", str(page))
    assert result.exit_code == 1
    assert f"the smallest run is in {page}" in result.stdout
    assert "P13 handler code is deterministic" in page.read_text(encoding="utf-8")


def test_a_failing_variation_is_replayed_by_the_line_that_is_printed() -> None:
    found = run(simulate, NAIVE, "--strategy", "fifo", "--seeds", "1", "--faults", "none", "--json")
    assert found.exit_code == 1
    line = next(line for line in found.stdout.splitlines() if line.startswith("  replay"))
    _, command, *arguments = shlex.split(line.partition("replay")[2])
    assert command == "replay"
    assert "--variation" in arguments
    again = run(replay, *arguments, "--json")
    assert again.exit_code == 1
    assert last_json(again)["digest"] == last_json(found)["digest"]


def test_a_failing_seed_is_told_with_what_it_drew_and_nothing_is_wider_than_a_terminal() -> None:
    found = run(simulate, NAIVE, "--seeds", "1", "--cells")
    assert all(f"\n  {name} " in found.stdout for name in ("drawn", "schedule", "trouble", "faults", "bounds"))
    told = found.stdout.partition("broken in")[0]
    assert max(map(len, told.splitlines())) <= 100


def test_a_search_can_be_taken_up_again(tmp_path: Path) -> None:
    file = str(tmp_path / "runs.jsonl")
    first = last_json(run(simulate, TINY, "--seeds", "3", "--resume", file, "--json"))
    whole = last_json(run(simulate, TINY, "--seeds", "6", "--resume", file, "--json"))
    assert (first["seeds"], whole["seeds"]) == (3, 6)
    assert whole["digest"] == last_json(run(simulate, TINY, "--seeds", "6", "--json"))["digest"]


def test_a_search_says_which_rule_ended_it() -> None:
    quiet = run(simulate, TINY, "--until-quiet", "4")
    assert "ended because no new cell in 4 runs" in quiet.stdout
    assert "ended because 2 seeds are run" in run(simulate, TINY, "--seeds", "2").stdout
