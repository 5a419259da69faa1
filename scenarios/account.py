"""Accounts: money comes and goes, and everybody who looks sees one and the same story.

* `Account/{name}`: deposit, withdraw (refused when there is not enough), balance.
* `Bank`: transfer, which withdraws here and deposits there, and may be sent off without waiting.

It is the simplest object there is, and many use the same few at once: what each is answered must fit one order, in
which every operation happens at one instant between its question and its answer (P11).

Run it for real with `understudy dev scenarios.account:app`, rehearse it with `understudy simulate
scenarios/account.py`.
"""

from __future__ import annotations

from typing import Any, TypedDict

from understudy import Context, ObjectContext, ObjectSharedContext, Service, TerminalError, VirtualObject
from understudy import app as understudy_app
from understudy_sim import Call, Choices, Failed, Stage, scenario

CUSTOMERS = ("ann", "bob", "cleo", "dan")
ACCOUNTS = ("rent", "food")
REFUSED = 402

account = VirtualObject("Account")


@account.handler("deposit")
async def deposit(ctx: ObjectContext, amount: int) -> int:
    """Returns the balance afterwards."""
    balance = (await ctx.get("balance", type_hint=int) or 0) + amount
    ctx.set("balance", balance)
    return balance


@account.handler("withdraw")
async def withdraw(ctx: ObjectContext, amount: int) -> int:
    """Returns the balance afterwards.  Never less than nothing."""
    balance = await ctx.get("balance", type_hint=int) or 0
    if balance < amount:
        raise TerminalError(f"{ctx.key()} has {balance}, which is less than {amount}", status_code=REFUSED)
    ctx.set("balance", balance - amount)
    return balance - amount


@account.handler("balance", kind="shared")
async def balance_of(ctx: ObjectSharedContext) -> int:
    return await ctx.get("balance", type_hint=int) or 0


class Transfer(TypedDict):
    source: str
    target: str
    amount: int


bank = Service("Bank")


@bank.handler("transfer")
async def transfer(ctx: Context, order: Transfer) -> bool:
    """Money that cannot be taken is not given."""
    try:
        await ctx.object_call(withdraw, key=order["source"], arg=order["amount"])
    except TerminalError:
        return False
    await ctx.object_call(deposit, key=order["target"], arg=order["amount"])
    return True


app = understudy_app(services=[account, bank])


# --- its rehearsal --------------------------------------------------------------------------------------------


def account_model(balance: int, handler: str, amount: Any) -> tuple[int, Any]:
    """An account that nobody else uses."""
    if handler == "balance":
        return balance, balance
    if handler == "deposit":
        return balance + amount, balance + amount
    return (balance, Failed(REFUSED)) if balance < amount else (balance - amount, balance - amount)


def workload(choices: Choices) -> tuple[Call, ...]:
    """Each customer does what it likes with either account."""
    return tuple(_operation(choices, name) for name in CUSTOMERS for _ in range(choices.integer("operations", 3, 7)))


def _operation(choices: Choices, client: str) -> Call:
    pause_ms = choices.integer("pause", 0, 2_000) if choices.chance("thinks", 600) else 0
    key = ACCOUNTS[choices.pick("account", len(ACCOUNTS))]
    handler = choices.one_of("handler", ("deposit", "balance", "withdraw", "balance", "transfer"))
    amount = choices.integer("amount", 1, 50)
    # Without a key a call is asked once: when its answer is lost, nobody knows whether it happened.
    is_once = choices.chance("asked once", 150)
    if handler == "transfer":
        order = {"source": key, "target": next(name for name in ACCOUNTS if name != key), "amount": amount}
        one_way = choices.chance("one way", 400)
        return Call(client=client, service="Bank", handler=handler, argument=order, pause_ms=pause_ms, one_way=one_way)
    argument = None if handler == "balance" else amount
    return Call(
        client=client,
        service="Account",
        key=key,
        handler=handler,
        argument=argument,
        pause_ms=pause_ms,
        idempotent=not is_once,
    )


@scenario(app="scenarios.account:app", workload=workload, seeds=100)
async def accounts(stage: Stage) -> None:
    def in_debt() -> str:
        states = {key: stage.state("Account", key) for key in ACCOUNTS}
        return next((f"{key} has {one['balance']}" for key, one in states.items() if one.get("balance", 0) < 0), "")

    stage.linearizable("Account", account_model, initial=0)
    stage.always("no account is in debt", in_debt)
    stage.sometimes("a withdrawal was refused", lambda: is_refused(stage))
    stage.sometimes("a transfer was refused", lambda: stage.answered("Bank", "transfer", False))
    stage.sometimes("an answer was lost for good", lambda: is_lost(stage))
    await stage.play()


def is_refused(stage: Stage) -> bool:
    return any(one.answer is not None and one.answer.status == REFUSED for one in stage.answers("Account", "withdraw"))


def is_lost(stage: Stage) -> bool:
    changes = [*stage.answers("Account", "deposit"), *stage.answers("Account", "withdraw")]
    return any(one.answer is None for one in changes)
