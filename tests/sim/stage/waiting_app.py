"""Services that wait for each other and for others, and rehearsals in which that is all that happens."""

from __future__ import annotations

from datetime import timedelta

from understudy import Context, ObjectContext, Service, VirtualObject
from understudy import app as understudy_app
from understudy_sim import Call, Stage, faults, scenario

room = VirtualObject("Room")
waiting = Service("Waiting")


@room.handler("enter")
async def enter(ctx: ObjectContext, further: list[str]) -> str:
    """Wait a moment, then keep the door shut until whoever is further on the way has answered."""
    await ctx.sleep(timedelta(seconds=1))
    if further:
        await ctx.object_call(enter, key=further[0], arg=further[1:])
    return "left"


@waiting.handler("awakeable")
async def awakeable(ctx: Context) -> str:
    """Wait for somebody outside, who is never told."""
    _, future = ctx.awakeable()
    answer: str = await future
    return answer


@waiting.handler("sleep")
async def sleep(ctx: Context, seconds: int) -> str:
    await ctx.sleep(timedelta(seconds=seconds))
    return "awake"


app = understudy_app(services=[room, waiting])
APP = "tests.sim.stage.waiting_app:app"


def entering(client: str, *rooms: str) -> Call:
    return Call(client=client, service="Room", key=rooms[0], handler="enter", argument=list(rooms[1:]), one_way=True)


CROSSWISE = (entering("ann", "north", "south"), entering("bob", "south", "north"))


@scenario(app=APP, workload=lambda _: CROSSWISE, faults=faults.none(), deadlocks=True)
async def crosswise(stage: Stage) -> None:
    await stage.play()


@scenario(app=APP, workload=lambda _: CROSSWISE, faults=faults.none())
async def undeclared(stage: Stage) -> None:
    """The same, where nobody said that a deadlock is an end: P5 breaks."""
    await stage.play()


UNTOLD = (Call(client="ann", service="Waiting", handler="awakeable", one_way=True, label="untold"),)


@scenario(app=APP, workload=lambda _: UNTOLD, faults=faults.none())
async def untold(stage: Stage) -> None:
    """Nobody completes the awakeable: P5 breaks."""
    await stage.play()


ASLEEP = (Call(client="ann", service="Waiting", handler="sleep", argument=100, one_way=True, label="asleep"),)


@scenario(app=APP, workload=lambda _: ASLEEP, faults=faults.none())
async def asleep(stage: Stage) -> None:
    await stage.play()
