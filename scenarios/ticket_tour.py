"""The ticket tour: customers reserve seats, pay for what is in their cart, or let the reservation expire.

* `CartObject/{user}`: addTicket, checkout, expireTicket.  One customer's cart does one thing at a time, so a checkout
  and an expiry of the same seat never overlap.
* `TicketObject/{seat}`: reserve, unreserve, markAsSold, status.  A reservation is a *hold* with an id of its own:
  whoever gives a seat back or sells it must name the hold, so that a late message cannot touch somebody else's.
* `CheckoutService`: takes the money once, under one key for the whole checkout, then writes a mail.

Run it for real with `understudy dev scenarios.ticket_tour:app`, rehearse it with `understudy simulate
scenarios/ticket_tour.py`.  The operations and the claims are in `scenarios/box_office.py`.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TypedDict

from understudy import Context, ObjectContext, ObjectSharedContext, Service, TerminalError, VirtualObject
from understudy import app as understudy_app
from understudy_sim import Stage, faults, scenario

from scenarios import box_office, providers

SEAT_PRICE = 40
HOLD_FOR = timedelta(minutes=15)

AVAILABLE = "AVAILABLE"
RESERVED = "RESERVED"
SOLD = "SOLD"


class Hold(TypedDict):
    """A reservation: which cart holds which seat, under an id that is never used again."""

    hold_id: str
    user: str
    seat: str


class Order(TypedDict):
    """What one checkout pays for."""

    user: str
    seats: list[str]


# --- seats --------------------------------------------------------------------------------------------------

ticket = VirtualObject("TicketObject")


@ticket.handler("reserve")
async def reserve(ctx: ObjectContext, hold: Hold) -> bool:
    """Hold the seat if nobody does."""
    if (await ctx.get("status", type_hint=str) or AVAILABLE) != AVAILABLE:
        return False
    ctx.set("status", RESERVED)
    ctx.set("hold", hold["hold_id"])
    return True


@ticket.handler("unreserve")
async def unreserve(ctx: ObjectContext, hold: Hold) -> None:
    """Give the seat back, if it is still this hold's."""
    if await ctx.get("status", type_hint=str) == RESERVED and await ctx.get("hold", type_hint=str) == hold["hold_id"]:
        ctx.clear_all()


@ticket.handler("markAsSold")
async def mark_as_sold(ctx: ObjectContext, hold: Hold) -> None:
    """The hold was paid for: the seat is its user's for good."""
    if await ctx.get("status", type_hint=str) != RESERVED or await ctx.get("hold", type_hint=str) != hold["hold_id"]:
        raise TerminalError(f"seat {hold['seat']} was paid for by {hold['user']} but is not held for this cart")
    ctx.set("status", SOLD)
    ctx.set("owner", hold["user"])


@ticket.handler("status", kind="shared")
async def status(ctx: ObjectSharedContext) -> str:
    return await ctx.get("status", type_hint=str) or AVAILABLE


# --- checkout -----------------------------------------------------------------------------------------------

checkout_service = Service("CheckoutService")


@checkout_service.handler("handle")
async def handle(ctx: Context, order: Order) -> bool:
    """Charge once and write a mail.  The key is drawn inside `ctx.run`: every retry finds the same one."""
    key = await ctx.run_typed("payment key", lambda: str(uuid.uuid4()))
    invocation_id = ctx.request().id
    amount = SEAT_PRICE * len(order["seats"])

    async def pay() -> bool:
        return await providers.charge(key, invocation_id, order["user"], order["seats"], amount)

    paid = await ctx.run_typed("charge", pay)
    subject = "your seats" if paid else "your payment was declined"

    async def mail() -> None:
        await providers.send_mail(key, invocation_id, order["user"], subject)

    await ctx.run_typed("mail", mail)
    return paid


# --- carts --------------------------------------------------------------------------------------------------

cart = VirtualObject("CartObject")


@cart.handler("addTicket")
async def add_ticket(ctx: ObjectContext, seat: str) -> bool:
    """Reserve *seat* and keep it in the cart for a quarter of an hour."""
    holds = await ctx.get("holds", type_hint=dict) or {}
    hold = Hold(hold_id=str(ctx.uuid()), user=ctx.key(), seat=seat)
    if not await ctx.object_call(reserve, key=seat, arg=hold):
        return False
    ctx.set("holds", {**holds, seat: hold["hold_id"]})
    ctx.object_send(expire_ticket, key=ctx.key(), arg=hold, send_delay=HOLD_FOR)
    return True


@cart.handler("checkout")
async def checkout(ctx: ObjectContext) -> bool:
    """Pay for all that is in the cart.  A declined payment leaves the cart as it is: try again, or let it expire."""
    holds = await ctx.get("holds", type_hint=dict) or {}
    if not holds:
        return False
    paid = await ctx.service_call(handle, arg=Order(user=ctx.key(), seats=sorted(holds)))
    if paid:
        for seat in sorted(holds):
            ctx.object_send(mark_as_sold, key=seat, arg=Hold(hold_id=holds[seat], user=ctx.key(), seat=seat))
        ctx.clear("holds")
    return paid


@cart.handler("expireTicket")
async def expire_ticket(ctx: ObjectContext, hold: Hold) -> None:
    """A quarter of an hour is over: give the seat back unless it was paid for."""
    holds = await ctx.get("holds", type_hint=dict) or {}
    if holds.get(hold["seat"]) != hold["hold_id"]:
        return
    del holds[hold["seat"]]
    if holds:
        ctx.set("holds", holds)
    else:
        ctx.clear("holds")
    ctx.object_send(unreserve, key=hold["seat"], arg=hold)


app = understudy_app(services=[cart, ticket, checkout_service])


@scenario(app="scenarios.ticket_tour:app", workload=box_office.workload, faults=faults.everything(), seeds=200)
async def ticket_tour(stage: Stage) -> None:
    payments = stage.external(box_office.PaymentProvider)
    mails = stage.external(box_office.MailProvider)
    box_office.claim(stage, payments, mails)
    stage.linearizable("TicketObject", box_office.seat, initial=(AVAILABLE, ""))
    await stage.play()
