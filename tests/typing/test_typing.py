"""mypy and pyright agree with `checks.py`, and find every mistake of `mistakes.py` and nothing else in it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CHECKERS = {
    "mypy": (sys.executable, "-m", "mypy", "--no-pretty", "--hide-error-context"),
    "pyright": (sys.executable, "-m", "pyright", "--pythonpath", sys.executable),
}
FOUND = re.compile(r"(?P<file>\w+\.py):(?P<line>\d+)(?::\d+)?(?: -|:) error")


@pytest.mark.parametrize("checker", sorted(CHECKERS))
def test_types_reach_the_user(checker: str) -> None:
    paths = [str(HERE / name) for name in ("checks.py", "mistakes.py")]
    told = subprocess.run([*CHECKERS[checker], *paths], cwd=ROOT, capture_output=True, text=True, check=False)
    found = {(match["file"], int(match["line"])) for match in FOUND.finditer(told.stdout)}
    lines = (HERE / "mistakes.py").read_text().splitlines()
    expected = {("mistakes.py", number) for number, line in enumerate(lines, 1) if line.endswith("# mistake")}
    assert len(expected) == 60
    assert found == expected, told.stdout + told.stderr
    assert told.returncode == 1, told.stderr
