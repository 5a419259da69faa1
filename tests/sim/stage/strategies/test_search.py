"""Searches: what ends them, that many workers see what one sees, that a file takes a search up where it was left."""

from __future__ import annotations

import importlib
import json
import linecache
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import pytest
from understudy_sim.stage import faults
from understudy_sim.stage.application import Application
from understudy_sim.stage.resume import OURS, ForeignFile, header_of, product_digest
from understudy_sim.stage.script import load_scenario
from understudy_sim.stage.search import Search, Summary, search
from understudy_sim.stage.strategies.port import Scope
from understudy_sim.stage.variation import Variation

from tests.sim.stage.strategies.conftest import TINY

WAREHOUSE = """
import understudy
import shelf
from understudy import Context, Service

store = Service("Store")

@store.handler()
async def places(ctx: Context) -> int:
    return shelf.PLACES

app = understudy.app(services=[store], version="1")
"""
NAIVE = "scenarios/ticket_tour_naive.py"


def searched(wanted: Search, executor: Executor | None = None) -> Summary:
    return search(wanted, lambda _: None, executor)


def compared(summary: Summary) -> dict[str, Any]:
    """Everything a search is judged by, but for its speed."""
    found = summary.as_json(1.0)
    return {name: value for name, value in found.items() if not name.startswith("second")}


class Inline(Executor):
    """An executor that does everything at once, where it is asked."""

    submitted = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.submitted += 1
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


# What ends a search


def test_all_seeds_are_run() -> None:
    summary = searched(Search(script=TINY, seeds=7))
    assert summary.seeds == 7
    assert summary.ended == "7 seeds are run"
    assert searched(Search(script=TINY)).seeds == 3, "the scenario's own number"


def test_quiet_ends_a_search_that_has_no_number_of_seeds() -> None:
    summary = searched(Search(script=TINY, until_quiet=6))
    assert summary.ended == "no new cell in 6 runs"
    assert summary.quiet == 6
    assert summary.covered[-7:] == [summary.cells.bit_count()] * 7
    assert summary.new_in(6) == 0
    assert summary.new_in(10_000) == summary.cells.bit_count()


def test_quiet_is_not_waited_for_beyond_the_number_of_seeds() -> None:
    assert searched(Search(script=TINY, seeds=4, until_quiet=4)).seeds == 4


def test_time_ends_a_search() -> None:
    summary = searched(Search(script=TINY, seconds=0.000_001))
    assert summary.seeds == 1
    assert summary.ended == "1e-06 s are over"


def test_a_broken_claim_ends_a_search_where_that_is_wanted() -> None:
    summary = searched(Search(script=NAIVE, seeds=20, stop_at_failure=True, variation=Variation(faults=faults.none())))
    assert summary.ended == "a claim broke"
    assert summary.failures[-1].failed
    assert summary.seeds < 20


def test_an_exhaustive_strategy_needs_no_number_of_seeds() -> None:
    summary = searched(Search(script=TINY, first_seed=2, strategy="delays", runs=20))
    assert summary.seeds == 20
    assert summary.ended == "20 runs are made"
    assert "with 2 deviations" in summary.left or "with 1 deviations" in summary.left


# Who works


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return compared(searched(Search(script=TINY, seeds=11)))


def test_many_jobs_see_what_one_sees(alone: dict[str, Any]) -> None:
    assert compared(searched(Search(script=TINY, seeds=11, jobs=2))) == alone


def test_an_executor_sees_what_one_process_sees_and_stays_open(alone: dict[str, Any]) -> None:
    executor = Inline()
    assert compared(searched(Search(script=TINY, seeds=11), executor)) == alone
    assert executor.submitted == 3, "tasks of a few seeds each"
    assert executor.submit(int).result() == 0


def test_threads_take_turns(alone: dict[str, Any]) -> None:
    with ThreadPoolExecutor(3) as executor:
        assert compared(searched(Search(script=TINY, seeds=11), executor)) == alone


