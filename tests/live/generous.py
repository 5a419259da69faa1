"""Accounts that give one more than was put in: what a comparison must find.  Not a test itself."""

from __future__ import annotations

from understudy import Context, ObjectContext, ObjectSharedContext, Service, VirtualObject
from understudy import app as understudy_app

from scenarios.account import Transfer

account = VirtualObject("Account")


@account.handler("deposit")
async def deposit(ctx: ObjectContext, amount: int) -> int:
    balance = (await ctx.get("balance", type_hint=int) or 0) + amount + 1
    ctx.set("balance", balance)
    return balance


@account.handler("withdraw")
async def withdraw(ctx: ObjectContext, amount: int) -> int:
    return amount


@account.handler("balance", kind="shared")
async def balance_of(ctx: ObjectSharedContext) -> int:
    return await ctx.get("balance", type_hint=int) or 0


bank = Service("Bank")


@bank.handler("transfer")
async def transfer(ctx: Context, order: Transfer) -> bool:
    return True


app = understudy_app(services=[account, bank])
