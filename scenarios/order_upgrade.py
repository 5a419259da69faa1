"""Orders are packed for twenty seconds, and meanwhile the shop's code is replaced.

* version 1: reserve, pack, ship.
* version 2 checks the customer first: no journal of version 1 fits it.  Orders that have begun stay where they are.
* version 3 says thank you at the end: every journal of version 1 is the beginning of one of its own.  Version 1 can go,
  and an operator moves to version 3 what had begun on it.

What a version did is in the warehouse's book; whichever version an order ends on, it has been through that one's steps
in their order.

Run it for real with `understudy dev scenarios.order_upgrade:first`, rehearse it with `understudy simulate
scenarios/order_upgrade.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple, TypedDict

from understudy import Context, Service
from understudy import app as understudy_app
from understudy_sim import Call, Choices, Deploy, Desk, External, Ledger, Operation, Remove, Stage, scenario

from scenarios import outside

PACKING: Final = timedelta(seconds=20)

warehouse = outside.Service("WAREHOUSE_ADDRESS")


class Ordered(TypedDict):
    order: str
    version: int


async def note(ctx: Context, do: str, order: str, version: int) -> None:
    """A step of an order, in the warehouse's book."""
    by = ctx.request().id

    async def write() -> None:
        await warehouse.ask({"do": do, "order": order, "version": version, "by": by}, stand_in={"done": True})

    await ctx.run_typed(do, write)


first_orders = Service("Orders")


@first_orders.handler("place")
async def place_first(ctx: Context, order: str) -> Ordered:
    await note(ctx, "reserve", order, 1)
    await ctx.sleep(PACKING)
    await note(ctx, "ship", order, 1)
    return {"order": order, "version": 1}


stricter_orders = Service("Orders")


@stricter_orders.handler("place")
async def place_stricter(ctx: Context, order: str) -> Ordered:
    await note(ctx, "check", order, 2)
    await note(ctx, "reserve", order, 2)
    await ctx.sleep(PACKING)
    await note(ctx, "ship", order, 2)
    return {"order": order, "version": 2}


politer_orders = Service("Orders")


@politer_orders.handler("place")
async def place_politer(ctx: Context, order: str) -> Ordered:
    await note(ctx, "reserve", order, 3)
    await ctx.sleep(PACKING)
    await note(ctx, "ship", order, 3)
    await note(ctx, "thank", order, 3)
    return {"order": order, "version": 3}


first = understudy_app(services=[first_orders])
stricter = understudy_app(services=[stricter_orders])
politer = understudy_app(services=[politer_orders])


# --- its rehearsal --------------------------------------------------------------------------------------------

CUSTOMERS = ("ann", "bob", "cleo", "dan")
# By number of the application.
VERSIONS: Final = {0: 1, 1: 2, 2: 3}
STEPS: Final = {1: ["reserve", "ship"], 2: ["check", "reserve", "ship"], 3: ["reserve", "ship", "thank"]}
LOOK_S: Final = 30
LATER: Final = ("scenarios.order_upgrade:stricter", "scenarios.order_upgrade:politer")


class Noted(NamedTuple):
    do: str
    order: str
    version: int
    by: str


class Warehouse(External[Noted]):
    name = "warehouse"
    port = 7009
    address_variable = "WAREHOUSE_ADDRESS"

    def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.ledger.append(Noted(request["do"], request["order"], request["version"], request["by"]))
        return {"done": True}


def workload(choices: Choices) -> tuple[Operation, ...]:
    """Orders all the time; in some seeds version 2 comes beside version 1, in the others version 3 replaces it."""
    operations: list[Operation] = []
    for customer in CUSTOMERS:
        for number in range(choices.integer("orders", 1, 3)):
            label = f"{customer}-{number}"
            pause_ms = choices.one_of("pause", (500, 0, 5_000, 25_000))
            call = Call(
                client=customer, service="Orders", handler="place", argument=label, label=label, pause_ms=pause_ms
            )
            operations.append(call)
    pause_ms = choices.one_of("upgrade pause", (5_000, 200, 15_000, 40_000))
    if choices.chance("stricter", 400):
        operations.append(Deploy(client="release", app=1, pause_ms=pause_ms))
    else:
        operations.append(Deploy(client="release", app=2, pause_ms=pause_ms))
        operations.append(Remove(client="release", app=0, pause_ms=choices.one_of("remove pause", (0, 1_000, 10_000))))
    return tuple(operations)