def test_variations_do_not_depend_on_who_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guided trials follow from what was told, and small rounds are told alike."""
    monkeypatch.setattr("understudy_sim.stage.strategies.guided.PLAIN_FIRST", 8)
    monkeypatch.setattr("understudy_sim.stage.search.ROUND", 4)
    wanted = Search(script=TINY, strategy="guided", seeds=18)
    here, there = searched(wanted), searched(wanted, Inline())
    assert compared(here) == compared(there) == compared(searched(attrs.evolve(wanted, jobs=2)))
    assert here.varied > 5


def test_a_worker_that_fails_is_told_and_nothing_more_is_begun() -> None:
    waiting: Future[Any] = Future()
    gone: Future[Any] = Future()
    gone.set_exception(RuntimeError("the worker is gone"))
    futures = [gone, waiting]

    class Broken(Executor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            return futures.pop(0)

    with pytest.raises(RuntimeError, match="the worker is gone"):
        searched(Search(script=TINY, seeds=9), Broken())
    assert waiting.cancelled()


@pytest.fixture
def dask() -> Iterator[Executor]:
    """Two worker processes of Dask, by threads of its own that end with it."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as cluster:
        with distributed.Client(cluster) as client:
            yield client.get_executor()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_dask_sees_what_one_process_sees(dask: Executor, alone: dict[str, Any]) -> None:
    assert compared(searched(Search(script=TINY, seeds=11), dask)) == alone


# Files


def test_a_search_goes_on_where_its_file_ends(tmp_path: Path, alone: dict[str, Any]) -> None:
    file = tmp_path / "runs.jsonl"
    searched(Search(script=TINY, seeds=4, resume=file))
    executor = Inline()
    summary = searched(Search(script=TINY, seeds=11, resume=file), executor)
    assert compared(summary) == alone
    assert executor.submitted == 2, "seven runs were left"
    assert compared(searched(Search(script=TINY, seeds=11, resume=file), Inline())) == alone
    assert len(file.read_text().splitlines()) == 12


def test_a_failing_run_has_its_story_when_it_comes_from_a_file(tmp_path: Path) -> None:
    wanted = Search(script=NAIVE, seeds=2, resume=tmp_path / "x", variation=Variation(faults=faults.none()))
    first, again = searched(wanted), searched(wanted)
    assert first.failures
    assert again.failures == first.failures


def test_a_torn_line_is_cut_and_its_run_made_again(tmp_path: Path, alone: dict[str, Any]) -> None:
    file = tmp_path / "runs.jsonl"
    searched(Search(script=TINY, seeds=5, resume=file))
    whole = file.read_bytes()
    file.write_bytes(whole[:-40])
    assert compared(searched(Search(script=TINY, seeds=11, resume=file))) == alone
    assert file.read_bytes().startswith(whole)


@pytest.mark.parametrize("keep", [0, 10])
def test_a_file_that_was_cut_in_its_first_line_begins_anew(keep: int, tmp_path: Path, alone: dict[str, Any]) -> None:
    file = tmp_path / "runs.jsonl"
    searched(Search(script=TINY, seeds=1, resume=file))
    file.write_bytes(file.read_bytes()[:keep])
    assert compared(searched(Search(script=TINY, seeds=11, resume=file))) == alone


