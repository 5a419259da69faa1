"""A chronicle is the same for the same run, changes nothing of it, and says what happened."""

from __future__ import annotations

import itertools
import json
import pickle

import pytest
from understudy_sim import Call, scenario_in
from understudy_sim.cli.shared import scenario_of
from understudy_sim.stage.application import Application
from understudy_sim.stage.chronicle import Chronicle
from understudy_sim.stage.chronicler import Chronicler
from understudy_sim.stage.report import Report
from understudy_sim.stage.run import run_seed
from understudy_sim.stage.silence import silent
from understudy_sim.stage.variation import Variation

IN_VALUES, IN_BYTES = 0, 1


def told(seed: int, steps_max: int | None = None) -> tuple[Report, Chronicle]:
    scenario = scenario_of("scenarios/ticket_tour.py")
    chronicler = Chronicler()
    with silent():
        report = run_seed(scenario, Application(scenario.app), seed, Variation(steps_max=steps_max), [chronicler])
    return report, chronicler.chronicle


@pytest.mark.parametrize("seed", [IN_VALUES, IN_BYTES])
def test_equal_runs_have_equal_chronicles(seed: int) -> None:
    report, one = told(seed)
    again, other = told(seed)
    assert report.digest == again.digest
    assert one == other
    assert pickle.loads(pickle.dumps(one)) == one
    assert json.dumps(one.as_json()) == json.dumps(other.as_json())


def test_to_look_on_changes_nothing() -> None:
    scenario = scenario_of("scenarios/ticket_tour.py")
    with silent():
        alone = run_seed(scenario, Application(scenario.app), IN_BYTES)
    assert told(IN_BYTES)[0] == alone


@pytest.mark.parametrize("seed", [IN_VALUES, IN_BYTES])
def test_time_and_steps_do_not_go_back(seed: int) -> None:
    _, chronicle = told(seed)
    events = chronicle.events
    assert [one.number for one in events] == list(range(1, len(events) + 1))
    assert all(one.at_ns <= two.at_ns and one.step <= two.step for one, two in itertools.pairwise(events))
    assert all(one.received_ns < 0 or one.sent_ns <= one.received_ns for one in chronicle.messages)


def test_a_run_that_is_stopped_has_seen_the_events_up_to_there() -> None:
    _, whole = told(IN_VALUES)
    middle = whole.events[len(whole.events) // 2].step
    _, part = told(IN_VALUES, middle)
    wanted = [one for one in whole.events if one.step <= middle and one.kind != "end"]
    found = [one for one in part.events if one.kind != "end"]
    assert [(one.kind, one.at_ns, one.what) for one in found] == [(one.kind, one.at_ns, one.what) for one in wanted]


@pytest.mark.parametrize("seed", [IN_VALUES, IN_BYTES])
def test_messages_are_called_by_what_they_say(seed: int) -> None:
    _, chronicle = told(seed)
    asked = [one for one in chronicle.messages if "/CartObject/" in one.what and one.what.startswith("POST ")]
    assert asked
    spoken = [one for one in chronicle.messages if "CALL" in one.what and one.target.startswith("server")]
    assert spoken
    names = chronicle.names()
    assert all(one.invocation in names for one in spoken)
    assert not [one for one in chronicle.messages if not one.what]


def test_an_invocation_is_found_by_number_id_label_or_target() -> None:
    _, chronicle = told(IN_VALUES)
    third = chronicle.invocations[2]
    for text in ("#3", "3", "inv #3", third.id, third.id[:30], third.name, third.target):
        assert chronicle.find(text) is not None, text
    assert chronicle.find("3") is third
    assert chronicle.find("#999") is None
    assert chronicle.find("nobody") is None


def test_two_that_listen_at_the_same_place_are_told_so_at_once() -> None:
    scenario = scenario_of("scenarios/ticket_tour.py")
    with silent(), pytest.raises(AssertionError, match="one at a time"):
        run_seed(scenario, Application(scenario.app), IN_VALUES, Variation(steps_max=1), [Chronicler(), Chronicler()])


def test_a_fault_with_a_reason_names_the_process_it_hurts() -> None:
    fixed = scenario_in("scenarios/ticket_tour.py").fixed(
        operations=[Call(client="ann", service="CartObject", key="ann", handler="addTicket", argument="seat-1")],
        decisions={"plan/upgrade": 999, "plan/upgrade_cut": 999},
    )
    chronicler = Chronicler()
    fixed.run([chronicler])
    faults = [one for one in chronicler.chronicle.events if one.kind == "fault"]
    assert [(one.what, one.fact("on")) for one in faults] == [("server_crash of server, upgraded", ("server",))]
