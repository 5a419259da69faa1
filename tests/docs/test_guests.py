"""The page about applications of the official SDK: its example is rehearsed as the page says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.docs.pages import blocks
from tests.tidy.sources import ROOT

PAGE = "docs/how-to/rehearse-an-official-sdk-app.md"


def run(folder: Path, *command: str) -> str:
    done = subprocess.run([sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_is_rehearsed_by_the_commands_of_the_page(tmp_path: Path) -> None:
    (code,) = [block.text for block in blocks(PAGE, (ROOT / PAGE).read_text()) if block.language == "python"]
    (tmp_path / "shop.py").write_text(code)
    told = run(tmp_path, "understudy", "simulate", "shop.py", "--seeds", "4")
    assert "orders_are_charged_once: 4 seeds, all claims hold" in told
    assert "not judged of a guest: P6" in told
    assert "1 passed" in run(tmp_path, "pytest", "-q", "shop.py", "--scenario-seeds", "2")


def test_its_mistake_is_told_with_its_line(tmp_path: Path) -> None:
    (code,) = [block.text for block in blocks(PAGE, (ROOT / PAGE).read_text()) if block.language == "python"]
    careless = code.replace('await ctx.run_typed("key", lambda: str(uuid.uuid4()))', "str(uuid.uuid4())")
    assert careless != code
    (tmp_path / "shop.py").write_text(careless)
    line = next(number for number, text in enumerate(careless.splitlines(), 1) if "str(uuid.uuid4())" in text)
    told = run(tmp_path, "understudy", "simulate", "shop.py", "--seeds", "1", "--expect-failure")
    assert "uuid.uuid4() is called in place, outside ctx.run" in told
    assert f"shop.py:{line}" in told
