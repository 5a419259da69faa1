"""The same theatre by someone careless.  It works on a good day; the simulator shows what happens on the others.

Three mistakes, each a common one: the payment's key is made up outside `ctx.run`, what is in a cart is remembered in a
module-level dictionary, and a reservation never expires.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from understudy import Context, ObjectContext, ObjectSharedContext, Service, VirtualObject
from understudy import app as understudy_app
from understudy_sim import Stage, faults, scenario

from scenarios import box_office, providers

SEAT_PRICE = 40


@dataclass
class Order:
    user: str
    seats: list[str]


# Quicker than asking the context every time.
carts: dict[str, list[str]] = {}

ticket = VirtualObject("TicketObject")


@ticket.handler("reserve")
async def reserve(ctx: ObjectContext) -> bool:
    if (await ctx.get("status", type_hint=str) or "AVAILABLE") != "AVAILABLE":
        return False
    ctx.set("status", "RESERVED")
    return True


@ticket.handler("markAsSold")
async def mark_as_sold(ctx: ObjectContext, user: str) -> None:
    ctx.set("status", "SOLD")
    ctx.set("owner", user)


@ticket.handler("status", kind="shared")
async def status(ctx: ObjectSharedContext) -> str:
    return await ctx.get("status", type_hint=str) or "AVAILABLE"


checkout_service = Service("CheckoutService")


@checkout_service.handler("handle")
async def handle(ctx: Context, order: Order) -> bool:
    key = str(uuid.uuid4())
    invocation_id = ctx.request().id

    async def pay() -> bool:
        return await providers.charge(key, invocation_id, order.user, order.seats, SEAT_PRICE * len(order.seats))

    paid = await ctx.run_typed("charge", pay)
    subject = "your seats" if paid else "your payment was declined"

    async def mail() -> None:
        await providers.send_mail(key, invocation_id, order.user, subject)

    await ctx.run_typed("mail", mail)
    return paid


cart = VirtualObject("CartObject")


@cart.handler("addTicket")
async def add_ticket(ctx: ObjectContext, seat: str) -> bool:
    if not await ctx.object_call(reserve, key=seat, arg=None):
        return False
    carts.setdefault(ctx.key(), []).append(seat)
    return True


@cart.handler("checkout")
async def checkout(ctx: ObjectContext) -> bool:
    seats = carts.get(ctx.key(), [])
    if not seats:
        return False
    paid = await ctx.service_call(handle, arg=Order(ctx.key(), seats))
    if paid:
        for seat in seats:
            ctx.object_send(mark_as_sold, key=seat, arg=ctx.key())
        carts.pop(ctx.key(), None)
    return paid


app = understudy_app(services=[cart, ticket, checkout_service])


@scenario(
    app="scenarios.ticket_tour_naive:app",
    workload=box_office.workload,
    faults=faults.everything(),
    seeds=20,
    fails=True,
)
async def ticket_tour_naive(stage: Stage) -> None:
    payments = stage.external(box_office.PaymentProvider)
    mails = stage.external(box_office.MailProvider)
    box_office.claim(stage, payments, mails)
    await stage.play()
