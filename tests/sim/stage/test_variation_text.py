"""A variation survives being text: whatever it holds, short where it changes little, and wrong text is told."""

from __future__ import annotations

import json

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_sim.kernel.choices import SeededChoices
from understudy_sim.stage import faults
from understudy_sim.stage.operations import Act, Attach, Call, Deploy, Operation, Remove, Settle
from understudy_sim.stage.points import TORN_POINTS
from understudy_sim.stage.variation import AS_DRAWN, Deviation, PointCrash, Schedule, Strike, Variation
from understudy_sim.stage.variation_text import from_text, to_text

names = st.text(max_size=8)
numbers = st.integers(0, 2**63)
prefixes = st.dictionaries(names, numbers, max_size=3)
json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists, max_leaves=5)
calls: st.SearchStrategy[Operation] = st.one_of(
    st.builds(Call, client=names, service=names, handler=names, argument=json_values, label=names),
    st.builds(Attach, client=names, to=names, by_id=st.booleans()),
    st.builds(Act, client=names, action=st.just("kill"), on=names),
    st.builds(Settle, client=names, of=names, value=json_values),
    st.builds(Deploy, client=names, app=st.integers(0, 3)),
    st.builds(Remove, client=names, app=st.integers(0, 3)),
)
schedules = st.one_of(
    st.builds(Schedule, kind=st.just("pct"), changes=st.integers(0, 9), horizon=numbers),
    st.builds(
        Schedule,
        kind=st.just("fifo"),
        deviations=st.lists(st.builds(Deviation, task=names, nth=numbers, by=numbers)).map(tuple),
    ),
)
strikes = st.builds(
    Strike,
    kind=st.sampled_from(tuple(faults.PROMISES)),
    on=st.lists(names, min_size=1).map(tuple),
    at_ns=numbers,
    lasts_ns=st.integers(1),
    detail=numbers,
)
sides = st.sampled_from(("before", "torn"))
cuts = st.builds(PointCrash, process=names, point=st.sampled_from(TORN_POINTS), nth=st.integers(1), side=sides)
variations = st.builds(
    Variation,
    faults=st.none() | st.sampled_from([faults.none(), faults.everything(), faults.only("pause", "partition")]),
    overrides=st.none() | st.dictionaries(st.tuples(names, st.none() | numbers), numbers, max_size=3),
    salts=st.none() | prefixes,
    borrowed=st.none() | prefixes,
    tame=st.lists(names).map(tuple),
    wild=st.lists(names).map(tuple),
    calls=st.none() | st.lists(calls, max_size=3).map(tuple),
    kept_calls=st.none() | st.lists(numbers).map(tuple),
    schedule=st.none() | schedules,
    strikes=st.none() | st.lists(strikes, max_size=3).map(tuple),
    crash_at=st.none()
    | st.builds(
        PointCrash,
        process=names,
        point=st.sampled_from(TORN_POINTS),
        nth=st.integers(1),
        side=st.sampled_from(("before", "torn")),
    ),
    steps_max=st.none() | st.integers(1),
)


@given(variations)
def test_a_variation_is_the_same_after_being_text(variation: Variation) -> None:
    text = to_text(variation)
    assert from_text(text) == variation
    assert "\n" not in text


def test_every_field_of_a_variation_is_covered_here() -> None:
    drawn = {
        "faults",
        "overrides",
        "salts",
        "borrowed",
        "tame",
        "wild",
        "calls",
        "kept_calls",
        "schedule",
        "strikes",
        "crash_at",
        "steps_max",
    }
    assert drawn <= {field.name for field in attrs.fields(Variation)}


def test_what_changes_nothing_is_empty_and_a_small_change_is_short() -> None:
    assert to_text(AS_DRAWN) == ""
    assert to_text(Variation(salts={"fault.": 3})) == '{"salts":{"fault.":3}}'


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        '{"steps_max":0}',
        '{"orders":-1}',
        '{"overrides":[["plan/x",null,"many"]]}',
        '{"calls":3}',
        '{"tame":5}',
        "[1]",
        '{"fauts":[]}',
        '{"faults":["gremlin"]}',
        '{"schedule":{"kind":"wild"}}',
        '{"calls":[{"X":{}}]}',
        '{"schedule":{"kynd":"fifo"}}',
        '{"kept_calls":["a"]}',
        '{"schedule":{"kind":"pct","changes":-1}}',
        '{"crash_at":{"process":"server","point":"disk.synk","nth":1}}',
        '{"crash_at":{"process":"server","point":"disk.sync","nth":0}}',
        '{"strikes":[{"kind":"flood","on":["server"],"at_ns":1}]}',
        '{"strikes":[{"kind":"pause","on":[],"at_ns":1}]}',
        '{"strikes":[{"kind":"pause","on":["server"],"at_ns":-1}]}',
        '{"crash_at":{"process":"server","point":"applied","nth":1,"side":"before"}}',
        '{"crash_at":{"process":"server","point":"net.send","nth":1,"side":"torn"}}',
    ],
)
def test_wrong_text_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is no variation") as told:
        from_text(text)
    assert text[:60] in str(told.value)


def test_what_is_wrong_with_it_is_told_with_its_place() -> None:
    for text, told in (
        ('{"strikes":[{"kind":"pause","on":[],"at_ns":1}]}', r"pause strikes nobody: .* @ strikes\[0\]"),
        ('{"strikes":[{"kind":"pause","on":["server"],"at_ns":"x"}]}', r"expected int @ strikes\[0\].at_ns"),
        ('{"calls":[3]}', "@ calls"),
        ('{"faults":["flood"]}', "there is no fault 'flood'; there are: server_crash, .* @ faults"),
    ):
        with pytest.raises(ValueError, match=told):
            from_text(text)


def test_a_borrowed_prefix_is_as_the_other_seed_has_it() -> None:
    mine, other = SeededChoices(1), SeededChoices(2)
    mixed = SeededChoices(1, borrowed={"plan/": 2})
    assert mixed.integer("plan/x", 0, 2**40) == other.integer("plan/x", 0, 2**40)
    assert mixed.integer("net/x", 0, 2**40) == mine.integer("net/x", 0, 2**40)


def test_a_text_is_json_of_what_differs_only() -> None:
    assert set(json.loads(to_text(Variation(kept_calls=())))) == {"kept_calls"}
