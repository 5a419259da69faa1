"""A power cut runs nothing: no finally, no except; no module global, ledger entry or state of the dead is ever seen.

The handler returns what its module remembers, which no journal has: so it must also be caught at that (P6).
"""

from __future__ import annotations

from understudy_sim.stage.script import load_scenario
from understudy_sim.stage.search import run_seeds
from understudy_sim.stage.variation import AS_DRAWN

SEEDS = 15


def test_what_a_dead_handler_tried_leaves_no_trace() -> None:
    cut = 0
    told = 0
    for report in run_seeds(load_scenario("tests/sim/stage/cut_app.py"), range(SEEDS), AS_DRAWN):
        claims = [one.claim.partition(" ")[0] for one in report.violations]
        assert all(claim == "P6" for claim in claims), report.stories
        told += bool(claims)
        cut += report.faults.get("endpoint_crash", (0, 0))[1]
    assert cut >= 5, "the endpoint must be cut in the middle of a handler"
    assert told >= 5, "P6: a replay has to notice that a result comes from the module's memory"
