"""Forms go from office to office, and each office keeps its door shut until the next one has answered.

`Office/{name}`: stamp takes the first office off a form's route, stamps, and hands the rest on to the next, which it
waits for.  Two forms that go the opposite way meet: each holds the office the other one needs.  So do three that run in
a circle, and one that comes back to where it is.

What happens then is up to the server: see `deadlock.py`, where somebody cancels what is stuck, and
`deadlock_refused.py`, where the call that would close the circle is refused.  This file is the application, its
operations and the claims they share.  Run it for real with `understudy dev scenarios.offices:app`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict

from understudy import ObjectContext, TerminalError, VirtualObject
from understudy import app as understudy_app
from understudy_sim import Call, Choices, External, Ledger, Stage

from scenarios import outside

CLERKS = ("ann", "bob", "cleo", "dan")
CROSSWISE = (("north", "south"), ("south", "north"))
IN_A_CIRCLE = (("red", "green", "blue"), ("green", "blue", "red"), ("blue", "red", "green"))
TO_ITSELF = (("lone", "lone"),)
# All go the same way: nothing that is stuck is ever in their way.
ORDERLY = (("early", "late"), ("early", "late"), ("late",))
ROUTES = (*CROSSWISE, *IN_A_CIRCLE, *TO_ITSELF, *ORDERLY)
OFFICES = tuple(sorted({office for route in ROUTES for office in route}))
STOPPED = 409

stamps = outside.Service("STAMPS_ADDRESS")


class Form(TypedDict):
    """A form, and the offices it has still to pass."""

    name: str
    route: list[str]


office = VirtualObject("Office")


@office.handler("stamp")
async def stamp(ctx: ObjectContext, form: Form) -> list[str]:
    """The stamps of this office and all that follow.  A form that gets no further is taken off the desk."""
    name, route = form["name"], form["route"]
    ctx.set("desk", name)
    request = {"form": name, "office": ctx.key(), "by": ctx.request().id}
    try:
        await ctx.run_typed("stamp", lambda: stamps.ask(request, stand_in={"stamped": True}))
        further: list[str] = []
        if len(route) > 1:
            further = await ctx.object_call(stamp, key=route[1], arg=Form(name=name, route=route[1:]))
    except TerminalError:
        ctx.clear("desk")
        raise
    ctx.clear("desk")
    return [ctx.key(), *further]


app = understudy_app(services=[office])


# --- its rehearsal --------------------------------------------------------------------------------------------


class Stamp(NamedTuple):
    form: str
    office: str
    by: str


class Stamps(External[Stamp]):
    name = "stamps"
    port = 7015
    address_variable = "STAMPS_ADDRESS"

    def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.ledger.append(Stamp(request["form"], request["office"], request["by"]))
        return {"stamped": True}


def workload(choices: Choices) -> tuple[Call, ...]:
    """Each clerk hands in some forms, of all kinds, and does not always wait for them."""
    calls = []
    for clerk in CLERKS:
        for number in range(choices.integer("forms", 2, 5)):
            routes = choices.one_of("kind", (ORDERLY, CROSSWISE, CROSSWISE, IN_A_CIRCLE, IN_A_CIRCLE, TO_ITSELF))
            route = list(routes[choices.pick("route", len(routes))])
            calls.append(
                Call(
                    client=clerk,
                    service="Office",
                    key=route[0],
                    handler="stamp",
                    argument=Form(name=f"{clerk} {number}", route=route),
                    pause_ms=choices.integer("pause", 0, 500),
                    one_way=choices.chance("does not wait", 600),
                )
            )
    return tuple(calls)


def handed_in(stage: Stage) -> dict[str, Form]:
    """The forms that were accepted from clerks, by their invocations."""
    routes = {call.argument["name"]: call.argument["route"] for call in stage.calls if isinstance(call, Call)}
    accepted = {one.invocation_id: json.loads(one.payload) for one in stage.accepted("Office", "stamp")}
    return {id_: form for id_, form in accepted.items() if routes[form["name"]] == form["route"]}


def stopped(stage: Stage, *routes: tuple[str, ...]) -> dict[str, Form]:
    """The forms of one of *routes* (of any) that ended with a failure."""
    return {
        id_: form
        for id_, form in handed_in(stage).items()
        if (not routes or tuple(form["route"]) in routes) and getattr(stage.result(id_), "code", None) is not None
    }


def claim(stage: Stage, stamped: Ledger[Stamp]) -> None:
    """Register what holds whoever lets the forms out of their deadlocks."""
    stage.eventually("who got through has every stamp, in order", lambda: badly_stamped(stage, stamped))
    stage.eventually("whoever was stopped was told 409", lambda: stopped_otherwise(stage))
    stage.eventually("no form is left on a desk", lambda: left_behind(stage))
    stage.eventually(
        "who goes with all others is not stopped", lambda: str(list(stopped(stage, *ORDERLY).values()) or "")
    )
    stage.eventually("a form is stamped no more often than explained", lambda: stamped_too_often(stage, stamped))
    stage.sometimes("two were stuck crosswise", lambda: bool(stopped(stage, *CROSSWISE)))
    stage.sometimes("three were stuck in a circle", lambda: bool(stopped(stage, *IN_A_CIRCLE)))
    stage.sometimes("one was stuck with itself", lambda: bool(stopped(stage, *TO_ITSELF)))
    stage.sometimes("one went crosswise and got through", lambda: got_through(stage, CROSSWISE))


def got_through(stage: Stage, routes: tuple[tuple[str, ...], ...]) -> bool:
    forms = {id_: form for id_, form in handed_in(stage).items() if tuple(form["route"]) in routes}
    return any(id_ not in stopped(stage) for id_ in forms)


def badly_stamped(stage: Stage, stamped: Ledger[Stamp]) -> str:
    got = {(one.form, one.office) for one in stamped}
    for id_, form in handed_in(stage).items():
        value = getattr(stage.result(id_), "value", None)
        if value is None:
            continue
        if json.loads(value) != form["route"]:
            return f"{form} came back with {value!r}"
        missing = [office for office in form["route"] if (form["name"], office) not in got]
        if missing:
            return f"{form} got through without the stamps of {missing}"
    return ""


def stopped_otherwise(stage: Stage) -> str:
    for id_, form in stopped(stage).items():
        code = getattr(stage.result(id_), "code", None)
        if code != STOPPED:
            return f"{form} was stopped with {stage.result(id_)}"
    return ""


def left_behind(stage: Stage) -> str:
    return next((f"{one}: {state}" for one in OFFICES if (state := stage.state("Office", one))), "")


def stamped_too_often(stage: Stage, stamped: Ledger[Stamp]) -> str:
    for by, count in Counter(one.by for one in stamped).items():
        if count > 1 + stage.interruptions(by):
            return f"{by} stamped {count} times, of which its interruptions explain {1 + stage.interruptions(by)}"
    return ""
