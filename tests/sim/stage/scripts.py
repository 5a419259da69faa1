"""Running a script as a test does: on the application of `points_app`, under one seed, with hops as the test wants."""

from __future__ import annotations

from collections.abc import Sequence

from understudy_sim import faults, scenario
from understudy_sim.kernel.choices import Overrides
from understudy_sim.stage.application import Application
from understudy_sim.stage.rehearsal import Observer
from understudy_sim.stage.report import Report
from understudy_sim.stage.run import run_seed
from understudy_sim.stage.scenario import Script
from understudy_sim.stage.silence import silent
from understudy_sim.stage.variation import PointCrash, Variation

from tests.sim.stage.points_app import paid

APP = "tests.sim.stage.points_app:app"
# What the hops speak, and how the seed is made to say so.
HOPS: dict[str, Overrides] = {
    "exchange": {("plan/bytes", None): 0},
    "h1": {("plan/bytes", None): 999, ("plan/hop/client", None): 0, ("plan/hop/endpoint", None): 0},
    "h2": {("plan/bytes", None): 999, ("plan/hop/client", None): 1, ("plan/hop/endpoint", None): 1},
}


def rehearse(script: Script, *, seed: int = 3, hops: str = "exchange", partitions: int = 0) -> Report:
    """Run *script* once; with *partitions* as many, otherwise as drawn."""
    overrides = dict(HOPS[hops])
    if partitions:
        overrides["plan/partitions", None] = partitions  # the value, not an index
    declared = scenario(app=APP, faults=faults.none())(script)
    with silent():
        return run_seed(declared, Application(APP), seed, Variation(overrides=overrides))


def pay_once(
    crash_at: PointCrash | None = None, hops: str = "exchange", observers: Sequence[Observer] = (), seed: int = 3
) -> Report:
    """The scenario of `points_app`, perhaps with a power cut."""
    overrides = {**HOPS[hops], ("plan/upgrade", None): 0, ("client/ann/tries", None): 8}
    with silent():
        variation = Variation(overrides=overrides, crash_at=crash_at)
        return run_seed(paid, Application(APP), seed, variation, observers)
