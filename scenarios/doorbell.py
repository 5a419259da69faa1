"""A courier rings and waits, but not for ever: what comes first, the door opening or the end of patience?

* `Courier`: deliver rings at a door, with an awakeable, and races it against a time-out.  It writes the outcome down,
  rests a little, and writes it down again: whatever came meanwhile, and in every replay, it is the same.
* `Door/{name}`: ring keeps the awakeable's id, open completes it (as often as somebody comes), refuse fails it, and who
  stays opens at once from then on.

A time-out of a second is often lost or won by a hair; one of a day is never waited for once somebody opened.

Run it for real with `understudy dev scenarios.doorbell:app`, rehearse it with `understudy simulate
scenarios/doorbell.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple, TypedDict

from understudy import Context, DurableFuture, ObjectContext, Service, TerminalError, VirtualObject, select
from understudy import app as understudy_app
from understudy_sim import Call, Choices, External, Ledger, Stage, scenario

from scenarios import outside

# Whoever could not make themselves heard has given up by then.
LATER_MS = 20 * 60_000
DAY_MS = 24 * 3_600_000
REST = timedelta(seconds=2)
REFUSED = 403
COURIERS = ("ann", "bob", "cleo")

logbook = outside.Service("LOGBOOK_ADDRESS")


class Parcel(TypedDict):
    """`looks_late` only says in which order the two are given to `select`: it must not matter."""

    door: str
    patience_ms: int
    looks_late: bool


# --- doors --------------------------------------------------------------------------------------------------

door = VirtualObject("Door")


@door.handler("ring")
async def ring(ctx: ObjectContext, awakeable_id: str) -> None:
    ctx.set("rung", awakeable_id)
    somebody = await ctx.get("stays", type_hint=str)
    if somebody is not None:
        ctx.resolve_awakeable(awakeable_id, somebody)


@door.handler("open")
async def open_(ctx: ObjectContext, who: str) -> bool:
    """Whether somebody had rung.  It may be long gone."""
    rung = await ctx.get("rung", type_hint=str)
    if rung is None:
        return False
    ctx.resolve_awakeable(rung, who)
    return True


@door.handler("refuse")
async def refuse(ctx: ObjectContext, who: str) -> bool:
    """Whether somebody had rung."""
    rung = await ctx.get("rung", type_hint=str)
    if rung is None:
        return False
    ctx.reject_awakeable(rung, who, REFUSED)
    return True


@door.handler("stay")
async def stay(ctx: ObjectContext, who: str) -> None:
    """Open to whoever rang last, and to all who will."""
    ctx.set("stays", who)
    rung = await ctx.get("rung", type_hint=str)
    if rung is not None:
        ctx.resolve_awakeable(rung, who)


# --- couriers -----------------------------------------------------------------------------------------------

courier = Service("Courier")


@courier.handler("deliver")
async def deliver(ctx: Context, parcel: Parcel) -> str:
    """Opened by whom, refused by whom, or left at the neighbour's."""
    ctx.awakeable(type_hint=str)  # A spare one, which nobody gets to know: the next one is another, in every attempt.
    awakeable_id, opened = ctx.awakeable(type_hint=str)
    ctx.object_send(ring, key=parcel["door"], arg=awakeable_id)
    late = ctx.sleep(timedelta(milliseconds=parcel["patience_ms"]))
    race: dict[str, DurableFuture[Any]]
    race = {"late": late, "opened": opened} if parcel["looks_late"] else {"opened": opened, "late": late}
    try:
        first, who = await select(**race)
        outcome = f"opened by {who}" if first == "opened" else "left at the neighbour's"
    except TerminalError as refusal:
        outcome = f"refused by {refusal.message}"
    await ctx.run_typed("note", lambda: note(ctx.request().id, outcome))
    await ctx.sleep(REST)
    await ctx.run_typed("note again", lambda: note(ctx.request().id, outcome))
    return outcome


async def note(delivery: str, outcome: str) -> None:
    await logbook.ask({"delivery": delivery, "outcome": outcome}, stand_in={"noted": True})


app = understudy_app(services=[courier, door])


# --- its rehearsal --------------------------------------------------------------------------------------------


class Line(NamedTuple):
    delivery: str
    outcome: str


class Logbook(External[Line]):
    name = "logbook"
    port = 7012
    address_variable = "LOGBOOK_ADDRESS"

    def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.ledger.append(Line(request["delivery"], request["outcome"]))
        return {"noted": True}


def door_model(has_rung: bool, handler: str, argument: Any) -> tuple[bool, Any]:
    """A door at which one thing happens at a time."""
    if handler == "ring":
        return True, None
    return has_rung, None if handler == "stay" else has_rung


