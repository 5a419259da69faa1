"""The services every benchmark calls, for any SDK with the public API: BENCH_SDK names its package, ours unless set.

Side effects are no-ops, except in Recover, whose steps append a line each to the file BENCH_SIDE_LOG names.

`understudy dev tests.bench.services:app` serves them.
"""

import importlib
import os
import uuid
from datetime import timedelta
from typing import Any, TypedDict

# Annotations are read at run time by the SDKs, so these names must be theirs.
sdk: Any = importlib.import_module(os.environ.get("BENCH_SDK", "understudy"))
Context: Any = sdk.Context
ObjectContext: Any = sdk.ObjectContext
Service: Any = sdk.Service
VirtualObject: Any = sdk.VirtualObject

echo_service = Service("Echo")


@echo_service.handler("echo")
async def echo(ctx: Context, value: str) -> str:
    return value


counter = VirtualObject("Counter")


@counter.handler("add")
async def add(ctx: ObjectContext, n: int) -> int:
    value = (await ctx.get("n", type_hint=int) or 0) + n
    ctx.set("n", value)
    return value


steps = Service("Steps")


@steps.handler("ten")
async def ten(ctx: Context, start: int) -> int:
    total = start
    for i in range(10):
        total += await ctx.run_typed(f"step {i}", lambda i=i: i)
    return total


class Order(TypedDict):
    """What a checkout is about."""

    user_id: str
    tickets: list[str]


ticket = VirtualObject("TicketObject")


@ticket.handler("reserve")
async def reserve(ctx: ObjectContext) -> bool:
    status = await ctx.get("status", type_hint=str) or "AVAILABLE"
    if status == "AVAILABLE":
        ctx.set("status", "RESERVED")
        return True
    return False


@ticket.handler("unreserve")
async def unreserve(ctx: ObjectContext) -> None:
    status = await ctx.get("status", type_hint=str) or "AVAILABLE"
    if status != "SOLD":
        ctx.clear("status")


@ticket.handler("markAsSold")
async def mark_as_sold(ctx: ObjectContext) -> None:
    status = await ctx.get("status", type_hint=str) or "AVAILABLE"
    if status == "RESERVED":
        ctx.set("status", "SOLD")


checkout_service = Service("CheckoutService")


@checkout_service.handler("handle")
async def handle(ctx: Context, order: Order) -> bool:
    total_price = len(order["tickets"]) * 40
    key = await ctx.run_typed("idempotency_key", lambda: str(uuid.uuid4()))

    async def pay() -> bool:
        return bool(key) and total_price > 0

    if await ctx.run_typed("payment", pay):
        await ctx.run_typed("send_success_email", lambda: True)
        return True
    await ctx.run_typed("send_failure_email", lambda: True)
    return False


cart = VirtualObject("CartObject")


@cart.handler("addTicket")
async def add_ticket(ctx: ObjectContext, ticket_id: str) -> bool:
    reserved = await ctx.object_call(reserve, key=ticket_id, arg=None)
    if reserved:
        tickets = await ctx.get("tickets", type_hint=list) or []
        tickets.append(ticket_id)
        ctx.set("tickets", tickets)
        ctx.object_send(expire_ticket, key=ctx.key(), arg=ticket_id, send_delay=timedelta(minutes=15))
    return reserved


@cart.handler("checkout")
async def checkout(ctx: ObjectContext) -> bool:
    tickets = await ctx.get("tickets", type_hint=list) or []
    if not tickets:
        return False
    success = await ctx.service_call(handle, arg=Order(user_id=ctx.key(), tickets=tickets))
    if success:
        for ticket_id in tickets:
            ctx.object_send(mark_as_sold, key=ticket_id, arg=None)
        ctx.clear("tickets")
    return success


@cart.handler("expireTicket")
async def expire_ticket(ctx: ObjectContext, ticket_id: str) -> None:
    tickets = await ctx.get("tickets", type_hint=list) or []
    if ticket_id in tickets:
        tickets.remove(ticket_id)
        ctx.set("tickets", tickets)
        ctx.object_send(unreserve, key=ticket_id, arg=None)


fan = Service("Fan")


@fan.handler("leaf")
async def leaf(ctx: Context, n: int) -> int:
    return n


@fan.handler("out")
async def out(ctx: Context, n: int) -> int:
    calls = [ctx.service_call(leaf, arg=n + i) for i in range(20)]
    await sdk.gather(*calls)
    return sum([await call for call in calls])


# An inactivity timeout of nothing: a sleeper is suspended at once, whatever the server's default.
sleeper = Service("Sleeper")


@sleeper.handler("hour", inactivity_timeout=timedelta(0))
async def hour(ctx: Context, n: int) -> int:
    await ctx.sleep(timedelta(hours=1))
    return n


@sleeper.handler("waiting")
async def waiting(ctx: Context, n: int) -> int:
    await ctx.sleep(timedelta(hours=1))
    return n


SIDE_LOG = os.environ.get("BENCH_SIDE_LOG")


def note(line: str) -> None:
    """Append *line* to the side log, in one write: lines of a process that is killed are whole or missing."""
    if SIDE_LOG is not None:
        file = os.open(SIDE_LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, f"{line}\n".encode())
        finally:
            os.close(file)


def noted_step(n: int, i: int) -> int:
    note(f"step {n} {i}")
    return i


recover = Service("Recover")


@recover.handler("run")
async def run_recover(ctx: Context, n: int) -> int:
    for i in range(5):
        await ctx.run_typed(f"step {i}", lambda i=i: noted_step(n, i))
        await ctx.sleep(timedelta(milliseconds=200))
    count = await ctx.object_call(tally_add, key=f"{n}", arg=1)
    note(f"end {n} {count}")
    return n


tally = VirtualObject("Tally")


@tally.handler("add")
async def tally_add(ctx: ObjectContext, n: int) -> int:
    value = (await ctx.get("n", type_hint=int) or 0) + n
    ctx.set("n", value)
    return value


@tally.handler("value")
async def tally_value(ctx: ObjectContext) -> int:
    return await ctx.get("n", type_hint=int) or 0


app = sdk.app(services=[echo_service, counter, steps, ticket, checkout_service, cart, fan, sleeper, recover, tally])
