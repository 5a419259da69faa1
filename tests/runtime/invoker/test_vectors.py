"""Every recorded exchange of versions 5 and 6, with our server in the server's place: the same words, byte for byte."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock
from understudy_runtime.node import Deployment, Node

from tests.runtime.invoker.recordings import VECTORS, Theatre, limits_of, recorded
from tests.runtime.node.fakes import FakeWorld
from tests.runtime.node.stand import ScriptedTransport, ignore
from tests.sdk.vector_services import build_app

NO_SCENARIOS = ("http", "identity", "ids")
SCENARIOS = sorted(path.stem for path in VECTORS.glob("*.json") if path.stem not in NO_SCENARIOS)
VARIANTS = ("v5_bidi", "v6_bidi", "v6_request_response")


def manifest(version: int) -> dict[str, object]:
    return {**build_app(version).manifest(4), "minProtocolVersion": 5, "maxProtocolVersion": version}


@pytest.fixture
def clock() -> MockClock:
    """Time stands still until the recordings want it to pass."""
    return MockClock()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_recorded_exchange(scenario: str, variant: str, clock: MockClock) -> None:
    world = FakeWorld()
    theatre = Theatre(recorded(scenario, variant), world, clock)
    transport = ScriptedTransport(theatre.script)
    node = Node(
        world,
        limits_of(variant),
        deployments=[Deployment("dp_1a", transport, manifest(int(variant[1])))],
        observe=ignore,
    )
    theatre.node = node
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        await theatre.direct()
        nursery.cancel_scope.cancel()
    assert all(recording.played == len(recording.attempts) for recording in theatre.recordings)
    versions = {dialogue.head.protocol_version for dialogue in transport.dialogues}
    assert versions == {int(variant[1])}


def test_all_recordings_are_here() -> None:
    assert len(SCENARIOS) == 38
