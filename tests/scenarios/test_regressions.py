"""Runs that once broke a claim, made small by `understudy shrink` and kept.  Each must hold now.

A file names its script, its seed and what was left of it.  `understudy replay SCRIPT --seed S --shrunk FILE` shows it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from understudy_sim.stage.application import Application
from understudy_sim.stage.run import run_seed
from understudy_sim.stage.script import load_scenario
from understudy_sim.stage.shrunk_file import load_variation
from understudy_sim.stage.silence import silent

KEPT = sorted((Path(__file__).parent / "regressions").glob("*.json"))


@pytest.mark.parametrize("file", KEPT, ids=lambda file: file.stem)
def test_what_once_broke_holds(file: Path) -> None:
    scenario = load_scenario(json.loads(file.read_text())["script"])
    with silent():
        report = run_seed(
            scenario, Application(scenario.app), json.loads(file.read_text())["seed"], load_variation(file)
        )
    assert report.violations == ()
    assert report.firings, "the faults that broke it still come"
