"""The page about scenarios: its example is rehearsed as the page says, from an empty folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import blocks
from tests.tidy.sources import ROOT

PAGE = "docs/how-to/write-a-scenario.md"


def run(folder: Path, *command: str, code: int = 0) -> str:
    done = subprocess.run([sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def example() -> str:
    (code,) = [block.text for block in blocks(PAGE, (ROOT / PAGE).read_text()) if block.language == "python"]
    return code


def test_the_example_is_rehearsed_by_the_commands_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(example())
    assert "jobs_end: 10 seeds, all claims hold" in run(tmp_path, "understudy", "simulate", "jobs.py", "--seeds", "10")
    assert "1 passed" in run(tmp_path, "pytest", "-q", "jobs.py", "--scenario-seeds", "2")


def test_a_client_that_is_called_as_a_process_of_the_rehearsal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(example().replace('client="boss"', 'client="operator"'))
    told = run(tmp_path, "understudy", "simulate", "jobs.py", "--seed", "1", code=1)
    assert "a client is called 'operator', as a process of the rehearsal is: give it another name" in " ".join(
        told.split()
    )


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ('service="Jobz"', "the application has no service 'Jobz'; there are: Jobs"),
        ('service="Jobs", handler="rum"', "the application has no handler 'rum' of Jobs; there are: run"),
    ],
)
def test_a_call_of_what_nobody_offers_is_refused(tmp_path: Path, wrong: str, told: str) -> None:
    before = 'service="Jobs", handler="run"' if "handler" in wrong else 'service="Jobs"'
    (tmp_path / "jobs.py").write_text(example().replace(before, wrong))
    assert told in " ".join(run(tmp_path, "understudy", "simulate", "jobs.py", "--seed", "1", code=1).split())
