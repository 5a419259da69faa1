"""A newspaper is printed by a server that has one hand: an edition wants many pages at once, and each page pictures.

* `Edition`: print_ calls all its pages and gathers them, in order.
* `Page`: typeset calls a darkroom for each picture and the foundry for the type.
* `Darkroom/{name}`: develop, one picture at a time.

With `attempts_max = 1` one attempt runs at a time in each partition.  Who only waits must give its slot away, or the
callers hold what their callees need, and nothing ever moves.

Run it for real with `understudy dev scenarios.fan_out:app`, rehearse it with `understudy simulate
scenarios/fan_out.py`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict

import trio
from understudy import Context, ObjectContext, Service, VirtualObject, gather, wait_completed
from understudy import app as understudy_app
from understudy_sim import Call, Choices, External, Ledger, Plan, Stage, limited, scenario

from scenarios import outside

EDITORS = ("ann", "bob")
# Whoever could not make themselves heard has given up by then: one edition is printed whatever happened.
LATER_MS = 20 * 60_000
# Three times of what that edition was seen to take.
WORK_S_MAX = 45
DARKROOMS = ("north", "south")

foundry_service = outside.Service("FOUNDRY_ADDRESS")


class Sheet(TypedDict):
    """A page of an edition, and how many pictures it has."""

    name: str
    pictures: int


edition = Service("Edition")
page = Service("Page")
darkroom = VirtualObject("Darkroom")


@darkroom.handler("develop")
async def develop(ctx: ObjectContext, picture: str) -> str:
    """The picture, with its number in this darkroom."""
    count = (await ctx.get("count", type_hint=int) or 0) + 1
    ctx.set("count", count)
    return f"{picture} as number {count}"


@page.handler("typeset")
async def typeset(ctx: Context, sheet: Sheet) -> list[str]:
    """The pictures of the page, in order."""
    request = {"name": sheet["name"], "by": ctx.request().id}
    pictures = [
        ctx.object_call(develop, key=DARKROOMS[number % len(DARKROOMS)], arg=f"{sheet['name']}/{number}")
        for number in range(sheet["pictures"])
    ]
    cast = ctx.run_typed("cast", lambda: foundry_service.ask(request, stand_in={"cast": True}))
    measured = ctx.run_typed("measure", lambda: measure(sheet["name"]))  # A second step beside the first.
    done, _ = await wait_completed(cast, measured, *pictures)
    for one in done:  # What comes first is looked at first; it may be waited for again.
        await one
    await gather(cast, measured, *pictures)
    return [await one for one in pictures if one.is_completed()]  # That is all of them: they were waited for.


async def measure(name: str) -> int:
    """How wide the headline is; it takes a moment."""
    await trio.sleep(len(name) / 100)
    return len(name)


@edition.handler("print")
async def print_(ctx: Context, sheets: list[Sheet]) -> list[list[str]]:
    """All pages, in the order asked for."""
    pages = [ctx.service_call(typeset, arg=sheet) for sheet in sheets]
    await gather(*pages)
    return [await one for one in pages]


app = understudy_app(services=[edition, page, darkroom])


# --- its rehearsal --------------------------------------------------------------------------------------------


class Casting(NamedTuple):
    name: str
    by: str


class Foundry(External[Casting]):
    name = "foundry"
    port = 7014
    address_variable = "FOUNDRY_ADDRESS"

    def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.ledger.append(Casting(request["name"], request["by"]))
        return {"cast": True}


def workload(choices: Choices) -> tuple[Call, ...]:
    """Each editor prints one or two editions, the second while the first may still be at it; one is printed late."""
    calls = []
    for editor in EDITORS:
        for number in range(choices.integer("editions", 1, 2)):
            sheets = [
                Sheet(name=f"{editor} {number}.{at}", pictures=choices.integer("pictures", 0, 3))
                for at in range(choices.integer("sheets", 2, 6))
            ]
            one_way = choices.chance("does not wait", 300)
            calls.append(Call(client=editor, service="Edition", handler="print", argument=sheets, one_way=one_way))
    sheets = [Sheet(name=f"late {at}", pictures=at % 2) for at in range(6)]
    calls.append(Call(client="late", service="Edition", handler="print", argument=sheets, pause_ms=LATER_MS))
    return tuple(calls)


def darkroom_model(count: int, handler: str, picture: Any) -> tuple[int, Any]:
    """A darkroom that is asked for one picture after the other."""
    return count + 1, f"{picture} as number {count + 1}"


def one_hand(plan: Plan) -> Plan:
    """One attempt at a time.  Where inactivity would end a wait before anybody notices, it takes long."""
    long_ms = {60_000: 1_200_000}
    inactivity_timeout_ms = long_ms.get(plan.limits.inactivity_timeout_ms, plan.limits.inactivity_timeout_ms)
    return limited(attempts_max=1, inactivity_timeout_ms=inactivity_timeout_ms)(plan)


@scenario(app="scenarios.fan_out:app", workload=workload, plan=one_hand, seeds=100)
async def fan_out(stage: Stage) -> None:
    castings = stage.external(Foundry)
    stage.linearizable("Darkroom", darkroom_model, initial=0)
    stage.always("a page is typeset once", lambda: asked_twice(stage))
    stage.eventually("every edition has its pages in order, with all pictures", lambda: misprinted(stage))
    stage.eventually("nobody is kept waiting for a slot", lambda: kept_waiting(stage))
    stage.eventually("a page is cast no more often than explained", lambda: cast_too_often(stage, castings))
    stage.eventually("every picture is developed once", lambda: overexposed(stage))
    stage.sometimes("an edition of five pages or more was printed", lambda: pages_max(stage) >= 5)
    stage.sometimes("a page was cast twice", lambda: len(castings) > len({one.by for one in castings}))
    await stage.play()


def asked_twice(stage: Stage) -> str:
    names = Counter(json.loads(one.payload)["name"] for one in stage.accepted("Page", "typeset"))
    return next((f"{name} was asked for {count} times" for name, count in names.items() if count > 1), "")


def misprinted(stage: Stage) -> str:
    for one in stage.answers("Edition", "print"):
        if one.answer is None or one.answer.status != 200:
            continue
        for sheet, pictures in zip(one.call.argument, json.loads(one.answer.body), strict=True):
            names = [picture.partition(" as ")[0] for picture in pictures]
            if names != [f"{sheet['name']}/{number}" for number in range(sheet["pictures"])]:
                return f"{sheet} was printed with {pictures}"
    return ""


def kept_waiting(stage: Stage) -> str:
    """The late edition has the server to itself, and no faults: what it takes is work."""
    for one in stage.answers("Edition", "print"):
        if one.call.client == "late" and one.answer is not None:
            took_s = (one.answers[0].at_ns - one.asked_ns) / 1e9
            if took_s > WORK_S_MAX:
                return f"the late edition took {took_s} s"
    return ""


def cast_too_often(stage: Stage, castings: Ledger[Casting]) -> str:
    counts = Counter(one.by for one in castings)
    for command in stage.accepted("Page", "typeset"):
        count, allowed = counts[command.invocation_id], 1 + stage.interruptions(command.invocation_id)
        if not 1 <= count <= allowed:
            return f"{command.payload!r} was cast {count} times, where 1 to {allowed} are explained"
    return ""


def overexposed(stage: Stage) -> str:
    """Each darkroom has numbered as many pictures as the pages have."""
    wanted = Counter(
        DARKROOMS[number % len(DARKROOMS)]
        for command in stage.accepted("Page", "typeset")
        for number in range(json.loads(command.payload)["pictures"])
    )
    for name in DARKROOMS:
        count = stage.state("Darkroom", name).get("count", 0)
        if count != wanted[name]:
            return f"the {name} darkroom developed {count} pictures of {wanted[name]}"
    return ""


def pages_max(stage: Stage) -> int:
    return max((len(json.loads(one.payload)) for one in stage.accepted("Edition", "print")), default=0)
