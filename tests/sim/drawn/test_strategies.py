"""Operations, faults and rehearsals are drawn as values that print as Python, run and shrink."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import understudy_sim
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from understudy_sim import Call, Stage, scenario
from understudy_sim.drawn import (
    NoStrategy,
    RehearsalFailed,
    Run,
    calls,
    fault_sets,
    json_values,
    operations,
    rehearsals,
    strikes,
)
from understudy_sim.drawn.arguments import from_schema
from understudy_sim.drawn.printing import as_python
from understudy_sim.stage import variation as variations
from understudy_sim.stage.faults import KINDS, FaultSet
from understudy_sim.stage.shrunk_file import load_fixed
from understudy_sim.stage.variation import Variation

from scenarios.account import accounts, workload

WRITTEN = {**vars(understudy_sim), **vars(variations), "Run": Run, "FaultSet": FaultSet, "Call": Call}
SMALL = settings(deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
TRANSFER = st.fixed_dictionaries(
    {"source": st.just("rent"), "target": st.just("food"), "amount": st.integers(1, 9)},
)
OF_THE_BANK: Any = {"Bank/transfer": TRANSFER}


@scenario(app="scenarios.account:app", workload=workload)
async def nobody_transfers(stage: Stage) -> None:
    stage.always("nobody transfers", lambda: not stage.ran("Bank", "transfer"))
    await stage.play()


@given(calls("scenarios.account:app", arguments=OF_THE_BANK))
def test_calls_are_those_the_application_offers(call: Call) -> None:
    offered = {"Account": ("deposit", "withdraw", "balance"), "Bank": ("transfer",)}
    assert call.handler in offered[call.service]
    assert (call.key is None) == (call.service == "Bank")
    assert isinstance(call.argument, dict if call.service == "Bank" else int | None)
    assert eval(as_python(call), WRITTEN) == call


def test_a_handler_that_says_nothing_of_its_argument_needs_a_strategy() -> None:
    with pytest.raises(NoStrategy, match=r"what (\w+/\w+) takes: .* give arguments=\{'\1'"):
        calls("scenarios.ticket_tour:app")
    with pytest.raises(NoStrategy, match="write them as Service/handler"):
        calls("scenarios.ticket_tour:app", only=("Nobody/nothing",))


def test_only_some_handlers_are_called_with_the_callers_keys() -> None:
    of_carts = operations(
        "scenarios.ticket_tour:app",
        only=("CartObject/addTicket", "CartObject/checkout"),
        keys={"CartObject": st.just("ann")},
        clients=("ann",),
        max_size=3,
    )

    @SMALL
    @given(of_carts)
    def look(drawn: tuple[Call, ...]) -> None:
        assert 1 <= len(drawn) <= 3
        assert all((one.client, one.key) == ("ann", "ann") for one in drawn)
        assert all(isinstance(one.argument, str) for one in drawn if one.handler == "addTicket")

    look()


@given(st.data())
def test_arguments_follow_their_schema(data: st.DataObject) -> None:
    person = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 1},
            "age": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 120}, {"type": "null"}]},
            "kind": {"enum": ["a", "b"]},
            "friends": {"type": "array", "items": {"$ref": "#/$defs/name"}, "maxItems": 2},
        },
        "required": ["name", "age"],
        "$defs": {"name": {"type": ["string", "integer"], "maxLength": 3, "exclusiveMinimum": 4}},
    }
    drawn = data.draw(from_schema(person))
    assert {"name", "age"} <= set(drawn) <= {"name", "age", "kind", "friends"}
    assert drawn["name"]
    assert drawn["age"] is None or 0 <= drawn["age"] <= 120
    assert drawn.get("kind", "a") in "ab"
    assert all(isinstance(one, str) or one > 4 for one in drawn.get("friends", ()))


@pytest.mark.parametrize("schema", [True, {}, {"type": "object"}, {"type": "oddity"}, {"type": "array"}])
def test_what_a_schema_does_not_say_is_not_guessed(schema: Any) -> None:
    with pytest.raises(NoStrategy):
        from_schema(schema)


@given(json_values())
def test_json_values_are_json(value: Any) -> None:
    import json

    assert json.loads(json.dumps(value)) == value


@given(fault_sets())
def test_fault_sets_are_in_order(faults: FaultSet) -> None:
    assert list(faults.kinds) == [kind for kind in KINDS if kind in faults.kinds]


@given(strikes(services=("payments",)))
def test_strikes_print_as_python(strike: variations.Strike) -> None:
    assert strike.kind in KINDS
    assert eval(as_python(strike), WRITTEN) == strike


@given(st.sampled_from(tuple(KINDS)), st.data())
def test_every_kind_of_fault_can_be_drawn(kind: str, data: st.DataObject) -> None:
    assert data.draw(strikes((kind,), services=("mail",))).kind == kind


def test_drawn_rehearsals_hold_and_print_as_python() -> None:
    seen = []

    @settings(SMALL, max_examples=12)
    @given(rehearsals(accounts))
    def test(run: Run) -> None:
        assert eval(repr(run), WRITTEN) == run
        report = run.check()
        seen.append(report)
        if len(seen) == 1:
            assert run.run().digest == report.digest, "equal runs are equal"

    test()
    assert any(report.invocations > 5 for report in seen)
    assert any(report.firings for report in seen), "strikes strike"


def test_a_failing_rehearsal_shrinks_to_what_matters_and_tells_how_to_run_it() -> None:
    asked = operations("scenarios.account:app", arguments=OF_THE_BANK, max_size=4)

    @settings(SMALL, max_examples=10, phases=(Phase.generate, Phase.shrink), report_multiple_bugs=False)
    @given(rehearsals(nobody_transfers, calls=asked, strikes_max=1))
    def test(run: Run) -> None:
        run.check()

    with pytest.raises(RehearsalFailed, match="nobody transfers") as failed:
        test()
    again = str(failed.value).split("again: ")[1]
    run = eval(again.removesuffix(".check()"), WRITTEN)
    assert len(run.variation.calls) == 1
    assert run.variation.strikes == ()
    assert run.variation.calls[0].handler == "transfer"
    assert [one.claim for one in run.run().violations] == ["nobody transfers"]


def test_a_run_is_written_out_as_a_file_that_fails_in_the_same_way(tmp_path: Path) -> None:
    transfer = Call(client="ann", service="Bank", handler="transfer", argument={"source": "rent", "target": "food"})
    run = Run("tests/sim/drawn/test_strategies.py::nobody_transfers", variation=Variation(calls=(transfer,)))
    file = tmp_path / "small.py"
    file.write_text(run.as_file())
    assert load_fixed(file).run().violations[0].claim == run.run().violations[0].claim


def test_operations_of_the_callers_replace_the_workload() -> None:
    of_the_bank = operations("scenarios.account:app", only=("Bank",), arguments=OF_THE_BANK, min_size=2, max_size=4)

    @settings(SMALL, max_examples=5)
    @given(rehearsals(accounts, calls=of_the_bank, kinds=("endpoint_crash",), strikes_max=2))
    def test(run: Run) -> None:
        assert run.variation.calls is not None
        assert {call.service for call in run.variation.calls} <= {"Bank"}
        assert {one.kind for one in run.variation.strikes or ()} <= {"endpoint_crash"}
        run.check()

    test()
