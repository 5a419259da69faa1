"""Every way of speaking is rehearsed to its end: each hop over HTTP/1.1 and HTTP/2, given and registered endpoints."""

from __future__ import annotations

import pytest
from understudy_sim.kernel.choices import Overrides
from understudy_sim.stage.application import Application
from understudy_sim.stage.plan import Hop
from understudy_sim.stage.run import run_seed
from understudy_sim.stage.script import load_scenario
from understudy_sim.stage.silence import silent
from understudy_sim.stage.variation import Variation

# What the decisions mean that force a hop: `Hops` is drawn in this order.
IN_BYTES: Overrides = {("plan/bytes", None): 999}
CLIENT = {Hop.H1: 0, Hop.H2: 1}
ENDPOINT = {Hop.H1: 0, Hop.H2: 1}
SEEDS = (3, 11)
SHARED = "hops: requests that share an HTTP/2 connection"


@pytest.mark.parametrize("registered", [False, True])
@pytest.mark.parametrize("endpoint", ENDPOINT)
@pytest.mark.parametrize("client", CLIENT)
def test_a_tour_holds_over_every_hop(client: Hop, endpoint: Hop, registered: bool) -> None:
    overrides = {
        **IN_BYTES,
        ("plan/hop/client", None): CLIENT[client],
        ("plan/hop/endpoint", None): ENDPOINT[endpoint],
        ("plan/registered", None): 999 * registered,
        ("plan/moves", None): 2,
    }
    scenario = load_scenario("scenarios/ticket_tour.py")
    application = Application(scenario.app)
    shared = 0
    for seed in SEEDS:
        with silent():
            report = run_seed(scenario, application, seed, Variation(overrides=overrides))
        assert not report.failed, report.stories
        assert (report.hops.client, report.hops.endpoint, report.hops.registered) == (client, endpoint, registered)
        assert report.hits.get("P14 registrations acknowledged", 0) >= 3 * registered
        assert report.hits.get("P14 deployments listed", 0) == registered
        shared += report.hits.get(SHARED, 0)
    assert bool(shared) == (client is Hop.H2), "customers of one process share connections"


def test_without_bytes_nothing_is_registered() -> None:
    scenario = load_scenario("scenarios/ticket_tour.py")
    overrides: Overrides = {("plan/bytes", None): 0, ("plan/registered", None): 999}
    with silent():
        report = run_seed(scenario, Application(scenario.app), 3, Variation(overrides=overrides))
    assert not report.failed, report.stories
    assert not report.bytes_mode
    assert "P14 registrations acknowledged" not in report.hits
