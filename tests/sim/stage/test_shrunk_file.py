"""A run written to a file is that run again, and the file says in Python what a person would."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from understudy_sim import Act, Attach, Call, Deploy, Deviation, PointCrash, Schedule, Settle, Strike, scenario_in
from understudy_sim.cli.shrink import shrink
from understudy_sim.cli.simulate import simulate
from understudy_sim.stage.fixed import Fixed, decision_key
from understudy_sim.stage.operations import Operation
from understudy_sim.stage.report import Report
from understudy_sim.stage.script import NoScenario
from understudy_sim.stage.shrunk_file import About, file_text, is_fixed, load_fixed

TOUR = "scenarios/ticket_tour.py"
RESERVE = Call(client="ann", service="CartObject", key="ann", handler="addTicket", argument="seat-1")
CRASH = Strike(kind="server_crash", on=("server",), at_ns=1_000_000_000)


@pytest.fixture(scope="module")
def report() -> Report:
    return scenario_in(TOUR).fixed(operations=[RESERVE], strikes=[CRASH]).run()


def written(fixed: Fixed, report: Report, about: About | None = None) -> str:
    return file_text(TOUR, fixed.scenario.name, fixed.trial, report, about or About())


def read(text: str, folder: Path) -> Fixed:
    file = folder / "small.py"
    file.write_text(text)
    assert is_fixed(file)
    return load_fixed(file)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.text(min_size=1, max_size=6)
OPERATIONS = st.one_of(
    st.builds(Call, client=NAMES, service=NAMES, handler=NAMES, key=st.none() | NAMES, argument=JSON, label=NAMES),
    st.builds(Attach, client=NAMES, to=NAMES, wait=st.booleans(), pause_ms=st.integers(0, 10**6)),
    st.builds(Act, client=NAMES, action=st.sampled_from(["cancel", "kill"]), on=NAMES),
    st.builds(Settle, client=NAMES, of=NAMES, value=JSON),
    st.builds(Deploy, client=NAMES, app=st.integers(0, 3)),
)
STRIKES = st.builds(
    Strike,
    kind=st.sampled_from(["server_crash", "partition", "pause"]),
    on=st.tuples(NAMES) | st.tuples(NAMES, NAMES),
    at_ns=st.integers(0, 10**13),
    lasts_ns=st.integers(1, 10**11),
    detail=st.integers(0, 9),
)
DEVIATIONS = st.builds(Deviation, task=NAMES, nth=st.integers(1, 9), by=st.integers(1, 9))
DECISIONS = st.dictionaries(st.sampled_from(["plan/partitions", "plan/latency#0", "x/y#3"]), st.integers(0, 2**64))


@settings(max_examples=60, deadline=None)
@given(
    operations=st.lists(OPERATIONS, max_size=4),
    strikes=st.lists(STRIKES, max_size=4),
    deviations=st.lists(DEVIATIONS, max_size=3),
    decisions=DECISIONS,
    drawn=st.lists(st.sampled_from(["net.", "payments/"]), unique=True),
    seed=st.integers(0, 2**64 - 1),
    texts=st.lists(st.text(max_size=300), min_size=3, max_size=3),
)
def test_what_is_written_is_read_back(
    operations: list[Operation],
    strikes: list[Strike],
    deviations: list[Deviation],
    decisions: dict[str, int],
    drawn: list[str],
    seed: int,
    texts: list[str],
    report: Report,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    fixed = scenario_in(TOUR).fixed(
        operations=operations,
        strikes=sorted(strikes, key=lambda one: one.at_ns),
        deviations=deviations,
        decisions=decisions,
        drawn=drawn,
        seed=seed if drawn else 0,
    )
    text = written(fixed, report, About(claim=texts[0], what=texts[1], found="seed 0x1", difference=texts[2]))
    ast.parse(text)
    assert read(text, tmp_path_factory.mktemp("read")).trial == fixed.trial


def test_a_schedule_of_another_kind_and_drawn_faults_are_written_too(report: Report, tmp_path: Path) -> None:
    fixed = scenario_in(TOUR).fixed(
        operations=[RESERVE],
        strikes=None,
        schedule=Schedule(kind="pct", changes=2, horizon=100),
        drawn=[""],
        seed=7,
    )
    assert read(written(fixed, report), tmp_path).trial.variation.schedule == fixed.trial.variation.schedule
    assert read(written(fixed, report), tmp_path).trial.variation.strikes is None
    other = scenario_in(TOUR).fixed(
        operations=[RESERVE],
        strikes=None,
        faults=["pause"],
        drawn=[""],
        seed=7,
        salts={"net.": 3},
        borrowed={"plan/": 9},
        crash_at=PointCrash(process="server", point="disk.sync", nth=3, side="torn"),
        orders=5,
    )
    assert read(written(other, report), tmp_path).trial == other.trial


def test_it_reads_as_a_person_would_write_it(report: Report) -> None:
    fixed = scenario_in(TOUR).fixed(
        operations=[RESERVE], strikes=[CRASH], decisions={"plan/partitions": 2, "limits/attempts_max#0": 1}
    )
    text = written(fixed, report, About(claim="P3 once", what="it was done twice", found="seed 0x7"))
    assert text == (
        '"""ticket_tour, made small from seed 0x7: P3 once.\n\n'
        "It breaks so:\n    it was done twice\n\n"
        'Run it: python FILE, or pytest FILE.  All claims must hold: then it ends with 0.\n"""\n\n'
        "from understudy_sim import Call, Strike, scenario_in\n\n"
        'small = scenario_in("scenarios/ticket_tour.py", near=__file__).fixed(\n'
        "    operations=[\n"
        '        Call(client="ann", service="CartObject", key="ann", handler="addTicket", argument="seat-1"),\n'
        "    ],\n"
        "    strikes=[\n"
        '        Strike(kind="server_crash", on=("server",), at_ns=1_000_000_000),\n'
        "    ],\n"
        "    decisions={\n"
        f'        "plan/partitions": 2,  # {report.plan.partition_count} partitions\n'
        f'        "limits/attempts_max#0": 1,  # attempts_max={report.plan.limits.attempts_max}\n'
        "    },\n"
        ")\n\n"
        'if __name__ == "__main__":\n'
        "    small.main()\n"
    )


