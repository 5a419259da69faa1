"""A checkpoint says all that the commands before it said; the meta log is cut back to it, and never grows for ever."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from understudy_runtime.limits import Limits
from understudy_runtime.log.core import LogCorrupt
from understudy_runtime.meta import core
from understudy_runtime.meta.core import (
    MetaCommand,
    MetaState,
    MoveDeployment,
    PatchService,
    RegisterDeployment,
    RemoveDeployment,
)
from understudy_runtime.meta.shell import META_CODEC, Meta
from understudy_runtime.world import SyncFailed

from tests.runtime.meta.test_registrations import MANIFEST, ONE, TWO, only
from tests.runtime.node.fakes import FakeWorld

SMALL = Limits(log_prewrite_bytes=0, snapshot_log_bytes=6_000)
MANIFESTS = (
    MANIFEST,
    core.canonical_manifest(only("Echo")),
    core.canonical_manifest(only("Echo", "Flow")),
)
IDS = st.sampled_from(["dp_1a", "dp_1b", "dp_1c"])
OPTION = st.none() | st.integers(0, 9)
COMMANDS = st.lists(
    st.one_of(
        st.builds(
            RegisterDeployment,
            IDS,
            st.sampled_from(MANIFESTS),
            st.sampled_from([ONE, TWO, None]),
            st.sampled_from(["", "sdk/1"]),
            st.just("HTTP/2.0"),
            st.integers(0, 9),
        ),
        st.builds(RemoveDeployment, IDS),
        st.builds(MoveDeployment, IDS, st.sampled_from([ONE, TWO]), st.sampled_from([b"", *MANIFESTS])),
        st.builds(
            PatchService,
            st.sampled_from(["Echo", "Flow", "Counter"]),
            st.none() | st.booleans(),
            OPTION,
            OPTION,
            OPTION,
            OPTION,
            OPTION,
        ),
    ),
    max_size=12,
)


def fits(state: MetaState, command: MetaCommand) -> bool:
    """Whether *command* speaks of what is known."""
    if isinstance(command, PatchService):
        return command.service in state.schema.services
    is_new = isinstance(command, RegisterDeployment)
    return is_new or command.deployment_id in state.schema.deployments  # type: ignore[union-attr]


@settings(max_examples=200, deadline=None)
@given(COMMANDS, COMMANDS)
def test_a_checkpoint_makes_the_same_state(before: list[MetaCommand], after: list[MetaCommand]) -> None:
    state = MetaState()
    for command in before:
        if fits(state, command):
            core.apply(state, command)
    (checkpoint,) = META_CODEC.decode(META_CODEC.encode([core.checkpoint(state)]))
    again = MetaState()
    core.apply(again, checkpoint)
    assert again == state
    assert list(again.schema.deployments) == list(state.schema.deployments)
    for command in after:
        if fits(state, command):
            core.apply(state, command)
            core.apply(again, command)
    assert again == state


async def opened(world: FakeWorld, limits: Limits = SMALL) -> Meta:
    return await Meta.open(world, identity=1, limits=limits, observe=lambda event: None)


def registration(number: int) -> RegisterDeployment:
    return RegisterDeployment(f"dp_1{'abc'[number % 3]}", MANIFESTS[number % 3], ONE, created_ms=number)


async def test_registrations_do_not_let_the_log_grow() -> None:
    world = FakeWorld()
    meta = await opened(world)
    sizes = []
    for number in range(120):
        await meta.append(registration(number))
        sizes.append(sum(len(medium.seen) for name, medium in world.disk.files.items() if name.startswith("meta/")))
    assert max(sizes) < 4 * SMALL.snapshot_log_bytes
    assert meta.lsn_last > 120, "checkpoints are records"
    schema = meta.schema
    meta.close()
    world.disk.power_cut()
    assert (await opened(world)).schema == schema


@pytest.mark.parametrize("segment_bytes_max", [SMALL.segment_bytes_max, 1], ids=["one segment", "many segments"])
async def test_a_power_cut_at_every_sync_of_a_checkpoint(segment_bytes_max: int) -> None:
    limits = attrs.evolve(SMALL, segment_bytes_max=segment_bytes_max)
    cuts = 0
    for sync in range(1, 400):
        world = FakeWorld()
        meta = await opened(world, limits)
        world.disk.failing_sync = world.disk.syncs + sync
        done = 0
        try:
            for number in range(24):
                await meta.append(registration(number))
                done = number + 1
        except SyncFailed:
            cuts += 1
            world.disk.power_cut()
            again = await opened(world, limits)
            expected = [MetaState(), MetaState()]
            for number in range(done + 1):
                for state in expected[number == done :]:
                    core.apply(state, registration(number))
            assert again.schema in [state.schema for state in expected]
            continue
        break
    assert cuts > 26, "checkpoints were cut too"


async def test_a_log_that_begins_in_the_middle_is_refused() -> None:
    world = FakeWorld()
    meta = await opened(world)
    for number in range(3):
        meta._log.close_segment()
        await meta.append(registration(number))
    meta.close()
    world.disk.unlink(f"meta/{world.disk.list_dir('meta')[0]}")
    with pytest.raises(LogCorrupt, match="before the first segment are missing"):
        await opened(world)
