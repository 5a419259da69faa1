"""Where two runs part: by what happened in each lane, whatever the time, the incarnation and the ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from understudy_sim.cli.diff import diff
from understudy_sim.stage.chronicle import Chronicle, Event, Named
from understudy_sim.stage.difference import COLUMNS, LASTING, Comparison, lane_of, told

TOUR = "scenarios/ticket_tour.py"
REGRESSION = "tests/scenarios/regressions/two_partitions_stop_at_once.py"
ID = "inv_1" + "a" * 33
OTHER_ID = "inv_1" + "b" * 33


def chronicle(*rows: tuple[str, str, str], at_ns: int = 0, id_: str = ID) -> Chronicle:
    """Events of (process, kind, what), a millisecond apart; those that speak of ann are about one invocation."""
    events = tuple(
        Event(
            number=number,
            at_ns=at_ns + number * 1_000_000,
            step=number,
            process=process,
            kind=kind,
            what=what.replace("ANN", id_),
            invocation=id_ if "ann" in what else "",
            facts=(("partition", 0),) if kind == "record" else (),
        )
        for number, (process, kind, what) in enumerate(rows, 1)
    )
    return Chronicle(
        scenario="s",
        seed=0,
        variation="",
        digest="",
        steps=len(rows),
        ended_ns=0,
        ending="",
        events=events,
        messages=(),
        invocations=(Named(number=1, id=id_, target="Cart/ann/add"),),
    )


ROWS = (
    ("server.1", "record", "0/1 Invoke of ann"),
    ("endpoint.1", "body.start", "body 1"),
    ("endpoint.1", "run", "charge ANN"),
    ("server.1", "record", "0/2 Complete"),
    ("ann.1", "answer", "ann: 200"),
)


def test_time_incarnation_and_ids_count_for_nothing() -> None:
    later = tuple((process.replace(".1", ".3"), kind, what) for process, kind, what in ROWS)
    assert Comparison(chronicle(*ROWS), chronicle(*later, at_ns=5 * 10**9, id_=OTHER_ID)).first() is None
    assert told(chronicle(*ROWS), chronicle(*later, id_=OTHER_ID), ("a", "b")) == "nothing that happened differs"


def test_lanes_that_only_took_turns_otherwise_do_not_differ() -> None:
    turned = (ROWS[1], ROWS[0], ROWS[2], ROWS[4], ROWS[3])
    assert Comparison(chronicle(*ROWS), chronicle(*turned)).first() is None


def test_the_fault_itself_is_no_difference_what_it_does_is() -> None:
    hurt = (*ROWS[:2], ("", "fault", "endpoint_crash of endpoint"), ("endpoint.1", "crash", "it is gone"), *ROWS[3:])
    found = Comparison(chronicle(*hurt), chronicle(*ROWS)).first()
    assert found is not None
    assert found.lane == "endpoint"
    assert found.one is None
    assert found.other is not None
    assert found.other.kind == "run"
    assert [event.kind for event in found.before] == ["body.start"]


def test_the_first_that_lasts_is_told_beside_the_first() -> None:
    other = (ROWS[0], ("endpoint.1", "body.start", "body 2"), *ROWS[2:3], ("server.1", "record", "0/2 Cancel"))
    text = told(chronicle(*ROWS), chronicle(*other), ("breaks", "holds"))
    assert text.splitlines() == [
        "The two runs part at 0.002 s, in endpoint:",
        "  breaks      0.002 s  body.start    body 1",
        "  breaks      0.003 s  run           charge inv #1 Cart/ann/add",
        "  holds       0.002 s  body.start    body 2",
        "  holds       0.003 s  run           charge inv #1 Cart/ann/add",
        "The first difference that lasts is at 0.004 s, in partition 0:",
        "  both        0.001 s  record        inv #1 Cart/ann/add  0/1 Invoke of ann",
        "  breaks      0.004 s  record        0/2 Complete",
        "  holds       0.004 s  record        0/2 Cancel",
    ]


def test_a_record_belongs_to_its_partition_and_all_else_to_its_process() -> None:
    events = chronicle(*ROWS).events
    assert [lane_of(event) for event in events] == ["partition 0", "endpoint", "endpoint", "partition 0", "ann"]
    assert lane_of(chronicle(("", "fault", "x")).events[0]) == "the world"


EVENTS = st.lists(
    st.tuples(st.sampled_from(["a.1", "b.1"]), st.sampled_from(["run", "ask", "record"]), st.sampled_from("xyz")),
    max_size=12,
)


@given(EVENTS, EVENTS)
def test_a_difference_is_the_same_from_both_sides_and_none_only_where_lanes_are_equal(one: Any, other: Any) -> None:
    here, there = Comparison(chronicle(*one), chronicle(*other)), Comparison(chronicle(*other), chronicle(*one))
    found, back = here.first(), there.first()
    lanes = [_lanes(chronicle(*rows)) for rows in (one, other)]
    assert (found is None) == (lanes[0] == lanes[1])
    assert (found is None) == (back is None)
    if found is not None and back is not None:
        assert found.at_ns == back.at_ns
    lasting = here.first(LASTING)
    assert lasting is None or found is not None


def _lanes(chronicle: Chronicle) -> dict[str, list[tuple[str, str]]]:
    lanes: dict[str, list[tuple[str, str]]] = {}
    for event in chronicle.events:
        lanes.setdefault(lane_of(event), []).append((event.kind, event.what))
    return lanes


@given(EVENTS, EVENTS, st.integers(1, 30))
def test_aligned_timelines_are_both_runs_and_no_longer_than_asked(one: Any, other: Any, limit: int) -> None:
    comparison = Comparison(chronicle(*one), chronicle(*other))
    rows = list(comparison.aligned(limit, frozenset()))
    assert len(rows) <= limit
    everything = list(comparison.aligned(1_000, frozenset()))
    assert rows == everything[:limit]
    mine = [event.what for mark, side, event in everything if mark in "=-" and side == 0]
    theirs = [event.what for mark, side, event in everything if mark in "=+"]
    assert everything == [] or mine == [what for _, _, what in one][len(one) - len(mine) :]
    assert everything == [] or theirs == [what for _, _, what in other][len(other) - len(theirs) :]


# --- the command ------------------------------------------------------------------------------------------------------


def run(*args: str) -> Result:
    return CliRunner().invoke(diff, list(args), catch_exceptions=False)


def test_equal_runs_end_with_0_and_others_with_1() -> None:
    same = run(REGRESSION, REGRESSION)
    assert (same.exit_code, same.stdout) == (0, "nothing that happened differs\n")
    differ = run(TOUR, "--seed", "1", "--seed", "2", "--lines", "10", "--faults", "none")
    assert differ.exit_code == 1
    assert "The two runs part at" in differ.stdout
    assert "from there on (-: 0x1 only, +: 0x2 only)" in differ.stdout
    rows = differ.stdout.partition("from there on")[2].splitlines()[1:]
    assert len(rows) == 10
    assert all(len(line) <= COLUMNS for line in differ.stdout.splitlines())


def test_one_seed_is_compared_with_its_variation() -> None:
    found = run(TOUR, "--seed", "1", "--variation", '{"schedule":{"kind":"fifo"}}', "--lines", "0", "--json")
    assert found.exit_code == 1
    assert '"lane"' in found.stdout.splitlines()[-1]


def test_bad_usage_is_2_and_says_what_to_give(tmp_path: Path) -> None:
    for args, said in (
        ((TOUR,), "give --seed twice"),
        ((TOUR, "--seed", "1"), "is one run: give a second --seed"),
        ((TOUR, "--seed", "1", "--seed", "2", "--seed", "3"), "give --seed twice"),
        ((REGRESSION, REGRESSION, "--seed", "1"), "two files are two runs"),
        ((REGRESSION, TOUR), f"{TOUR} is not one run"),
        (("README.md", REGRESSION), "README.md is not one run"),
        ((REGRESSION, "gone.py"), "there is no file 'gone.py'"),
    ):
        result = run(*args)
        assert result.exit_code == 2, args
        assert said in result.output
