"""Runs that once broke a claim, made small by `understudy shrink` and kept as files.  Each must hold now.

Each of them is a program and a test of its own, too (`fixed.py`); here its faults are asked to still come: a run whose
faults hit nothing any more says nothing.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from understudy_sim.stage.shrunk_file import load_fixed

KEPT = sorted((Path(__file__).parent / "regressions").glob("*.py"))


@pytest.mark.parametrize("file", KEPT, ids=lambda file: file.stem)
def test_what_once_broke_holds(file: Path) -> None:
    fixed = load_fixed(file)
    report = fixed.run()
    assert report.violations == ()
    assert len(report.firings) >= len(fixed.trial.variation.strikes or ()), "the faults that broke it still come"
