"""Services that do what handlers should not: block the loop, hang, die."""

from __future__ import annotations

import os
import time
from pathlib import Path

import trio
import understudy
from understudy import Context

rude = understudy.Service("Rude")


@rude.handler()
async def sleep(ctx: Context, ms: int) -> None:
    time.sleep(ms / 1000)  # noqa: ASYNC251 - the point of it


@rude.handler()
async def compute(ctx: Context, ms: int) -> int:
    until, count = time.monotonic() + ms / 1000, 0
    while time.monotonic() < until:
        count += 1
    return count


@rude.handler()
async def hold(ctx: Context, count: int) -> int:
    return sum(range(count))


@rude.handler()
async def pid(ctx: Context) -> int:
    return os.getpid()


@rude.handler()
async def die_once(ctx: Context, marker: str) -> str:
    """Takes its process down, unless *marker* says it has done so before."""
    if not Path(marker).exists():  # noqa: ASYNC240 - rude
        Path(marker).touch()  # noqa: ASYNC240 - rude
        os._exit(7)
    await trio.lowlevel.checkpoint()
    return "back"


app = understudy.app(services=[rude])
