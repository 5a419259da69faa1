"""Forms go from office to office, and each office keeps its door shut until the next one has answered.

`Office/{name}`: stamp takes the first office off a form's route, stamps, and hands the rest on to the next, which it
waits for.  Two forms that go the opposite way meet: each holds the office the other one needs.  So do three that run in
a circle, and one that comes back to where it is.  Some offices have patience for so long only: a form that waits there
takes itself back.

What happens then is up to the server: see `deadlock.py`, where somebody cancels what is stuck, and
`deadlock_refused.py`, where the call that would close the circle is refused.  This file is the application, its
operations and the claims they share.  Run it for real with `understudy dev scenarios.offices:app`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple, TypedDict

from understudy import CallFuture, ObjectContext, TerminalError, VirtualObject, select
from understudy import app as understudy_app
from understudy_sim import Call, Choices, External, Ledger, Stage

from scenarios import outside

CLERKS = ("ann", "bob", "cleo", "dan")
CROSSWISE = (("north", "south"), ("south", "north"))
IN_A_CIRCLE = (("red", "green", "blue"), ("green", "blue", "red"), ("blue", "red", "green"))
TO_ITSELF = (("lone", "lone"),)
# Crosswise too, but nobody waits for ever.
IMPATIENT = (("quick", "brisk"), ("brisk", "quick"))
PATIENCE_MS = 25_000
# All go the same way: nothing that is stuck is ever in their way.
ORDERLY = (("early", "late"), ("early", "late"), ("late",))
# What a clerk draws from.
KINDS = (ORDERLY, CROSSWISE, CROSSWISE, IN_A_CIRCLE, IN_A_CIRCLE, TO_ITSELF, IMPATIENT)
ROUTES = (*CROSSWISE, *IN_A_CIRCLE, *TO_ITSELF, *IMPATIENT, *ORDERLY)
OFFICES = tuple(sorted({office for route in ROUTES for office in route}))
STOPPED = 409
TOO_LATE = 408

stamps = outside.Service("STAMPS_ADDRESS")


class Form(TypedDict):
    """A form, the offices it has still to pass, and how long each waits for the next (0: as long as it takes)."""

    name: str
    route: list[str]
    patience_ms: int


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
            rest = Form(name=name, route=route[1:], patience_ms=form["patience_ms"])
            further = await patiently(ctx, ctx.object_call(stamp, key=route[1], arg=rest), form)
    except TerminalError:
        ctx.clear("desk")
        raise
    ctx.clear("desk")
    return [ctx.key(), *further]


async def patiently(ctx: ObjectContext, answer: CallFuture[list[str]], form: Form) -> list[str]:
    """The answer; when it takes too long, the call is cancelled and the form fails."""
    if not form["patience_ms"]:
        return await answer
    late = ctx.sleep(timedelta(milliseconds=form["patience_ms"]))
    first, stamped = await select(answer=answer, late=late)
    if first == "answer":
        found: list[str] = stamped
        return found
    await answer.cancel_invocation()
    raise TerminalError(f"{form['name']} waited too long for {form['route'][1]}", TOO_LATE)


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
            routes = choices.one_of("kind", KINDS)
            patience_ms = PATIENCE_MS if routes is IMPATIENT else 0
            route = list(routes[choices.pick("route", len(routes))])
            calls.append(
                Call(
                    client=clerk,
                    service="Office",
                    key=route[0],
                    handler="stamp",
                    argument=Form(name=f"{clerk} {number}", route=route, patience_ms=patience_ms),
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
    stage.eventually("whoever was stopped was told why", lambda: stopped_otherwise(stage))
    stage.eventually("no form is left on a desk", lambda: left_behind(stage))
    stage.eventually(
        "who goes with all others is not stopped", lambda: str(list(stopped(stage, *ORDERLY).values()) or "")
    )
    stage.eventually("a form is stamped no more often than explained", lambda: stamped_too_often(stage, stamped))
    stage.sometimes("two were stuck crosswise", lambda: bool(stopped(stage, *CROSSWISE)))
    stage.sometimes("three were stuck in a circle", lambda: bool(stopped(stage, *IN_A_CIRCLE)))
    stage.sometimes("one was stuck with itself", lambda: bool(stopped(stage, *TO_ITSELF)))
    stage.sometimes("a time-out was the way out", lambda: bool(timed_out(stage)))
    stage.sometimes("one went crosswise and got through", lambda: got_through(stage, CROSSWISE))


def timed_out(stage: Stage) -> list[str]:
    """The invocations of forms that waited too long."""
    return [id_ for id_ in stopped(stage, *IMPATIENT) if getattr(stage.result(id_), "code", None) == TOO_LATE]


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
        allowed = (STOPPED, TOO_LATE) if form["patience_ms"] else (STOPPED,)
        if getattr(stage.result(id_), "code", None) not in allowed:
            return f"{form} was stopped with {stage.result(id_)}"
    return ""


def left_behind(stage: Stage) -> str:
    return next((f"{one}: {state}" for one in OFFICES if (state := stage.state("Office", one))), "")


def stamped_too_often(stage: Stage, stamped: Ledger[Stamp]) -> str:
    for by, count in Counter(one.by for one in stamped).items():
        if count > 1 + stage.interruptions(by):
            return f"{by} stamped {count} times, of which its interruptions explain {1 + stage.interruptions(by)}"
    return ""