@scenario(app="scenarios.order_upgrade:first", later=LATER, workload=workload, seeds=200)
async def order_upgrade(stage: Stage) -> None:
    claims = Claims(stage, stage.external(Warehouse))
    stage.attendant("release manager", claims.move_what_is_parked)
    stage.eventually("an order has the steps of the version it ended on", claims.other_steps)
    stage.eventually("an order changes its version only when it is moved", claims.strayed)
    stage.eventually("what comes after an upgrade is of its version", claims.late_on_old)
    stage.sometimes("an order ended on version 1 after an upgrade", claims.ended_on_old)
    stage.sometimes("an order ran on version 2", lambda: 2 in claims.versions().values())
    stage.sometimes("an order ran on version 3", lambda: 3 in claims.versions().values())
    stage.sometimes("an order was parked", lambda: bool(claims.parked))
    stage.sometimes("an order began on version 1 and ended on version 3", claims.changed_over)
    await stage.play()


class Claims:
    """What must hold of orders, and the operator who moves what is parked."""

    def __init__(self, stage: Stage, noted: Ledger[Noted]) -> None:
        self.stage = stage
        self.noted = noted
        self.parked: dict[str, None] = {}

    async def move_what_is_parked(self, desk: Desk) -> None:
        """Let run on the latest version whatever was left without one."""
        while True:
            await desk.sleep(LOOK_S)
            listed = await desk.get("/invocations?limit=1000")
            for found in listed["invocations"]:
                if "parked" in found:
                    self.parked[found["id"]] = None
                    await desk.ask("PATCH", f"/invocations/{found['id']}/resume?deployment=latest")

    def versions(self) -> dict[str, int]:
        """The version each order says it ended on, by its invocation."""
        return {
            one.invocation_id: json.loads(value)["version"]
            for one in self.stage.accepted("Orders", "place")
            if (value := getattr(self.stage.result(one.invocation_id), "value", None)) is not None
        }

    def booked(self, invocation_id: str) -> list[Noted]:
        return [one for one in self.noted if one.by == invocation_id]

    def other_steps(self) -> str:
        """Each step at its first execution by the code it counts for: these are the version's, in order."""
        for id_, version in self.versions().items():
            counts = {version, VERSIONS.get(self.stage.bound_to(id_), version)}
            found = list(dict.fromkeys(one.do for one in self.booked(id_) if one.version in counts))
            if found != STEPS[version]:
                return f"{id_} says it ended on version {version}, its steps were {found}"
        return ""

    def strayed(self) -> str:
        for id_, version in self.versions().items():
            begun = VERSIONS.get(self.stage.bound_to(id_), version)
            if begun != version and (begun, version, id_ in self.parked) != (1, 3, True):
                return f"{id_} began on version {begun} and ended on version {version}; moved: {id_ in self.parked}"
        return ""

    def late_on_old(self) -> str:
        for app, version in ((1, 2), (2, 3)):
            deployed_ns = self.stage.deployed_ns(app)
            for id_, found in self.versions().items():
                if 0 <= deployed_ns < self.stage.accepted_ns(id_) and found != version:
                    return f"{id_} was accepted after version {version} was there, and ended on version {found}"
        return ""

    def ended_on_old(self) -> bool:
        deployed_ns = max(self.stage.deployed_ns(app) for app in (1, 2))
        ends = [self.stage.ended_ns(id_) for id_, version in self.versions().items() if version == 1]
        return deployed_ns >= 0 and any(ended_ns > deployed_ns for ended_ns in ends)

    def changed_over(self) -> bool:
        return any({one.version for one in self.booked(id_)} == {1, 3} for id_ in self.versions())