def test_it_runs_alone_from_anywhere_below_the_project(report: Report, tmp_path: Path) -> None:
    file = Path("tests/scenarios/regressions/two_partitions_stop_at_once.py").resolve()
    done = subprocess.run([sys.executable, str(file)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("all claims hold\n")
    assert "failing_sync of server" in done.stdout


def test_a_broken_claim_is_1_and_its_story_is_told(tmp_path: Path) -> None:
    naive = scenario_in("scenarios/ticket_tour_naive.py")
    pay = Call(client="ann", service="CartObject", key="ann", handler="checkout")
    fixed = naive.fixed(operations=[RESERVE, pay])
    report = fixed.run()
    assert report.failed
    text = file_text("scenarios/ticket_tour_naive.py", naive.name, fixed.trial, report, About())
    file = tmp_path / "naive.py"
    file.write_text(text)
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert report.stories[0].difference.splitlines()[0] in " ".join(done.stdout.split())


def test_a_scenario_that_is_nowhere_is_named_with_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(
        NoScenario, match=r"there is no file 'nowhere\.py' in .*run this from the folder in which it lies"
    ):
        scenario_in("nowhere.py", near=str(tmp_path / "small.py"))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("plan/x", ("plan/x", None)),
        ("plan/x#2", ("plan/x", 2)),
        ("net.a>b#10", ("net.a>b", 10)),
        ("odd#name", ("odd#name", None)),
    ],
)
def test_decisions_are_named_by_label_and_number(name: str, key: tuple[str, int | None]) -> None:
    assert decision_key(name) == key


@pytest.mark.parametrize("pick", ["4", True, 4.0, None])
def test_a_decision_that_is_no_number_is_named(pick: object) -> None:
    with pytest.raises(TypeError, match=r"'plan/latency' is a pick, a whole number; it is given as"):
        scenario_in(TOUR).fixed(operations=[RESERVE], decisions={"plan/latency": pick})  # type: ignore[dict-item]


def test_what_cannot_be_shrunk_is_said_before_anything_is_run(report: Report, tmp_path: Path) -> None:
    file = tmp_path / "small.py"
    file.write_text(written(scenario_in(TOUR).fixed(operations=[RESERVE]), report))
    again = CliRunner().invoke(shrink, [str(file), "--seed", "1"])
    assert again.exit_code == 2
    assert "is one run, made small already" in again.output
    nowhere = CliRunner().invoke(shrink, [TOUR, "--seed", "1", "--output", str(tmp_path / "no" / "small.py")])
    assert nowhere.exit_code == 2
    assert "make it first" in nowhere.output
    for command in (shrink, simulate):
        text = CliRunner().invoke(command, [TOUR, "--seed", "1", "--output", str(tmp_path / "small.txt")])
        assert text.exit_code == 2
        assert "'small.txt' must end with .py" in text.output


def test_what_is_written_and_never_asked_for_is_told() -> None:
    fixed = scenario_in(TOUR).fixed(
        operations=[RESERVE],
        decisions={"plan/latencyy": 1, "plan/latency": 1, "plan/latency#7": 1},
        deviations=[Deviation(task="nobody", nth=1, by=1)],
    )
    told = fixed.run().unmet
    assert told == ("plan/latencyy", "plan/latency#7", "1 of 1 deviations")
