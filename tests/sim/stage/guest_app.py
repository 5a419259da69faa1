"""Applications of the official SDK, and others, as guests of a rehearsal.  No test: `test_guest.py` rehearses them."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import uuid
from datetime import timedelta
from typing import Any

import httpx
import restate
from restate import Context, ObjectContext, Service, VirtualObject

from scenarios import outside

SEEN: list[str] = []

clock = Service("Clock")


@clock.handler("read")
async def read(ctx: Context, name: str) -> list[float]:
    """Wall clock before a sleep, asked in steps, and after it."""
    before = await ctx.run_typed("before", lambda: time.time())
    await ctx.sleep(timedelta(seconds=20))
    after = await ctx.run_typed("after", lambda: time.time())
    return [before, after]


@clock.handler("later")
async def later(ctx: Context, name: str) -> None:
    ctx.service_send(read, arg=name, send_delay=timedelta(hours=1))


@clock.handler("careless")
async def careless(ctx: Context, name: str) -> str:
    """Draws where every attempt draws anew."""
    return f"{time.time()} {uuid.uuid4()}"


@clock.handler("threaded")
async def threaded(ctx: Context, name: str) -> None:
    threading.Thread(target=print).start()


@clock.handler("pooled")
async def pooled(ctx: Context, name: str) -> str:
    """A step whose function blocks, and one that is awaited: the SDK gives the first to an executor."""
    blocking = await ctx.run_typed("blocking", lambda: os.urandom(4).hex())

    async def waits() -> str:
        await asyncio.sleep(1)
        return await asyncio.to_thread(lambda: os.urandom(4).hex())

    return blocking + await ctx.run_typed("waits", waits)


counter = VirtualObject("Counter")


@counter.handler("add")
async def add(ctx: ObjectContext, by: int) -> int:
    """Counts in its state, and in its process."""
    SEEN.append(ctx.key())
    total = (await ctx.get("total", type_hint=int) or 0) + by
    ctx.set("total", total)
    await ctx.sleep(timedelta(seconds=1))
    return total


@counter.handler("seen", kind="shared")
async def seen(ctx: Any) -> int:
    return len(SEEN)


shop = Service("Shop")
payments = outside.Service("SHOP_ADDRESS")


@shop.handler("pay")
async def pay(ctx: Context, amount: int) -> str:
    async def ask() -> str:
        answer = await payments.ask({"amount": amount}, stand_in={"paid": "nothing"})
        return str(answer["paid"])

    return await ctx.run_typed("pay", ask)


@shop.handler("fetch")
async def fetch(ctx: Context, url: str) -> int:
    async def get() -> int:
        async with httpx.AsyncClient(trust_env=False) as http:
            return (await http.get(url)).status_code

    return await ctx.run_typed("fetch", get)


app = restate.app(services=[clock, counter, shop])
not_an_app = 7


async def silent_app(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application that serves no endpoint."""
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"nothing here"})
