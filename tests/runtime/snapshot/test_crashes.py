"""A power cut before every single disk operation: what was acknowledged is there afterwards, and nothing else."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from understudy_runtime.limits import Limits
from understudy_runtime.model.events import LogTrimmed, SnapshotWritten, StorageRestored

from tests.runtime.snapshot.crashing import Lives, live
from tests.runtime.snapshot.play import commands_of
from tests.runtime.snapshot.stand import LIMITS, folded, stored

COMMANDS = commands_of(list(range(45)))
# Slices, syncs and segments so small that every kind of operation lies between any two others.
TINY = attrs.evolve(LIMITS, snapshot_log_bytes=600, segment_bytes_max=400, flush_rows=4, snapshot_slice_rows=8)
NO_PREWRITE = attrs.evolve(TINY, log_prewrite_bytes=0)


def check(lives: Lives) -> None:
    """The last life's tables are the fold of all records that were applied in any life, gap-free."""
    assert lives.tables is not None
    expected = folded(lives.events)
    assert expected.applied_lsn == lives.tables.applied_lsn
    assert lives.tables.applied_lsn >= lives.acknowledged_lsn, "P12: what was acknowledged is durable"
    assert stored(lives.tables) == stored(expected)


def test_undisturbed_it_takes_snapshots_and_trims() -> None:
    lives = live(COMMANDS, TINY, (), seed=0)
    check(lives)
    assert sum(isinstance(one, SnapshotWritten) for one in lives.events) >= 2
    assert sum(isinstance(one, LogTrimmed) for one in lives.events) >= 2


@pytest.mark.parametrize("loses_store", [False, True])
@pytest.mark.parametrize("limits", [TINY, NO_PREWRITE], ids=["prewritten", "plain"])
@pytest.mark.parametrize("seed", [0, 10_000])
def test_a_power_cut_before_every_operation(limits: Limits, loses_store: bool, seed: int) -> None:
    (operations,) = live(COMMANDS, limits, (), seed=1).operations
    assert operations > 100
    restored = 0
    for cut in range(1, operations + 1):
        lives = live(COMMANDS, limits, (cut,), seed=seed + cut, loses_store=loses_store)
        assert lives.operations[0] == cut, "the cut happened"
        check(lives)
        restored += any(isinstance(one, StorageRestored) and one.lsn for one in lives.events)
    assert restored > operations // 12, "a start from a snapshot is not rare here"


@given(
    numbers=st.lists(st.integers(0, 400), min_size=6, max_size=40),
    cuts=st.lists(st.integers(1, 60), max_size=4),
    seed=st.integers(0, 2**32),
    loses_store=st.booleans(),
    snapshot_log_bytes=st.sampled_from([1, 300, 900]),
    flush_rows=st.sampled_from([1, 3, 50]),
    slice_rows=st.sampled_from([1, 4, 50]),
)
@settings(max_examples=150, deadline=None)
def test_power_cuts_in_any_life(
    numbers: list[int],
    cuts: list[int],
    seed: int,
    loses_store: bool,
    snapshot_log_bytes: int,
    flush_rows: int,
    slice_rows: int,
) -> None:
    limits = attrs.evolve(
        TINY, snapshot_log_bytes=snapshot_log_bytes, flush_rows=flush_rows, snapshot_slice_rows=slice_rows
    )
    lives = live(commands_of(numbers), limits, cuts, seed=seed, loses_store=loses_store)
    check(lives)
    event(f"restored {sum(isinstance(one, StorageRestored) for one in lives.events)}")
