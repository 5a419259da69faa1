"""A changed bit anywhere in a data folder is found by name, or is of nothing that is needed: never another answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from trio.testing import MockClock
from understudy_runtime.log.core import LogError
from understudy_runtime.node import FORMAT, DataFolderError, sole_error
from understudy_runtime.storage.port import StorageError

from tests.golden.folders import HERE, describe_folder, read_folder

GOLDEN = HERE / f"format-{FORMAT}"
# Each byte whose number leaves this rest is changed in one bit.
STRIDE = 11


def wanted() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((GOLDEN / "tables.json").read_text())
    return found


def without_lsn(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in part.items() if name != "applied_lsn"} for part in parts]


async def opened_with_a_changed_bit(name: str, at: int, bit: int) -> str:
    """What came of it: the error's name, or "" when nothing did."""
    disk = read_folder(GOLDEN)
    medium = disk.files[name]
    medium.seen[at] ^= 1 << bit
    medium.durable = bytes(medium.seen)
    try:
        found = await describe_folder(disk, wanted())
    except BaseException as error:
        if not isinstance(sole_error(error), (LogError, StorageError, DataFolderError)):
            raise
        return type(sole_error(error)).__name__
    assert without_lsn(found) == without_lsn(wanted()), f"bit {bit} of byte {at} of {name} made another answer"
    return ""


@pytest.mark.parametrize("name", sorted(name for name in read_folder(GOLDEN).files if name != "format"))
async def test_a_changed_bit_is_noticed_or_does_no_harm(name: str, autojump_clock: MockClock) -> None:
    """`format` has a test of its own: the golden one is of a build that wrote no checksum there."""
    seen: dict[str, int] = {}
    size = len(read_folder(GOLDEN).files[name].seen)
    for at in range(len(name) % STRIDE, size, STRIDE):
        came = await opened_with_a_changed_bit(name, at, (3 * at + at // 8) % 8)
        seen[came] = seen.get(came, 0) + 1
    # Only what is superseded, or not written yet, does no harm.
    is_superseded = name == "partition-0/00000000000000000019.log"
    assert (seen.get("", 0) > size // STRIDE // 2) == is_superseded, seen
