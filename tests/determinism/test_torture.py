"""A seed is the same run in processes of every kind; where it is not, the step and the line are found."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import pytest
from understudy_sim.kernel.trace import Note, Step, Trace
from understudy_sim.stage.torture import PLAIN, Mismatch, Sample, conditions, mismatches, parting

from tests.commands import understudy
from tests.determinism.interpreters import other_pythons

UNSTEADY = "tests/determinism/unsteady.py"


def torture(*arguments: str) -> tuple[int, str]:
    """Exit code and output of the command."""
    done = understudy("torture", *arguments, timeout_s=600)
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


def test_the_tour_is_one_run_in_processes_of_every_kind() -> None:
    code, told = torture("scenarios/ticket_tour.py", "--seeds", "1", "--first-seed", "5", "--json")
    assert code == 0, told
    found = json.loads(told.splitlines()[-1])
    assert found["differ"] == []
    assert len(found["conditions"]) >= 12


def test_another_minor_version_is_one_of_them() -> None:
    python = other_pythons()[0]
    code, told = torture("scenarios/ticket_tour.py", "--seeds", "1", "--python", python, "--only", "Python at")
    assert code == 0, told
    assert f"Python at {python}" in told


@pytest.mark.parametrize(
    ("name", "condition", "line"),
    [("walks", "another hash seed", "# the set's order"), ("sorts", "another allocator", "# the addresses' order")],
)
def test_what_differs_is_found_at_its_step_and_line(name: str, condition: str, line: str) -> None:
    code, told = torture(f"{UNSTEADY}::{name}", "--seeds", "1", "--only", condition)
    assert code == 1, told
    assert re.search(rf"{condition} +DIFFERS in seed 0", told)
    assert f"seed 0 is not the same run under: {condition}" in told
    assert re.search(r"they part in step [\d,]+ of [\d,]+", told)
    assert re.search(rf"{UNSTEADY}:\d+ in \w+: await ctx.object_call.*{line}", told), told
    assert told.count("sent (") >= 2, "what was sent in both"


def test_python_without_the_project_is_refused() -> None:
    done = understudy("torture", "scenarios/account.py", "--python", "/bin/false")
    assert done.returncode == 2
    assert "/bin/false is no Python that has the project installed" in done.stderr


def traced(*entries: tuple[int, ...] | tuple[str, int]) -> Trace:
    trace = Trace()
    for entry in entries:
        if isinstance(entry[0], str):
            trace.note(*entry)  # type: ignore[arg-type]
        else:
            trace.extend(entry)
    return trace


def test_traces_part_where_they_differ_first() -> None:
    one = traced((1, 100), ("sent", 7), (2, 200), ("sent", 8), (1, 300))
    other = traced((1, 100), ("sent", 7), (2, 200), ("sent", 9), (1, 300))
    found = parting(one, other)
    assert found is not None
    assert (found.entry, found.word, found.step) == (3, 6, 2)
    assert (found.one, found.other) == (Note("sent", (8,)), Note("sent", (9,)))
    assert found.common[-1] == Step(None, 2, 200)
    assert parting(one, Trace.restored(*one.stored())) is None
    shorter = parting(one, traced((1, 100)))
    assert shorter is not None
    assert (shorter.entry, shorter.one, shorter.other) == (1, Note("sent", (7,)), None)


def test_somebody_is_called_when_a_word_is_about_to_enter() -> None:
    seen: list[int] = []
    trace = Trace()
    trace.call_at(5, lambda: seen.append(len(trace.words)))
    whole = traced((1, 100), ("sent", 7), (2, 200), ("sent", 8))
    for entry in whole.entries():
        if isinstance(entry, Step):
            trace.append(entry.ordinal)
            trace.append(entry.time_ns)
        else:
            trace.note(entry.kind, *entry.words)
    assert seen == [5]
    assert trace.running() == whole.running(), "it changes nothing"


def test_each_condition_differs_from_the_plain_process_in_a_way_of_its_own() -> None:
    found = conditions((3, 4), ("python3.13",))
    assert len({one.name for one in (PLAIN, *found)}) == len(found) + 1
    before = [one.before for one in found if one.before]
    assert (4, 3) in before
    assert all(seed not in (3, 4) for seeds in before if seeds != (4, 3) for seed in seeds)


def test_mismatches_are_told_by_seed() -> None:
    def samples(*digests: str) -> Sequence[Sample]:
        return [Sample(seed, digest, 10) for seed, digest in enumerate(digests)]

    assert mismatches(samples("a", "b"), PLAIN, samples("a", "c")) == [
        Mismatch(1, PLAIN, Sample(1, "b", 10), Sample(1, "c", 10))
    ]
