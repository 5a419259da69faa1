"""The same on a real disk with SQLite: stores that are gone, cut short, rotten, of an older format."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from understudy_runtime.model.events import Event, LogTrimmed, SnapshotWritten, StorageRestored
from understudy_runtime.real_world import RealWorld

from tests.runtime.snapshot.play import commands_of
from tests.runtime.snapshot.stand import folded, start, stored, work

COMMANDS = commands_of(list(range(120)))
STORE = "partition-0.sqlite"


def is_gone(path: Path) -> None:
    path.unlink()


def is_cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5_000])


def has_no_header(path: Path) -> None:
    path.write_bytes(bytes(100) + path.read_bytes()[100:])


def has_another_value(path: Path) -> None:
    """One byte of the tables' own row: its checksum tells."""
    connection = sqlite3.connect(path)
    ((value,),) = connection.execute("SELECT value FROM rows WHERE key = ?", (b"m",)).fetchall()
    changed = bytes((value[0] ^ 1, *value[1:]))
    connection.execute("UPDATE rows SET value = ? WHERE key = ?", (changed, b"m"))
    connection.commit()
    connection.close()


def has_no_table(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE rows")
    connection.commit()
    connection.close()


@pytest.mark.parametrize("hurt", [is_gone, is_cut_short, has_no_header, has_another_value, has_no_table])
async def test_a_store_that_is_hurt_is_rebuilt_from_the_snapshot(hurt: Callable[[Path], None], tmp_path: Path) -> None:
    events: list[Event] = []
    world = RealWorld(tmp_path)
    partition = await start(world, events)  # type: ignore[arg-type]
    await work(partition, COMMANDS)
    partition.close()
    (*_, written) = [event for event in events if isinstance(event, SnapshotWritten)]
    assert any(isinstance(event, LogTrimmed) for event in events)
    hurt(tmp_path / STORE)
    again = await start(world, events)  # type: ignore[arg-type]
    (restored,) = [event for event in events if isinstance(event, StorageRestored)]
    assert restored.lsn == written.lsn
    assert stored(again.tables) == stored(folded(events))
    again.close()
    third = await start(world, events)  # type: ignore[arg-type]
    assert len([event for event in events if isinstance(event, StorageRestored)]) == 1
    third.close()
    assert (tmp_path / f"{STORE}.damaged").exists() == (hurt is not is_gone)


async def test_a_hurt_store_of_a_start_that_is_refused_is_kept(tmp_path: Path) -> None:
    """Nothing is destroyed: what could not be used lies beside."""
    world = RealWorld(tmp_path)
    partition = await start(world, [])  # type: ignore[arg-type]
    await work(partition, COMMANDS)
    partition.close()
    before = (tmp_path / STORE).read_bytes()
    (tmp_path / STORE).write_bytes(b"rotten" + before[6:])
    for path in (tmp_path / "partition-0.snapshots").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Exception, match="nothing that can be read holds what came before it"):
        await start(world, [])  # type: ignore[arg-type]
    assert (tmp_path / f"{STORE}.damaged").read_bytes() == b"rotten" + before[6:]
