"""Transfers between accounts, as transactions: one counter serves a branch, and so all of them fit one order.

* `Account/{name}`: read and write.  Each write leaves a version of its own, the name of the transfer.
* `Branch/{name}`: transfer, one at a time: nobody else touches the accounts of a branch meanwhile.
* `Hurried`: the same without a branch.  Two of those may read the same balance, and one of them is lost.

Run it for real with `understudy dev scenarios.transfers:app`, rehearse it with `understudy simulate
scenarios/transfers.py::transfers`; `::hurried` shows what the checker finds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypedDict

from understudy import Context, ObjectContext, ObjectSharedContext, Service, VirtualObject
from understudy import app as understudy_app
from understudy_sim import Asked, Call, Choices, Stage, Transaction, scenario

ACCOUNTS = ("rent", "food", "fun")
CUSTOMERS = ("ann", "bob", "cleo")
OPENING = 100


class Entry(TypedDict):
    """What an account holds, and which transfer left it so."""

    balance: int
    version: str


class Transfer(TypedDict):
    name: str
    source: str
    target: str
    amount: int


account = VirtualObject("Account")


@account.handler("read", kind="shared")
async def read(ctx: ObjectSharedContext) -> Entry:
    return await ctx.get("entry", type_hint=dict) or {"balance": OPENING, "version": ""}  # type: ignore[return-value]


@account.handler("write")
async def write(ctx: ObjectContext, entry: Entry) -> None:
    ctx.set("entry", entry)


async def carry_out(ctx: Context | ObjectContext, wish: Transfer) -> dict[str, str]:
    """Move the money; returns the version of each account it saw.  What it left is named after the transfer."""
    seen = {name: await ctx.object_call(read, key=name, arg=None) for name in (wish["source"], wish["target"])}
    amount = min(wish["amount"], seen[wish["source"]]["balance"])
    for name, change in ((wish["source"], -amount), (wish["target"], amount)):
        entry = Entry(balance=seen[name]["balance"] + change, version=wish["name"])
        await ctx.object_call(write, key=name, arg=entry)
    return {name: entry["version"] for name, entry in seen.items()}


branch = VirtualObject("Branch")


@branch.handler("transfer")
async def transfer(ctx: ObjectContext, wish: Transfer) -> dict[str, str]:
    return await carry_out(ctx, wish)


hurried_service = Service("Hurried")


@hurried_service.handler("transfer")
async def transfer_at_once(ctx: Context, wish: Transfer) -> dict[str, str]:
    return await carry_out(ctx, wish)


app = understudy_app(services=[account, branch, hurried_service])


# --- its rehearsal --------------------------------------------------------------------------------------------


def wishes(choices: Choices) -> list[Transfer]:
    found = []
    for number in range(choices.integer("transfers/count", 6, 14)):
        source, target = choices.shuffle("transfers/accounts", ACCOUNTS)[:2]
        amount = choices.integer("transfers/amount", 1, OPENING)
        found.append(Transfer(name=f"transfer-{number}", source=source, target=target, amount=amount))
    return found


def at_the_counter(choices: Choices) -> Sequence[Call]:
    return [ask(choices, wish, "Branch", "main") for wish in wishes(choices)]


def in_a_hurry(choices: Choices) -> Sequence[Call]:
    return [ask(choices, wish, "Hurried", None) for wish in wishes(choices)]


def ask(choices: Choices, wish: Transfer, service: str, key: str | None) -> Call:
    client = choices.one_of("transfers/client", CUSTOMERS)
    pause_ms = choices.one_of("transfers/pause_ms", (0, 0, 20, 400))
    return Call(client=client, pause_ms=pause_ms, service=service, key=key, handler="transfer", argument=wish)


def as_transaction(asked: Asked) -> Transaction:
    """What its answer tells of a transfer.  Without an answer it may have happened; what it wrote is known."""
    wish: dict[str, Any] = asked.call.argument
    names = (wish["source"], wish["target"])
    seen = {} if asked.answer is None else json.loads(asked.answer.body)
    return Transaction(
        name=wish["name"],
        reads={name: seen[name] or None for name in names if name in seen},
        writes=dict.fromkeys(names, wish["name"]),
        began=asked.asked_ns,
        ended=None if asked.answer is None else asked.answer.at_ns,
        committed=asked.answer is not None,
    )


def total_is_kept(stage: Stage) -> bool:
    entries = (stage.state("Account", name).get("entry") for name in ACCOUNTS)
    return sum(OPENING if entry is None else entry["balance"] for entry in entries) == OPENING * len(ACCOUNTS)


@scenario(app="scenarios.transfers:app", workload=at_the_counter, seeds=60)
async def transfers(stage: Stage) -> None:
    def transactions() -> list[Transaction]:
        return [as_transaction(one) for one in stage.answers("Branch", "transfer")]

    stage.serializable("all transfers fit one order", transactions, strict=True)
    stage.leads_to(
        "half a transfer becomes a whole one", lambda: not total_is_kept(stage), lambda: total_is_kept(stage), 120
    )
    stage.sometimes("an account was used twice", lambda: any(any(one.reads.values()) for one in transactions()))
    await stage.play()


@scenario(app="scenarios.transfers:app", workload=in_a_hurry, seeds=60, fails=True)
async def hurried(stage: Stage) -> None:
    stage.serializable(
        "all transfers fit one order", lambda: [as_transaction(one) for one in stage.answers("Hurried", "transfer")]
    )
    await stage.play()
