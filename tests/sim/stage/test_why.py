"""Who waits for whom in a run: circles, what nobody can produce, what is due; and the same in a stuck run's story."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from click.testing import CliRunner
from understudy_runtime.cli.why import why
from understudy_runtime.explaining import Hope
from understudy_sim.kernel.kernel import KernelOutcome
from understudy_sim.stage.application import Application
from understudy_sim.stage.rehearsal import Rehearsal
from understudy_sim.stage.report import Report, Story
from understudy_sim.stage.run import run_seed
from understudy_sim.stage.scenario import Scenario
from understudy_sim.stage.silence import silent
from understudy_sim.stage.story import describe_story
from understudy_sim.stage.variation import Variation
from understudy_sim.stage.why import Inquiry, NobodyMeant

from tests.sim.stage import waiting_app

HERE = "tests/sim/stage/waiting_app.py"


class Asking:
    """Asks once the run has stopped."""

    def __init__(self, ask: Callable[[Inquiry], Any]) -> None:
        self.ask = ask
        self.answer: Any = None

    def attach(self, rehearsal: Rehearsal) -> None:
        pass

    def stopped(self, rehearsal: Rehearsal, ended: KernelOutcome) -> None:
        self.answer = self.ask(Inquiry(rehearsal, ended))


def asked(scenario: Scenario, ask: Callable[[Inquiry], Any], steps_max: int | None = None) -> tuple[Any, Report]:
    asking = Asking(ask)
    with silent():
        report = run_seed(scenario, Application(scenario.app), 0, Variation(steps_max=steps_max), [asking])
    return asking.answer, report


def test_a_circle_is_named_with_who_holds_what() -> None:
    lines, report = asked(waiting_app.crosswise, lambda inquiry: inquiry.told("#1"))
    assert not report.failed
    text = "\n".join(lines)
    assert "inv #1 Room/" in lines[0]
    assert "waits for the answer of inv #" in text
    assert "waits for the lock of Room/" in text
    assert "woken by Complete of completion" in text
    assert "verdict: it can never go on by itself" in text
    assert "a circle of 4; the end of any of them" in text
    assert sum("which waits for the" in line for line in lines) == 4


def test_asking_about_nobody_tells_of_each_one_once() -> None:
    (lines, inquiry), _ = asked(waiting_app.crosswise, lambda inquiry: (inquiry.told(""), inquiry))
    assert lines[0] == "4 have not come to their end: 4 can never go on by themselves"
    for id_ in inquiry.waiters:
        assert sum(f"({id_})" in line for line in lines) == 1
    assert inquiry.is_stuck("")
    assert inquiry.is_stuck("#1")


@pytest.mark.parametrize("text", ["#1", "1", "inv #1"])
def test_an_invocation_has_many_names(text: str) -> None:
    found, _ = asked(waiting_app.crosswise, lambda inquiry: inquiry.find(text))
    assert found.startswith("inv_1")


def test_a_label_and_a_target_name_one_too() -> None:
    (labelled, by_target), _ = asked(
        waiting_app.untold, lambda inquiry: (inquiry.find("untold"), inquiry.find("Waiting/awakeable"))
    )
    assert labelled == by_target
    assert labelled.startswith("inv_1")


def test_who_is_unknown_has_ended_or_is_not_there_yet_is_said() -> None:
    def unknown(inquiry: Inquiry) -> str:
        with pytest.raises(NobodyMeant) as raised:
            inquiry.told("nobody")
        return str(raised.value)

    told, _ = asked(waiting_app.asleep, unknown)
    assert told.startswith("there is no invocation 'nobody' in this run, so far; there is #1 alone: name one by")
    lines, _ = asked(waiting_app.asleep, lambda inquiry: inquiry.told("asleep"))
    assert lines[0].endswith("has ended")
    lines, _ = asked(waiting_app.asleep, lambda inquiry: inquiry.told(""))
    assert lines == ["nobody waits: 1 invocations were accepted, and all have ended"]
    lines, _ = asked(waiting_app.asleep, lambda inquiry: inquiry.told("asleep"), steps_max=2)
    assert "which no durable record has accepted yet" in lines[0]


def test_what_is_due_comes() -> None:
    def while_asleep(inquiry: Inquiry) -> list[str]:
        return inquiry.told("asleep")

    lines: list[str] = []
    steps = 30
    while "the leader has armed it" not in "".join(lines):
        lines, report = asked(waiting_app.asleep, while_asleep, steps_max=steps)
        steps += 25
        assert report.waiters is not None, "the run is over, and nobody was seen asleep"
    text = "\n".join(lines)
    assert "waits for the end of its sleep, due in " in text
    assert "woken by TimerFired of timer 1 in partition" in text
    assert lines[-1] == "verdict: it goes on by itself"


def test_what_nobody_can_produce_is_a_verdict_and_stands_in_the_story() -> None:
    waiters, report = asked(waiting_app.untold, lambda inquiry: inquiry.waiters)
    (waiter,) = waiters.values()
    assert [one.hope for one in waiter.causes] == [Hope.ANYBODY]
    (story,) = [one for one in report.stories if one.claim.startswith("P5")]
    assert story.chain
    assert "\n" not in story.difference
    told = describe_story(story)
    assert "waits for the awakeable sign_1" in told
    assert "nobody can produce Signal (nobody is left who could)" in told


def test_a_long_difference_is_cut_between_lines_and_stands_under_its_word() -> None:
    tasks = "".join(f"\n  task {n}: waits in some_module.some_function {'x' * 300}" for n in range(40))
    story = Story(
        claim="P0", operation="", fault="", difference=f"it is stuck{tasks}", at_ns=0, chain=("who", "", "why")
    )
    told = describe_story(story).splitlines()
    differs = [line for line in told if "task " in line or "lines more" in line]
    assert "  differs    it is stuck" in told
    assert differs[-1] == "               … 36 lines more"
    assert len(differs) == 5
    assert all(line.startswith(" " * 15) and len(line) <= 200 for line in differs)
    assert all(line == line.rstrip() for line in told)
    words = describe_story(attrs.evolve(story, difference="word " * 1000)).splitlines()
    assert max(map(len, words)) < 700


def test_what_is_told_fits_a_terminal_and_no_word_of_it_is_broken() -> None:
    path = f"folder/{'x' * 120}.py:7"
    story = Story(
        claim="P0", operation="one " * 60, fault="two " * 60, difference=f"at {path}", at_ns=0, chain=("    far " * 40,)
    )
    told = describe_story(story).splitlines()
    assert [line for line in told if len(line) > 100] == [f"{' ' * 13}{path}"]
    assert all(line.startswith(" " * 13) for line in told[1:] if line[2:3] == " ")
    assert " ".join(" ".join(told).split()).count("far") == 40


def test_a_deadlock_that_was_not_declared_is_told_with_its_chain() -> None:
    _, report = asked(waiting_app.undeclared, lambda inquiry: None)
    stories = [one for one in report.stories if one.claim.startswith("P5")]
    assert len(stories) == 4
    first, *others = [[line.strip() for line in story.chain] for story in stories]
    assert "a circle of 4; the end of any of them, by a cancel, lets the others on:" in first
    for lines in others:
        assert lines[0].endswith(": see above")
        assert lines[1] == "verdict: it can never go on by itself"


# --- a planted bug ------------------------------------------------------------------------------------------------

PLANTED = """
import sys
from understudy_sim.mutants.edit import Mutant
from understudy_sim.mutants.hook import install

