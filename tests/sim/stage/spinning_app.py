"""Handlers that never come to an end and never wait for anything."""

from __future__ import annotations

from collections.abc import Sequence

import trio
import understudy
from understudy import Context, Service
from understudy_sim import Call, Stage, scenario
from understudy_sim.kernel.choices import Choices
from understudy_sim.stage import faults
from understudy_sim.stage.operations import Operation

spin = Service("Spin")


async def turn() -> None:
    while True:
        await trio.lowlevel.checkpoint()


@spin.handler()
async def polls(ctx: Context) -> None:
    await turn()


@spin.handler()
async def together(ctx: Context) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(turn)


@spin.handler()
async def burns(ctx: Context) -> None:
    while True:
        pass


app = understudy.app(services=[spin])


def one_call(choices: Choices) -> Sequence[Operation]:
    return [Call(client="ann", service="Spin", handler="polls")]


@scenario(app="tests.sim.stage.spinning_app:app", workload=one_call, faults=faults.none(), seeds=1, fails=True)
async def spinning(stage: Stage) -> None:
    await stage.play()
