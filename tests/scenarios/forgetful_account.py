"""The accounts of `scenarios/account.py` with a bug: who looks at a balance is told what the process saw first."""

from __future__ import annotations

from understudy import App, Context, ObjectContext, ObjectSharedContext, Service, TerminalError, VirtualObject
from understudy import app as understudy_app

from scenarios.account import REFUSED, Transfer

SEEN: dict[str, int] = {}

account = VirtualObject("Account")
bank = Service("Bank")


@account.handler("deposit")
async def deposit(ctx: ObjectContext, amount: int) -> int:
    balance = (await ctx.get("balance", type_hint=int) or 0) + amount
    ctx.set("balance", balance)
    return balance


@account.handler("withdraw")
async def withdraw(ctx: ObjectContext, amount: int) -> int:
    balance = await ctx.get("balance", type_hint=int) or 0
    if balance < amount:
        raise TerminalError("not enough", REFUSED)
    ctx.set("balance", balance - amount)
    return balance - amount


@account.handler("balance", kind="shared")
async def balance_of(ctx: ObjectSharedContext) -> int:
    return SEEN.setdefault(ctx.key(), await ctx.get("balance", type_hint=int) or 0)


@bank.handler("transfer")
async def transfer(ctx: Context, order: Transfer) -> bool:
    return False


app: App = understudy_app(services=[account, bank])
