"""A trip is a flight, a hotel and a car, or nothing: whoever cancels gets back what was booked so far.

* `Trips`: book, party.  `book` reserves one part after the other and remembers what it has begun.  When anything fails
  for good, a part that is sold out or a cancel, it releases all it has begun, and only then fails itself.  A cancel may
  come again meanwhile: the release goes on.
* `Offer/{name}`: reserve, release.  One offer does one thing at a time: a release waits until the reservation it is to
  take back has ended, however that was.  Each booking has a reference, which once voided stays so: a booking that was
  on its way when its attempt was cut off cannot come true afterwards.

Run it for real with `understudy dev scenarios.trip:app`, rehearse it with `understudy simulate scenarios/trip.py`.  The
operations and the claims are in `scenarios/travel_agency.py`.
"""

from __future__ import annotations

from typing import TypedDict

from understudy import Context, ObjectContext, Service, TerminalError, VirtualObject, gather
from understudy import app as understudy_app
from understudy_sim import Stage, scenario

from scenarios import outside, travel_agency

CANCELLED = 409
SOLD_OUT = 410

bookings = outside.Service("BOOKINGS_ADDRESS")


class Wish(TypedDict):
    """A trip: its name, and the offer for each of its parts."""

    name: str
    offers: dict[str, str]


# --- offers -------------------------------------------------------------------------------------------------

offer = VirtualObject("Offer")


@offer.handler("reserve")
async def reserve(ctx: ObjectContext, reference: str) -> None:
    """Book the reference.  Fails for good when there is nothing left."""
    invocation_id = ctx.request().id
    outcome = await ctx.run_typed("book", lambda: ask("book", reference, invocation_id))
    if outcome != "booked":
        raise TerminalError(f"{ctx.key()} is {outcome}", SOLD_OUT)
    ctx.set(reference, True)


@offer.handler("release")
async def release(ctx: ObjectContext, reference: str) -> None:
    """Take the booking back, if there is one."""
    invocation_id = ctx.request().id
    await ctx.run_typed("void", lambda: ask("void", reference, invocation_id))
    ctx.clear(reference)


async def ask(do: str, reference: str, by: str) -> str:
    """Ask the booking system to *do* something with *reference*, for invocation *by*."""
    answer = await bookings.ask({"do": do, "reference": reference, "by": by}, stand_in={"outcome": "booked"})
    return str(answer["outcome"])


# --- trips --------------------------------------------------------------------------------------------------

trips = Service("Trips")


@trips.handler("book")
async def book(ctx: Context, wish: Wish) -> str:
    """Reserve all parts, or none."""
    begun: list[str] = []
    try:
        for part, name in wish["offers"].items():
            begun.append(part)
            await ctx.object_call(reserve, key=name, arg=f"{wish['name']}/{part}")
    except TerminalError:
        for part in reversed(begun):
            await released(ctx, wish["offers"][part], f"{wish['name']}/{part}")
        raise
    return "booked"


async def released(ctx: Context, name: str, reference: str) -> None:
    """Release, whatever happens: a cancel that comes meanwhile also cancels the release, which is asked for again."""
    while True:
        try:
            return await ctx.object_call(release, key=name, arg=reference)
        except TerminalError as error:
            if error.status_code != CANCELLED:
                raise


@trips.handler("party")
async def party(ctx: Context, wishes: list[Wish]) -> list[str]:
    """Several trips at once; each is booked or not by itself."""
    calls = [ctx.service_call(book, arg=wish) for wish in wishes]
    await gather(*calls)
    return [await call for call in calls]


app = understudy_app(services=[trips, offer])


@scenario(app="scenarios.trip:app", workload=travel_agency.workload, seeds=200)
async def trip(stage: Stage) -> None:
    travel_agency.claim(stage, stage.external(travel_agency.BookingSystem))
    await stage.play()
