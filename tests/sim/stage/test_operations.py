"""Operations beside calls: how they print, how they name each other, and that they shrink."""

from __future__ import annotations

import attrs
import pytest
import trio
from understudy_runtime.model.commands import Invoke
from understudy_sim import Act, Attach, Call, Deploy, Operation, Remove, Settle
from understudy_sim.kernel.choices import SeededChoices
from understudy_sim.kernel.kernel import Kernel
from understudy_sim.stage import faults
from understudy_sim.stage.application import Application
from understudy_sim.stage.directory import Directory
from understudy_sim.stage.errands import errand_of
from understudy_sim.stage.happenings import Step
from understudy_sim.stage.model_words import Effects
from understudy_sim.stage.report import Report
from understudy_sim.stage.run import run_choices, run_seed
from understudy_sim.stage.script import load_scenario
from understudy_sim.stage.shrink import shrink
from understudy_sim.stage.silence import silent
from understudy_sim.stage.story import describe_run
from understudy_sim.stage.variation import AS_DRAWN, Variation

CALL = Call(client="ann", service="Jobs", handler="run", argument="j", label="job")
ALL: tuple[tuple[Operation, str], ...] = (
    (CALL, "ann: Jobs/run('j') as 'job'"),
    (Attach(client="bob", to="job"), "bob: attach to 'job'"),
    (Attach(client="bob", to="job", wait=False, by_id=True), "bob: the output of 'job' by its id"),
    (Act(client="op", action="cancel", on="job"), "op: cancel 'job'"),
    (Act(client="op", action="resume", on="job", query="deployment=latest"), "op: resume 'job' (deployment=latest)"),
    (Act(client="op", action="restart-as-new", on="job", label="again"), "op: restart-as-new 'job' as 'again'"),
    (Settle(client="cleo", of="job", value=1), "cleo: awakeable 0 of 'job' is resolved with 1"),
    (Settle(client="cleo", of="job", failure="no"), "cleo: awakeable 0 of 'job' is rejected (no)"),
    (Deploy(client="op", app=1), "op: register application 1"),
    (Remove(client="op", app=0), "op: remove the deployment of application 0"),
)


@pytest.mark.parametrize(("operation", "said"), ALL, ids=[said for _, said in ALL])
def test_an_operation_prints_for_people_and_as_python(operation: Operation, said: str) -> None:
    assert str(operation) == said
    names = {one.__name__: one for one in (Act, Attach, Call, Deploy, Remove, Settle)}
    assert eval(repr(operation), names) == operation


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(AssertionError, match="an operator cannot eat"):
        Act(client="op", action="eat", on="job")
    with pytest.raises(AssertionError, match="only a restart"):
        Act(client="op", action="kill", on="job", label="again")
    with pytest.raises(AssertionError, match="has a key"):
        attrs.evolve(CALL, idempotent=False)
    other = attrs.evolve(CALL, handler="stop")
    with pytest.raises(AssertionError, match="two requests are labelled 'job'"):
        directory(CALL, other)


def directory(*operations: Operation) -> Directory:
    services = [
        {"name": "Jobs", "ty": "SERVICE", "handlers": [{"name": "run"}]},
        {"name": "Flow", "ty": "WORKFLOW", "handlers": [{"name": "main", "ty": "WORKFLOW"}, {"name": "look"}]},
    ]
    return Directory(operations, {"services": services}, ["http://endpoint:9080"], is_http_11=False)


def test_requests_are_named_as_the_server_names_them() -> None:
    run = Call(client="ann", service="Flow", key="a/b", handler="main", label="flow")
    found = directory(CALL, run)
    assert found.idempotency_key(CALL, "ann-0") == "job"
    assert found.idempotency_key(attrs.evolve(CALL, label=""), "ann-0") == "ann-0"
    assert found.idempotency_key(run, "ann-1") == "", "a workflow's run takes no key"
    id_ = found.invocation_id("job")
    assert id_.startswith("inv_1")
    assert found.invocation_id("nobody") == ""
    targets = {
        errand_of(Attach(client="b", to="job"), found).request.target: "by key",
        errand_of(Attach(client="b", to="job", by_id=True, wait=False), found).request.target: "by id",
        errand_of(Attach(client="b", to="flow"), found).request.target: "workflow",
        errand_of(Act(client="o", action="pause", on="job"), found).request.target: "act",
    }
    assert targets == {
        "/restate/invocation/Jobs/run/job/attach": "by key",
        f"/restate/invocation/{id_}/output": "by id",
        "/restate/workflow/Flow/a%2Fb/attach": "workflow",
        f"/invocations/{id_}/pause": "act",
    }


