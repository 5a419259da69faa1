"""The last two formats of a data folder open, say what they always said, and are upgraded; also when the power goes."""

from __future__ import annotations

import json
from typing import Any

import cbor2
import pytest
from trio.testing import MockClock
from understudy_runtime.node import FORMAT, read_format
from understudy_runtime.world import SyncFailed

from tests.golden.folders import HERE, describe_folder, opened, read_folder
from tests.golden.play import recorded
from tests.runtime.node.fakes import FakeDisk, FakeWorld

FORMATS = (FORMAT - 1, FORMAT)


def wanted(format_: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((HERE / f"format-{format_}" / "tables.json").read_text())
    return found


def folder(format_: int) -> FakeDisk:
    return read_folder(HERE / f"format-{format_}")


def without_lsn(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in part.items() if name != "applied_lsn"} for part in parts]


@pytest.mark.parametrize("format_", FORMATS)
async def test_a_folder_opens_and_is_upgraded(format_: int, autojump_clock: MockClock) -> None:
    disk = folder(format_)
    assert read_format(disk).format == format_
    assert await describe_folder(disk, wanted(format_)) == wanted(format_)
    assert read_format(disk).format == FORMAT
    disk.power_cut()
    again = await describe_folder(disk, wanted(format_))
    assert without_lsn(again) == without_lsn(wanted(format_))


@pytest.mark.parametrize("format_", FORMATS)
async def test_an_upgrade_that_loses_its_power_is_done_again(format_: int, autojump_clock: MockClock) -> None:
    failed = 0
    for sync in range(1, 1_000):
        disk = folder(format_)
        disk.failing_sync = sync
        try:
            await opened(FakeWorld(disk=disk), lambda event: None)
        except SyncFailed:
            failed += 1
            disk.power_cut()
            assert without_lsn(await describe_folder(disk, wanted(format_))) == without_lsn(wanted(format_))
            continue
        break
    assert failed >= 8, "every sync of the start has failed once"


async def test_the_mark_of_the_format_is_written_last(autojump_clock: MockClock) -> None:
    disk = folder(FORMAT - 1)
    names: list[str] = []
    rename = disk.rename
    disk.rename = lambda source, target: (names.append(target), rename(source, target))  # type: ignore[method-assign,assignment]
    lengths = {name: len(medium.seen) for name, medium in disk.files.items()}
    await opened(FakeWorld(disk=disk), lambda event: None)
    assert names == ["format"]
    for name, length in lengths.items():
        if "/" in name:
            assert len(disk.files[name].seen) == length, "what an older program wrote is left as it was"


def test_this_build_writes_the_newest_format() -> None:
    """Not the same bytes: ids of deployments and rows may differ; but the same kinds of files, of the same formats."""
    found, golden = recorded().disk, folder(FORMAT)
    assert cbor2.loads(bytes(found.files["format"].seen))[0] == FORMAT
    assert {name.split("/")[0] for name in found.files} == {name.split("/")[0] for name in golden.files}
    for kind in ("partition-0/", "partition-0.snapshots/", "meta/"):
        heads = [
            {bytes(medium.seen[:10]) for name, medium in disk.files.items() if name.startswith(kind)}
            for disk in (found, golden)
        ]
        assert heads[0] == heads[1]
        assert heads[0]
