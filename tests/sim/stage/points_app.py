"""One invocation that passes every point: a step that asks a service, a plain step, a call, a sleep."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from understudy import Context, ObjectContext, Service, VirtualObject
from understudy import app as understudy_app
from understudy_sim import Call, External, Stage, faults, scenario

from scenarios import outside

bank = outside.Service("BANK_ADDRESS")
till = Service("Till")
drawer = VirtualObject("Drawer")


@till.handler("pay")
async def pay(ctx: Context, amount: int) -> int:
    async def charge() -> int:
        answer = await bank.ask({"amount": amount}, stand_in={"number": 1})
        number: int = answer["number"]
        return number

    await ctx.run_typed("charge", charge)
    stamp = await ctx.run_typed("stamp", lambda: amount + 1)
    total = await ctx.object_call(put, key="front", arg=amount)
    await ctx.sleep(timedelta(milliseconds=50))
    return total + stamp


@drawer.handler("put")
async def put(ctx: ObjectContext, amount: int) -> int:
    total: int = (await ctx.get("total", type_hint=int) or 0) + amount
    ctx.set("total", total)
    return total


app = understudy_app(services=[till, drawer])


class Bank(External[int]):
    """Takes every charge, and counts."""

    name = "bank"
    port = 7009
    address_variable = "BANK_ADDRESS"

    def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.ledger.append(request["amount"])
        return {"number": len(self.ledger)}


PAY = Call(client="ann", service="Till", handler="pay", argument=5)


@scenario(app="tests.sim.stage.points_app:app", workload=lambda choices: [PAY], faults=faults.none(), seeds=3)
async def paid(stage: Stage) -> None:
    charges = stage.external(Bank)
    stage.eventually("it was paid", lambda: stage.state("Drawer", "front") == {"total": 5})
    stage.eventually("the bank was asked", lambda: 1 <= len(charges) <= 2)
    await stage.play()


class NumberedBank(External[tuple[int, int]]):
    """Takes every charge for a new one, and numbers it: asked twice, it has charged twice."""

    name = "bank"
    port = 7009
    address_variable = "BANK_ADDRESS"

    def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        number = len(self.ledger) + 1
        self.ledger.append((number, request["amount"]))
        return {"number": number}


@scenario(app="tests.sim.stage.points_app:app", workload=lambda choices: [PAY], faults=faults.none(), seeds=3)
async def paid_carelessly(stage: Stage) -> None:
    """It claims nothing about its bank, which is asked without a key."""
    stage.external(NumberedBank)
    await stage.play()