def workload(choices: Choices) -> tuple[Call, ...]:
    """Each courier has a door of its own and some parcels; behind each door somebody is at home, now and
    then.  At the door of a courier who has all day somebody stays in the end.
    """
    calls = []
    for who in COURIERS:
        is_patient = choices.chance("has all day", 300)
        for _ in range(1 if is_patient else choices.integer("parcels", 1, 3)):
            patience_ms = DAY_MS if is_patient else choices.one_of("patience", (1_000, 100, 3_000, 10_000))
            argument = Parcel(door=who, patience_ms=patience_ms, looks_late=choices.chance("looks late", 500))
            calls.append(Call(client=who, service="Courier", handler="deliver", argument=argument))
        resident = resident_of(who)
        for _ in range(choices.integer("comes to the door", 0, 3)):
            handler = "refuse" if choices.chance("refuses", 250) else "open"
            calls.append(answer_door(choices, resident, who, handler, choices.one_of("when", (1_000, 200, 4_000))))
        if is_patient:
            calls.append(
                Call(client=resident, service="Door", key=who, handler="stay", argument=resident, pause_ms=LATER_MS)
            )
    return tuple(calls)


def answer_door(choices: Choices, client: str, name: str, handler: str, pause_ms_max: int) -> Call:
    pause_ms = choices.integer("pause", 0, pause_ms_max)
    return Call(client=client, service="Door", key=name, handler=handler, argument=client, pause_ms=pause_ms)


@scenario(app="scenarios.doorbell:app", workload=workload, seeds=100)
async def doorbell(stage: Stage) -> None:
    noted = stage.external(Logbook)

    def outcomes(what: str) -> bool:
        return any(one.outcome.startswith(what) for one in noted)

    stage.linearizable("Door", door_model, initial=False)
    stage.always("a delivery has one outcome", lambda: changed_its_mind(noted))
    stage.eventually("a courier says what it noted", lambda: says_otherwise(stage, noted))
    stage.eventually("who has all day waits until somebody comes", lambda: left_early(stage, noted))
    stage.eventually("a door is opened by who lives there", lambda: opened_elsewhere(stage, noted))
    stage.sometimes("a door was opened", lambda: outcomes("opened"))
    stage.sometimes("a parcel was refused", lambda: outcomes("refused"))
    stage.sometimes("patience ended", lambda: outcomes("left"))
    stage.sometimes("somebody opened too late", lambda: opened_too_late(stage, noted))
    await stage.play()


def resident_of(name: str) -> str:
    return f"{name}'s neighbour"


def changed_its_mind(noted: Ledger[Line]) -> str:
    first: dict[str, str] = {}
    for line in noted:
        known = first.setdefault(line.delivery, line.outcome)
        if known != line.outcome:
            return f"{line.delivery} was {known}, and later {line.outcome}"
    return ""


def says_otherwise(stage: Stage, noted: Ledger[Line]) -> str:
    """Every delivery that was accepted is noted, and who asked is told what is noted."""
    outcomes = {line.delivery: line.outcome for line in noted}
    for command in stage.accepted("Courier", "deliver"):
        if command.invocation_id not in outcomes:
            return f"{command.invocation_id} was never noted"
    for one in stage.answers("Courier", "deliver"):
        if one.answer is not None and one.answer.status == 200:
            told, noted_ = json.loads(one.answer.body), outcomes[one.answer.invocation_id]
            if told != noted_:
                return f"{one.call.client} was told {told!r}; noted is {noted_!r}"
    return ""


def deliveries(stage: Stage, noted: Ledger[Line]) -> list[tuple[Parcel, str]]:
    """Each parcel with its outcome."""
    outcomes = {line.delivery: line.outcome for line in noted}
    accepted = stage.accepted("Courier", "deliver")
    return [(json.loads(one.payload), outcomes.get(one.invocation_id, "")) for one in accepted]


def left_early(stage: Stage, noted: Ledger[Line]) -> str:
    for parcel, outcome in deliveries(stage, noted):
        if parcel["patience_ms"] == DAY_MS and outcome.startswith("left"):
            return f"the courier at {parcel['door']} had all day"
    return ""


def opened_elsewhere(stage: Stage, noted: Ledger[Line]) -> str:
    for parcel, outcome in deliveries(stage, noted):
        if " by " in outcome and not outcome.endswith(f" by {resident_of(parcel['door'])}"):
            return f"{parcel['door']}: {outcome}"
    return ""


def opened_too_late(stage: Stage, noted: Ledger[Line]) -> bool:
    """Somebody had rung at a door that was opened, and yet nobody at that door ever saw it open."""
    outcomes: dict[str, list[str]] = {}
    for parcel, outcome in deliveries(stage, noted):
        outcomes.setdefault(parcel["door"], []).append(outcome)
    return any(
        one.answer is not None and one.answer.body == b"true" and all(it.startswith("left") for it in outcomes[key])
        for one in stage.answers("Door", "open")
        if (key := one.call.key or "") in outcomes
    )
