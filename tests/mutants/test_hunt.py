"""A sample of the planted bugs is caught, in fresh processes; `understudy mutate` hunts them all."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner, Result
from understudy_sim.cli.mutate import mutate
from understudy_sim.mutants.apart import HuntFailed, hunt_apart
from understudy_sim.mutants.catalogue import MUTANTS, mutant_by_id
from understudy_sim.mutants.edit import Edit, Mutant
from understudy_sim.mutants.hunt import (
    NEVER_ENDED,
    Catch,
    Hunt,
    Task,
    ended,
    hunt_from_json,
    hunt_to_json,
    median_seeds,
    task_from_json,
    task_to_json,
)
from understudy_sim.mutants.matrix import Bounds, Kept, run_matrix, tasks_of
from understudy_sim.mutants.table import line, page, summary_of


def _task(mutant_id: str, seeds_max: int, faults: str = "") -> Task:
    mutant = mutant_by_id(mutant_id)
    return Task(mutant=mutant, scenarios=(mutant.scenario,), strategy="random", seeds_max=seeds_max, faults=faults)


@pytest.mark.parametrize(("mutant_id", "seeds_max"), [("F1", 10), ("C1", 40), ("T2", 60)])
def test_a_planted_bug_is_caught(mutant_id: str, seeds_max: int) -> None:
    hunt = hunt_apart(_task(mutant_id, seeds_max))
    assert hunt.catch is not None
    assert hunt.catch.claims
    assert hunt.catch.seeds == hunt.seeds


def test_a_bug_that_needs_a_fault_is_invisible_without() -> None:
    assert hunt_apart(_task("T2", 10, "none")).catch is None


def test_a_run_that_never_ends_is_stopped_and_counts_as_caught() -> None:
    spins = Mutant(
        id="Z1",
        group="Z",
        module="understudy_sim.stage.plan",
        before="def draw_plan(choices: Choices, faults: FaultSet) -> Plan:\n",
        after="def draw_plan(choices: Choices, faults: FaultSet) -> Plan:\n    while True:\n        pass\n",
        why="it hangs where no scheduler sees it",
        needs=("workload",),
    )
    hunt = hunt_apart(Task(mutant=spins, scenarios=(spins.scenario,), seeds_max=3), run_seconds_max=6)
    assert hunt.catch is not None
    assert hunt.catch.claims == (NEVER_ENDED,)


def test_a_hunt_that_fails_by_itself_says_what_its_process_said() -> None:
    gone = Task(mutant=None, scenarios=("scenarios.nowhere:nothing",), seeds_max=1)
    with pytest.raises(HuntFailed, match="No module named"):
        hunt_apart(gone)


def test_values_cross_processes() -> None:
    task = _two_edits()
    assert task_from_json(task_to_json(task)) == task
    catch = Catch(seeds=4, seconds=0.5, scenario="tour", seed=3, claims=("P7", "P5"), what="it differs")
    for hunt in (ended(task, 4, 0.5, catch), ended(task, 9, 1.0)):
        assert hunt_from_json(hunt_to_json(hunt)) == hunt


def _two_edits() -> Task:

    mutant = attrs.evolve(mutant_by_id("F1"), also=(Edit("understudy.vm.vm", "before", "after"),))
    return Task(mutant=mutant, scenarios=("a:b", "c:d"), first_seed=7)


def _hunt(mutant_id: str, seeds: int | None, first_seed: int = 0) -> Hunt:
    task = Task(mutant=mutant_by_id(mutant_id), scenarios=(mutant_by_id(mutant_id).scenario,), first_seed=first_seed)
    if seeds is None:
        return ended(task, 1_000, 60.0)
    catch = Catch(seeds=seeds, seconds=0.5, scenario="tour", seed=seeds, claims=("P7", "P5"), what="it differs")
    return ended(task, seeds, 0.5, catch)


def test_the_page_says_who_caught_what() -> None:
    mutant = MUTANTS[0]
    hunts = [_hunt(mutant.id, seeds, at) for at, seeds in enumerate((4, None, 6, 4, None))]
    assert median_seeds(hunts) == 6
    text = page([mutant], hunts, 200)
    assert "6 (4–6)" in text
    assert "3 of 5" in text
    assert "P7 (also P5)" in text
    assert summary_of(hunts)["portfolio"]["percent"] == 60.0
    assert len(line(hunts[0])) <= 100


def test_a_mutant_most_hunts_miss_has_no_median() -> None:
    hunts = [_hunt(MUTANTS[0].id, seeds, at) for at, seeds in enumerate((4, None, None))]
    assert median_seeds(hunts) is None
    text = page([MUTANTS[0]], [_hunt(MUTANTS[0].id, None)], 10)
    assert "nobody" in text
    assert f"- {MUTANTS[0].id}: " in text


def test_a_matrix_goes_on_where_it_was_and_gives_the_missed_more_time(tmp_path: Path) -> None:
    asked: list[tuple[str, float]] = []

    def hunt(task: Task) -> Hunt:
        asked.append((task.mutant_id, task.seconds_max))
        if task.mutant_id == "F1":
            return _hunt("F1", 3)
        if task.mutant_id == "C1":
            raise HuntFailed("it broke")
        return ended(task, 5, task.seconds_max)

    bounds = Bounds(seconds=50)
    mutants = [mutant_by_id(id_) for id_ in ("F1", "C1", "D1")]
    tasks = tasks_of(mutants, strategies=("portfolio",), first_seeds=(0,), everywhere=False, bounds=bounds)
    file = tmp_path / "kept.jsonl"
    failures = run_matrix(tasks, bounds, Kept(file), lambda _: None, hunt)
    assert asked == [("F1", 20.0), ("C1", 20.0), ("D1", 20.0), ("D1", 50)]
    assert failures == ["it broke"]
    asked.clear()
    run_matrix(tasks, bounds, Kept(file), lambda _: None, hunt)
    assert asked == [("C1", 20.0)]


def test_no_hunt_begins_when_time_is_up() -> None:
    bounds = Bounds(minutes=1e-9)
    tasks = tasks_of(MUTANTS[:3], strategies=("portfolio",), first_seeds=(0,), everywhere=False, bounds=bounds)
    assert run_matrix(tasks, bounds, Kept(None), lambda _: None, lambda task: _hunt(task.mutant_id, 1)) == []


# --- the command --------------------------------------------------------------------------------------------------


def _run(*args: str) -> Result:
    return CliRunner().invoke(mutate, list(args), catch_exceptions=False)


def test_the_command_hunts_one_mutant_and_ends_with_json(tmp_path: Path) -> None:
    page_file = tmp_path / "page.md"
    result = _run("F1", "--seeds", "5", "--json", "--page", str(page_file))
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.strip().splitlines()[-1])
    assert found["summary"]["portfolio"]["found"] == 1
    assert found["hunts"][0]["mutant_id"] == "F1"
    assert all(len(text) <= 100 for text in result.stdout.splitlines()[:5])
    assert "| F1 |" in page_file.read_text()


def test_a_mutant_that_is_not_found_is_1_and_a_clean_product_0() -> None:
    assert _run("T2", "--seeds", "1", "--faults", "none").exit_code == 1
    result = _run("clean", "--seeds", "2")
    assert result.exit_code == 0, result.output
    assert "clean: 0 false alarms in 2 runs" in result.stdout


def test_mutants_of_ones_own_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from understudy_sim.mutants.edit import Mutant\n"
        "MUTANTS = [Mutant(id='Y1', group='Y', module='understudy_runtime.machine.attempts', needs=('workload',),\n"
        "    before='    if is_resolvable(invocation, suspend):\\n        resume(turn, invocation)\\n',\n"
        "    after='', why='nobody looks')]\n"
    )
    result = _run("--from", str(file), "--everywhere", "--seeds", "9")
    assert result.exit_code == 0, result.output
    assert "Y1" in result.stdout


def test_usage_errors_name_what_there_is(tmp_path: Path) -> None:
    assert "there are: A1" in _run("nothing").output
    assert "A exactly once" in _run("--family", "none of them").output
    empty = tmp_path / "empty.py"
    empty.write_text("")
    assert "has no MUTANTS" in _run("--from", str(empty)).output
    broken = tmp_path / "broken.py"
    broken.write_text("def f(:\n")
    assert "broken.py cannot be imported: SyntaxError" in _run("--from", str(broken)).output
    assert "broken.py is no file of hunts" in _run("F1", "--kept", str(broken)).output
    assert "there is no folder" in _run("F1", "--page", str(tmp_path / "no" / "page.md")).output
    nothing = _run("F1", "--faults", "gremlin")
    assert (nothing.exit_code, "there is no fault 'gremlin'" in nothing.output) == (2, True)
    listed = _run("--list", "--family", "E").stdout
    assert "E1" in listed
    assert "A2" not in listed


def test_there_are_enough_of_enough_kinds() -> None:
    assert len(MUTANTS) >= 12
    assert len({mutant.group for mutant in MUTANTS}) >= 6
    assert sum(mutant.invisible and mutant.needs_a_fault for mutant in MUTANTS) >= 8
