"""Walking through a run by commands: forwards, backwards, to events; looking at each part of the world that stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from understudy_sim.cli.repl import COMMANDS
from understudy_sim.cli.replay import replay
from understudy_sim.stage.chronicle import Chronicle, Event, Named
from understudy_sim.stage.standing import is_meant

HERE = "tests/sim/stage/waiting_app.py::crosswise"
TOUR = "scenarios/ticket_tour.py"


def walk(*commands: str, script: str = HERE, until: int | None = 100) -> Result:
    args = [script, "--seed", "0", "--repl", *(("--until", str(until)) if until else ())]
    return CliRunner().invoke(replay, args, input="\n".join(commands) + "\n", catch_exceptions=False)


def places(result: Result) -> list[int]:
    """The steps it stood at, in order."""
    return [int(found) for found in re.findall(r"^step (\d+)(?: of \d+)?, ", result.output, re.MULTILINE)]


def test_steps_go_on_back_and_anywhere() -> None:
    result = walk("step", "step 3", "back", "back 2", "to 50", "quit")
    assert places(result) == [100, 101, 104, 103, 101, 50]
    assert "the run was made again in" in result.output


def test_to_be_somewhere_again_is_to_see_the_same() -> None:
    result = walk("log 5", "step 30", "back 30", "log 5")
    first, second = re.findall(r"\(100\) log 5\n((?:step .*\n)+)", result.output)
    assert first == second
    assert len(first.splitlines()) == 5


def test_the_end_is_the_end() -> None:
    result = walk("to end", "step", "to 99999999", "back 1", "to 99999999")
    end = places(result)[1]
    assert result.output.count(f"the run ends with step {end}: this is its end") == 2
    assert places(result) == [100, end, end - 1, end]
    assert "there is no step 99999999: this is the end" in result.output
    assert places(walk(until=None)) == [end]


def test_run_until_finds_the_next_event() -> None:
    result = walk("run until lock", "log 1 lock", "run until #2", "run until nonesuch", "run until lock", until=10)
    steps = places(result)
    assert steps == sorted(steps)
    assert len(steps) == 5
    assert steps[2] == steps[3], "what is not found leaves one where one was"
    assert "nothing about 'nonesuch' comes after step" in result.output
    logged = re.search(r"log 1 lock\nstep (\d+) .* lock #1  Room/", result.output)
    assert logged is not None
    assert int(logged.group(1)) == steps[1]


def test_a_kind_of_event_is_no_part_of_a_word_and_a_number_no_part_of_a_number() -> None:
    run = Chronicle(
        scenario="made up",
        seed=0,
        variation="",
        digest="",
        steps=1,
        ended_ns=0,
        ending="",
        events=(),
        messages=(),
        invocations=(Named(number=1, id=f"inv_1{'a' * 33}", target="Room/north/enter", label="ann's"),),
    )

    def meant(kind: str, what: str, text: str, invocation: str = "") -> bool:
        event = Event(number=1, at_ns=0, step=1, process="server.1", kind=kind, what=what, invocation=invocation)
        return is_meant(event, text, run)

    assert meant("lock", "Room/north", "lock")
    assert not meant("fault", "clock_jump of server", "lock")
    assert meant("fault", "clock_jump of server", "clock_jump")
    assert not meant("accepted", "inv #12 Room/south/enter", "#1")
    assert meant("accepted", "inv #1 Room/north/enter", "#1", run.invocations[0].id)
    assert meant("ask", "ann: Room/north/enter()", "Room/north/enter")
    assert meant("entry", "[0] INPUT", "server")


def test_each_part_can_be_looked_at() -> None:
    commands = ("invocations", "journal #1", "locks", "inbox", "timers", "network", "disk", "where", "why", "claims")
    output = walk(*commands, "where server", "state Room north", "log", until=None).output
    for said in (
        "#1   Room/",
        "[0] INPUT",
        "is held by inv #",
        ": 1. inv #",
        "the server's clock says",
        "connection",
        "writes, ",
        "main.1 is running",
        "a circle of 4",
        "no claim is broken so far",
        "Node.run (runtime/understudy_runtime/node.py:",
        "Room/north has no state",
    ):
        assert said in output, said
    state = walk("state CartObject nobody", "state TicketObject seat-1", script=TOUR, until=None).output
    assert "CartObject/nobody has no state" in state


def test_a_journal_that_was_let_go_is_told_of() -> None:
    done = CliRunner().invoke(
        replay,
        ["tests/scenarios/regressions/two_partitions_stop_at_once.py", "--repl"],
        input="journal #1\n",
        catch_exceptions=False,
    )
    assert re.search(r"COMPLETED, .*\n  its journal is gone", done.output)


def test_what_is_on_its_way_is_named() -> None:
    output = walk("run until send", "network", script=TOUR, until=10).output
    assert re.search(r"on its way, \w+\.1 > server\.1, sent 0\.000 s ago \(step \d+\): POST /", output)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("jump", "there is no command 'jump'; type help"),
        ("st", "'st' is step or state; type help"),
        ("step many", "'many' is no number of steps"),
        ("step 0", "'0' is no number of steps"),
        ("back 500", "a run begins with step 1, and this is step 100"),
        ("to", "usage: to STEP|end"),
        ("state Room", "usage: state SERVICE KEY"),
        ("journal nobody", "nobody: there is no such invocation"),
        ("why '#77'", "there is no invocation '#77' in this run, so far"),
        ("where nobody", "there is no process 'nobody'; there are: "),
        ('log "', "No closing quotation"),
        ("run until", "until what?"),
        ("py 1 / 0", "ZeroDivisionError"),
        ("py", "usage: py EXPRESSION"),
        ("py run.scenario.name", "'crosswise'"),
        ("help", "who waits for whom"),
        ("", "(100) "),
    ],
)
def test_whatever_is_typed_is_answered(command: str, said: str) -> None:
    result = walk(command, "log 1")
    assert said in result.output
    assert result.exit_code == 0
    assert "(100) log 1" in result.output, "and one may go on"


def test_help_knows_every_command() -> None:
    output = walk("help").output
    assert all(f"  {name}" in output for name in COMMANDS)


def test_a_broken_claim_is_told_and_ends_with_1() -> None:
    result = walk("claims", "quit", script="tests/sim/stage/waiting_app.py::untold", until=None)
    assert result.exit_code == 1
    assert "P5 every accepted invocation ends" in result.output


def test_a_page_is_written_beside_the_story(tmp_path: Path) -> None:
    page = tmp_path / "run.html"
    result = CliRunner().invoke(replay, [HERE, "--seed", "0", "--html", str(page)], catch_exceptions=False)
    assert result.exit_code == 0
    assert f"the run is in {page}" in result.output
    text = page.read_text(encoding="utf-8")
    assert "crosswise, seed 0x0" in text
    assert f"{HERE} --seed 0x0" in text
    again = tmp_path / "again.html"
    CliRunner().invoke(replay, [HERE, "--seed", "0", "--html", str(again)], catch_exceptions=False)
    assert again.read_bytes() == page.read_bytes()
    nowhere = CliRunner().invoke(replay, [HERE, "--seed", "0", "--html", str(tmp_path / "no" / "run.html")])
    assert nowhere.exit_code == 2
    assert "there is no folder" in nowhere.output


def test_until_beyond_the_end_is_said() -> None:
    result = CliRunner().invoke(replay, [HERE, "--seed", "0", "--until", "99999999"], catch_exceptions=False)
    assert "it does not have 99999999 steps: this is its end" in result.output
