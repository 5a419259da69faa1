"""The life of a process: what signals do before, while and after it serves."""

from __future__ import annotations

import gc
import io
import json
import signal

import pytest
import trio
from understudy_runtime.cli.configuration import Logging
from understudy_runtime.cli.filters import LogFilter
from understudy_runtime.cli.life import STOP_SIGNALS, Life
from understudy_runtime.cli.output import Logger

pytestmark = pytest.mark.filterwarnings("error")


class Stage:
    """A life whose parts say what happens."""

    def __init__(self) -> None:
        self.log = io.StringIO()
        self.life = Life(Logger(Logging(filter=LogFilter(), format="json", plain=True), self.log))
        self.told: list[str] = []

    async def start(self, nursery):
        self.told.append("started")
        nursery.start_soon(self.signal_once_served, signal.SIGTERM)
        return self.drain

    async def signal_once_served(self, number) -> None:
        while not self.life.started:
            await trio.lowlevel.checkpoint()
        signal.raise_signal(number)

    async def drain(self) -> None:
        self.told.append("drained")

    @property
    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in self.log.getvalue().splitlines()]


async def test_a_signal_drains():
    stage = Stage()
    before = gc.get_threshold()
    assert await stage.life.live(stage.start) == 0
    assert stage.told == ["started", "drained"]
    assert stage.events == ["draining", "stopped"]
    assert gc.get_threshold() == before


@pytest.mark.parametrize("second", STOP_SIGNALS)
async def test_a_second_one_ends_the_drain(second):
    stage = Stage()

    async def drain() -> None:
        signal.raise_signal(second)
        await trio.sleep_forever()

    stage.drain = drain
    with trio.fail_after(10):
        assert await stage.life.live(stage.start) == 128 + second


async def test_a_signal_before_it_serves_ends_it_with_nothing_to_drain():
    stage = Stage()

    async def start(nursery):
        signal.raise_signal(signal.SIGTERM)
        await trio.sleep_forever()

    with trio.fail_after(10):
        assert await stage.life.live(start) == 0
    assert not stage.life.started
    assert stage.events == ["draining", "stopped"]


async def test_an_error_of_a_part_ends_it():
    stage = Stage()

    async def broken() -> None:
        raise ValueError("broken")

    async def start(nursery):
        nursery.start_soon(broken)
        return stage.drain

    with pytest.raises(BaseExceptionGroup) as ended:
        await stage.life.live(start)
    assert ended.group_contains(ValueError)
    assert stage.told == []