async def test_whoever_is_about_a_request_waits_until_it_is_there() -> None:
    waiting = directory(CALL, attrs.evolve(CALL, client="bob"))
    assert not await waiting.accepted("left out", "op")
    command = attrs.evolve(_INVOKE, invocation_id=waiting.invocation_id("job"))
    waiting.step(Step(0, None, (), Effects(accepted=[command])))  # type: ignore[arg-type]
    assert await waiting.accepted("job", "op")
    given_up = directory(CALL, attrs.evolve(CALL, client="bob"))
    given_up.call_over(CALL)
    assert await given_up.accepted("job", "bob"), "nobody but bob himself will ask"
    given_up.call_over(attrs.evolve(CALL, client="bob"))
    assert await given_up.accepted("job", "op")


def test_who_would_wait_for_each_other_for_ever_is_let_go() -> None:
    other = attrs.evolve(CALL, label="other")
    found = directory(CALL, attrs.evolve(CALL, client="bob"), attrs.evolve(other, client="carl"))
    went: list[str] = []

    async def wait(label: str, client: str) -> None:
        await found.accepted(label, client)
        went.append(client)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, "other", "ann")
            nursery.start_soon(wait, "job", "carl")
            await trio.sleep(1)
            assert went == [], "bob will still ask for the job"
            nursery.start_soon(wait, "other", "bob")

    with Kernel(SeededChoices(1)) as kernel:
        kernel.run(main).result.unwrap()
    assert sorted(went) == ["ann", "bob", "carl"]


_INVOKE = Invoke("", None, None, None, b"")  # type: ignore[arg-type]


# --- in a rehearsal -------------------------------------------------------------------------------------------

TRIP = "scenarios/trip.py"
CARELESS = "scenarios/trip_careless.py"
WISH = {"name": "trip-1", "offers": {"flight": "flight-7", "hotel": "hotel-ritz", "car": "car-1"}}
BOOK = Call(client="ann", service="Trips", handler="book", argument=WISH, label="request")
ABOUT = (
    Act(client="agent", action="cancel", on="request"),
    Act(client="agent", action="pause", on="request"),
    Act(client="agent", action="resume", on="request"),
    Act(client="agent", action="kill", on="request"),
    Act(client="agent", action="restart-as-new", on="request", label="again"),
    Attach(client="friend", to="request", wait=False),
    Attach(client="friend", to="again"),
    Settle(client="friend", of="request", value=1),
)
OTHER = Call(client="bob", service="Trips", handler="book", argument={**WISH, "name": "trip-2"}, label="other")


def rehearse(script: str, *operations: Operation) -> Report:
    scenario = load_scenario(script)
    with silent():
        return run_choices(
            scenario, Application(scenario.app), SeededChoices(4), 4, Variation(faults=faults.none(), calls=operations)
        )


def test_an_operation_whose_target_was_left_out_does_nothing() -> None:
    report = rehearse(TRIP, *ABOUT, OTHER)
    assert not report.failed, report.stories
    assert report.invocations == rehearse(TRIP, OTHER).invocations


def test_each_finds_its_target_however_late_it_comes() -> None:
    report = rehearse(TRIP, *ABOUT, attrs.evolve(BOOK, pause_ms=5_000))
    # A trip that was killed is half a trip: that claim is none of ours here.
    assert {story.claim for story in report.stories} <= {"a trip is booked as a whole or not at all"}
    assert report.invocations >= 2


def test_a_failure_shrinks_to_the_call_and_what_was_done_to_it() -> None:
    scenario = load_scenario(CARELESS)
    with silent():
        report = run_seed(scenario, Application(scenario.app), 0, AS_DRAWN)
    shrunk = shrink(scenario, report, AS_DRAWN)
    call, act = shrunk.report.calls
    assert isinstance(call, Call)
    assert isinstance(act, Act)
    assert (act.action, act.on) == ("cancel", call.label)
    told = describe_run(shrunk.report)
    assert f"cancel {call.label!r}" in told
    assert "faults (none)" in told
