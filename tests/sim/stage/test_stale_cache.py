"""A log whose sync failed, read by the next process from a cache that nobody writes any more, then a power cut."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from understudy_runtime import world
from understudy_runtime.limits import Limits
from understudy_runtime.log.shell import Log
from understudy_sim.kernel.choices import SeededChoices
from understudy_sim.kernel.disk import Medium, PlainDiskErrors
from understudy_sim.kernel.kernel import Kernel


class Errors(PlainDiskErrors):
    SyncFailed = world.SyncFailed


class _Words:
    """A codec of one byte a command."""

    def encode_within(self, commands: Any, bytes_max: int) -> tuple[bytes, int]:
        return bytes(commands), len(commands)

    def decode(self, payload: Any) -> list[int]:
        return list(bytes(payload))


def _open(disk: Any) -> Any:
    codec: Any = _Words()
    return Log.open(disk, "log", identity=1, codec=codec, limits=Limits(), observe=lambda _: None)


async def _append_until_a_sync_fails(log: Any, medium: Medium, syncs_before: int) -> None:
    for number in range(1, 4):
        if medium.syncs >= syncs_before or number == 3:
            medium.fail_syncs = 1
        await log.append([number], epoch=1, expected_lsn=number, time_ms=0)


async def _read_after_a_power_cut(kernel: Kernel, syncs_before: int) -> list[int]:
    """Sync number *syncs_before* + 1 fails; the next process appends what is missing; then the power goes."""
    medium, process = kernel.medium("host"), kernel.process("host")
    read: list[int] = []

    async def first() -> None:
        log = await _open(medium.mount(process))
        with pytest.raises(world.SyncFailed):
            await _append_until_a_sync_fails(log, medium, syncs_before)

    async def second() -> None:
        log = await _open(medium.mount(process))
        for number in range(log.lsn_last + 1, 6):
            await log.append([number], epoch=1, expected_lsn=number, time_ms=0)
        medium.power_cut()

    async def third() -> None:
        log = await _open(medium.mount(process))
        read.extend(one for replayed in log.records() for one in replayed.commands)

    for life in (first, second, third):
        process.start(life, on_exit=lambda _, result: result.unwrap())
        await trio.sleep(5)
    return read


@pytest.mark.parametrize("syncs_before", range(5))
@pytest.mark.parametrize("detail", range(4))
def test_what_was_read_after_a_failed_sync_is_there_after_a_power_cut(syncs_before: int, detail: int) -> None:
    choices = SeededChoices(syncs_before, {("disk.host.cache_stays", None): 999})
    with Kernel(choices, disk_errors=Errors) as kernel:
        kernel.medium("host").fail_detail = detail
        assert kernel.run(_read_after_a_power_cut, kernel, syncs_before).value() == [1, 2, 3, 4, 5]