install(Mutant(
    id="T1", group="T", module="understudy_runtime.effects.dispatch",
    before="effects.timers.arm(action.timer_id, action.due_ms)", after="None",
    why="a timer is not armed before the next start", needs=("workload",),
))
from understudy_runtime.cli.why import why
why(sys.argv[1:])
"""


def test_a_timer_that_the_server_forgot_is_found() -> None:
    args = [sys.executable, "-c", PLANTED, f"{HERE}::asleep", "asleep", "--seed", "0"]
    done = subprocess.run(args, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "is SUSPENDED in partition" in done.stdout
    assert "the leader has not armed it; only a restart would" in done.stdout
    assert "nobody can produce TimerFired of timer 1 in partition" in done.stdout


# --- the command --------------------------------------------------------------------------------------------------


def run(*args: str) -> Any:
    return CliRunner().invoke(why, list(args), catch_exceptions=False)


def test_the_command_says_it_and_ends_with_1_when_somebody_is_stuck() -> None:
    stuck = run(f"{HERE}::crosswise", "--seed", "0")
    assert stuck.exit_code == 1
    assert "a circle of 4" in stuck.output
    over = run(f"{HERE}::asleep", "--seed", "0x0")
    assert over.exit_code == 0
    assert "nobody waits" in over.output
    one = run(f"{HERE}::crosswise", "#2", "--seed", "0", "--until", "40000000")
    assert "it does not have 40000000 steps: this is its end" in one.output


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "say where"),
        ((HERE,), "--seed"),
        ((f"{HERE}::crosswise", "--seed", "seven"), "is not a seed"),
        (("nothing.py", "--seed", "1"), "no file 'nothing.py'"),
        (("inv_1abc",), "name its server with --admin URL"),
        (("--admin", "localhost:1", "--seed", "1"), "nothing else"),
        ((f"{HERE}::crosswise", "--seed", "1", "--faults", "none", "--variation", "{}"), "is enough"),
        ((f"{HERE}::crosswise", "--seed", "1", "--variation", "{nonsense"), "variation"),
        ((f"{HERE}::crosswise", "#77", "--seed", "0"), "no invocation '#77' in this run, so far; there are #1 to #4"),
        ((f"{HERE}::crosswise", "#1", "--seed", "0", "--until", "1"), "so far; nothing was accepted"),
    ],
)
def test_bad_usage_says_what_to_do(args: tuple[str, ...], said: str) -> None:
    result = run(*args)
    assert result.exit_code == 2, result.output
    assert said in result.output
