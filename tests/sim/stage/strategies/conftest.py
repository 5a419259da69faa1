"""One report of the tiny scenario, for tests that make up what runs show."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
from understudy_sim.stage.application import Application
from understudy_sim.stage.report import Report
from understudy_sim.stage.run import run_seed
from understudy_sim.stage.scenario import Scenario
from understudy_sim.stage.script import load_scenario
from understudy_sim.stage.silence import silent
from understudy_sim.stage.watch import Violation

TINY = "tests/sim/stage/strategies/tiny.py"


@pytest.fixture(scope="session")
def tiny() -> Scenario:
    return load_scenario(TINY)


@pytest.fixture(scope="session")
def shown(tiny: Scenario) -> Callable[..., Report]:
    """A report as a run of *seed* would give it, with *cells* as its coverage; *fails* breaks a claim."""
    with silent():
        like = run_seed(tiny, Application(tiny.app), 2)

    def report(seed: int, cells: int = 0, *, fails: bool = False) -> Report:
        broken = (Violation("a claim", "made up", 0),) if fails else ()
        return attrs.evolve(like, seed=seed, digest=f"{seed:032x}", cells=cells, violations=broken)

    return report
