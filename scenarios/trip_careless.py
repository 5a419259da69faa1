"""The same trips by someone who forgot that a booking can be half done: no part is released when a later one fails.

On a good day, and for whoever never cancels, it works.  Rehearse it with `understudy simulate
scenarios/trip_careless.py`: it is here to be caught.
"""

from __future__ import annotations

from typing import TypedDict

from understudy import Context, ObjectContext, Service, TerminalError, VirtualObject, gather
from understudy import app as understudy_app
from understudy_sim import Stage, scenario

from scenarios import outside, travel_agency

SOLD_OUT = 410

bookings = outside.Service("BOOKINGS_ADDRESS")


class Wish(TypedDict):
    name: str
    offers: dict[str, str]


offer = VirtualObject("Offer")


@offer.handler("reserve")
async def reserve(ctx: ObjectContext, reference: str) -> None:
    invocation_id = ctx.request().id

    async def ask() -> str:
        request = {"do": "book", "reference": reference, "by": invocation_id}
        return str((await bookings.ask(request, stand_in={"outcome": "booked"}))["outcome"])

    outcome = await ctx.run_typed("book", ask)
    if outcome != "booked":
        raise TerminalError(f"{ctx.key()} is {outcome}", SOLD_OUT)
    ctx.set(reference, True)


trips = Service("Trips")


@trips.handler("book")
async def book(ctx: Context, wish: Wish) -> str:
    for part, name in wish["offers"].items():
        await ctx.object_call(reserve, key=name, arg=f"{wish['name']}/{part}")
    return "booked"


@trips.handler("party")
async def party(ctx: Context, wishes: list[Wish]) -> list[str]:
    calls = [ctx.service_call(book, arg=wish) for wish in wishes]
    await gather(*calls)
    return [await call for call in calls]


app = understudy_app(services=[trips, offer])


@scenario(app="scenarios.trip_careless:app", workload=travel_agency.workload, seeds=20, fails=True)
async def trip_careless(stage: Stage) -> None:
    travel_agency.claim(stage, stage.external(travel_agency.BookingSystem))
    await stage.play()
