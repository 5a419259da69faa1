"""One golden tour, and a power cut at every durable write of it: before the sync takes effect, and right after.

Once as it is, and once with a snapshot after every few records, where each cut also takes the derived stores: what is
not in a snapshot must be in the log, at every single sync of either.
"""

from __future__ import annotations

import pytest
from understudy_sim import faults
from understudy_sim.kernel.choices import Overrides, SeededChoices
from understudy_sim.stage.application import Application
from understudy_sim.stage.report import Report
from understudy_sim.stage.run import run_choices
from understudy_sim.stage.script import load_scenario
from understudy_sim.stage.silence import silent
from understudy_sim.stage.variation import PointCrash, Variation

from tests.scenarios.small_tour import CALLS, SCRIPT, SEED, SNAPSHOTS

PIECES = 4
KINDS: dict[str, Overrides] = {"as it is": {}, "with snapshots": SNAPSHOTS}


def golden(kind: str, crash_at: PointCrash | None = None) -> Report:
    variation = Variation(faults=faults.none(), crash_at=crash_at, calls=CALLS)
    scenario = load_scenario(SCRIPT)
    choices = SeededChoices(SEED, KINDS[kind])
    return run_choices(scenario, Application(scenario.app), choices, SEED, variation)


@pytest.mark.parametrize("piece", range(PIECES))
@pytest.mark.parametrize("kind", KINDS)
def test_the_tour_survives_a_power_cut_at_every_sync(kind: str, piece: int) -> None:
    restored = 0
    with silent():
        undisturbed = golden(kind)
        assert not undisturbed.failed
        assert undisturbed.syncs >= 30, "a tour writes"
        for ordinal in range(1 + piece, undisturbed.syncs + 1, PIECES):
            for phase in ("before", "after"):
                report = golden(kind, PointCrash(process="server", point="disk.sync", nth=ordinal, side=phase))
                restored += report.happened.get("started from a snapshot", 0)
                assert report.firings, f"nobody crashed {phase} sync {ordinal}"
                assert not report.failed, f"{phase} sync {ordinal}: {report.stories}"
    if kind == "with snapshots":
        assert undisturbed.happened["log trimmed"] >= 2
        assert restored >= 5, "most cuts come after the first snapshot"