def test_a_file_of_another_search_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    wanted = Search(script=TINY, seeds=1, resume=file)
    searched(wanted)
    for other, told in (
        (attrs.evolve(wanted, first_seed=5), "it begins at another seed"),
        (attrs.evolve(wanted, strategy="fifo"), "another strategy"),
        (attrs.evolve(wanted, variation=Variation(faults=faults.everything())), "its runs have other faults"),
        (attrs.evolve(wanted, script="tests/sim/stage/cut_app.py"), "another script"),
    ):
        before = file.read_bytes()
        with pytest.raises(ForeignFile, match=told) as error:
            searched(other)
        assert "delete this one to begin anew" in str(error.value)
        assert file.read_bytes() == before, "a foreign file is left as it is"


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("product", "understudy itself has changed since"),
        ("sources", "the script, its application or what they import has changed since"),
        ("installed", "another Python or other installed packages"),
    ],
)
def test_a_file_of_other_code_is_refused(field: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    wanted = Search(script=TINY, seeds=1, resume=file)
    searched(wanted)
    header, *lines = file.read_text().splitlines(keepends=True)
    file.write_text(json.dumps({**json.loads(header), field: "old"}) + "\n" + "".join(lines))
    with pytest.raises(ForeignFile, match=told):
        searched(wanted)


@pytest.mark.parametrize("package", [one.__name__ for one in OURS])
def test_any_module_of_ours_that_was_changed_is_another_product(package: str, tmp_path: Path) -> None:
    root = Path(importlib.import_module(package).__file__ or "").parent
    copies = [tmp_path / "one", tmp_path / "two"]
    for copy in copies:
        shutil.copytree(root, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = product_digest([root])
    assert [before, before] == [product_digest([copy]) for copy in copies]
    files = sorted(copies[1].rglob("*.py"))
    with files[len(files) // 2].open("a") as file:
        file.write("# changed\n")
    assert product_digest([copies[1]]) != before
    files = sorted(copies[0].rglob("*.py"))
    files[-1].rename(files[-1].with_stem("renamed"))
    assert product_digest([copies[0]]) != before


def test_a_script_or_what_it_imports_that_was_changed_is_other_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shelf.py").write_text("PLACES = 3\n")
    (tmp_path / "warehouse.py").write_text(WAREHOUSE)
    script = "from understudy_sim import scenario\n@scenario(app='warehouse:app')\nasync def stocked(stage): ...\n"
    (tmp_path / "stocked.py").write_text(script)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def sources() -> str:
        for name in ("stocked", "shelf", "warehouse"):
            sys.modules.pop(name, None)
        linecache.checkcache()
        importlib.invalidate_caches()
        scenario = load_scenario("stocked.py")
        return header_of("stocked.py", "fifo", Scope(scenario=scenario), Application(scenario.app)).sources

    seen = [sources()]
    assert seen == [sources()]
    for name in ("shelf", "warehouse", "stocked"):
        with (tmp_path / f"{name}.py").open("a") as file:
            file.write("# changed\n")
        seen.append(sources())
    assert len(set(seen)) == 4


def test_a_search_of_a_guest_is_taken_up_again(tmp_path: Path) -> None:
    """It has no fingerprint of ours."""
    wanted = Search(script="scenarios/ticket_tour_official.py", seeds=1, resume=tmp_path / "x")
    first = searched(wanted)
    assert compared(searched(wanted)) == compared(first)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hello", "is no file of a search"),
        ("hello\n", "is no file of a search"),
        ("a page\nwhose last line has no end", "is no file of a search"),
        ('{"precious": "and on one line"}', "is no file of a search"),
        ("[1]\n", "is no file of a search"),
        ('{"format": 99}\n', r"written by another version of this program \(format: 99 there, 2 here\)"),
    ],
)
def test_what_is_no_file_of_a_search_is_refused(text: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text(text)
    with pytest.raises(ForeignFile, match=told):
        searched(Search(script=TINY, seeds=1, resume=file))
    assert file.read_text() == text


def test_what_cannot_be_read_or_made_is_told(tmp_path: Path) -> None:
    binary = tmp_path / "picture"
    binary.write_bytes(bytes(range(256)))
    with pytest.raises(ForeignFile, match="is no file of a search"):
        searched(Search(script=TINY, seeds=1, resume=binary))
    with pytest.raises(ForeignFile, match="cannot be used: No such file or directory"):
        searched(Search(script=TINY, seeds=1, resume=tmp_path / "nowhere" / "runs.jsonl"))


@pytest.mark.parametrize("damage", ["{}", '{"seed": 1, "variation": "", "report": {"seed": "x"}}', "garbage"])
def test_a_damaged_line_is_told_by_its_number(damage: str, tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    wanted = Search(script=TINY, seeds=3, resume=file)
    searched(wanted)
    lines = file.read_text().splitlines()
    lines[2] = damage
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(ForeignFile, match="line 3"):
        searched(wanted)


def test_runs_in_another_order_are_told_by_the_line_of_the_first(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    wanted = Search(script=TINY, seeds=3, resume=file)
    searched(wanted)
    header, first, second, third = file.read_text().splitlines(keepends=True)
    file.write_text(header + first + third + second)
    with pytest.raises(ForeignFile, match=r"line 3: a run of seed 2 .* was found, one of seed 1 .* was expected"):
        searched(wanted)
