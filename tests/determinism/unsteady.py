"""An application that is another one in every process: it walks a set, or sorts by addresses.  Not a test itself."""

from __future__ import annotations

from understudy import Context, ObjectContext, Service, VirtualObject
from understudy import app as understudy_app
from understudy_sim import Call, Choices, Stage, faults, scenario

drawer = VirtualObject("Drawer")


@drawer.handler("put")
async def put(ctx: ObjectContext, amount: int) -> int:
    total = (await ctx.get("total", type_hint=int) or 0) + amount
    ctx.set("total", total)
    return total


tidying = Service("Tidying")


class Thing:
    def __init__(self, name: str) -> None:
        self.name = name


@tidying.handler("walk")
async def walk(ctx: Context) -> int:
    for name in {"left", "right", "top", "bottom", "middle"}:
        await ctx.object_call(put, key=name, arg=1)  # the set's order
    return 0


@tidying.handler("sort")
async def sort(ctx: Context) -> int:
    things = [Thing(name) for name in ("left", "right", "top", "bottom", "middle", "front", "back", "lid")]
    # Neighbours in memory may lie in the same order in two processes: spread, addresses hardly do.
    spread = sorted(things, key=lambda thing: id(thing) * 2_654_435_761 % 2**32)
    await ctx.object_call(put, key=" ".join(thing.name for thing in spread), arg=1)  # the addresses' order
    return 0


app = understudy_app(services=[drawer, tidying])


def of(handler: str) -> tuple[Call, ...]:
    return (
        Call(client="ann", service="Drawer", key="left", handler="put", argument=1),
        Call(client="ann", service="Tidying", handler=handler),
    )


def walking(choices: Choices) -> tuple[Call, ...]:
    return of("walk")


def sorting(choices: Choices) -> tuple[Call, ...]:
    return of("sort")


@scenario(app="tests.determinism.unsteady:app", workload=walking, faults=faults.none())
async def walks(stage: Stage) -> None:
    await stage.play()


@scenario(app="tests.determinism.unsteady:app", workload=sorting, faults=faults.none())
async def sorts(stage: Stage) -> None:
    await stage.play()
