"""The smallest scenario there is: one customer asks one handler once.  Not a test itself."""

from __future__ import annotations

from understudy import Context, Service
from understudy import app as understudy_app
from understudy_sim import Call, Choices, Stage, faults, scenario

adder = Service("Adder")


@adder.handler()
async def add(ctx: Context, number: int) -> int:
    return number + 1


app = understudy_app(services=[adder])


def workload(choices: Choices) -> tuple[Call, ...]:
    return (Call(client="ann", service="Adder", handler="add", argument=1),)


@scenario(app="tests.sim.stage.strategies.tiny:app", workload=workload, faults=faults.none(), seeds=3)
async def tiny(stage: Stage) -> None:
    stage.eventually("one and one is two", lambda: "" if stage.answered("Adder", "add", 2) else "it is not")
    await stage.play()
