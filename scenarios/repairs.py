"""A repair shop: orders with several parts, benches with awkward names, a supplier that keeps nobody waiting for ever.

* `Shop`: repair.  Has each part fixed at a bench, buys what is missing, hears the verdict, sends a notice, and asks for
  the customer's guarantee.
* `Bench/{name}`: fix, count, judge.  Benches are called by name, with headers; what a bench notes meanwhile is wiped.
* `Guarantee/{customer}` is a workflow: the first order of a customer gets it, all others are told that it is given.
* `Till`: take.  Waits for the price, the tax and the tip.
* `Post`: notice, complaint.  One notice for each customer, whoever orders it; a complaint that turns out to be needless
  is called off before its time.

It is about what other scenarios leave out: calls by name with bytes and headers, keys shared by handlers, sends with a
key, attaching to what is still to come, calling off what is scheduled, failures that carry details or are sent as
signals, results in the order they come, and steps that give up after a time.

Run it for real with `understudy dev scenarios.repairs:app`, rehearse it with `understudy simulate
scenarios/repairs.py`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple, TypedDict

import attrs
from understudy import (
    Context,
    InvocationRetryPolicy,
    ObjectContext,
    RetryableError,
    RunOptions,
    Service,
    TerminalError,
    VirtualObject,
    Workflow,
    WorkflowContext,
    as_completed,
)
from understudy import app as understudy_app
from understudy_sim import Call, Choices, Desk, External, Ledger, Operation, Plan, Stage, scenario

from scenarios import outside

BEYOND_REPAIR: Final = 410
NOTHING: Final = 404
GIVEN: Final = 409
CANCELLED: Final = 409
# A supplier who asks to come back later is left alone for so long.
LATER: Final = timedelta(seconds=3)
# How long it is tried to buy what nobody has, and how far apart questions may be meanwhile, when nothing else goes on.
PATIENCE: Final = timedelta(seconds=10)
LONGEST_PAUSE: Final = timedelta(seconds=1)
APART_MAX: Final = timedelta(seconds=5)
SLOTS_PLENTY: Final = 1_000
# Nobody haggles about what nobody has more often than this.
OFFERS_MAX: Final = 3
MONEY: Final = ("the price", "the tax", "the tip")
COUNTING_TAKES: Final = timedelta(seconds=1)
NOTICE_AFTER: Final = timedelta(milliseconds=1_500)
NOTICE_TAKES: Final = timedelta(seconds=10)
# How far clocks may be off, at the very most.
CLOCK_S: Final = 7 * 24 * 3600
PERSISTENCE: Final = InvocationRetryPolicy(
    initial_interval=timedelta(milliseconds=200), exponentiation_factor=1.5, max_interval=timedelta(seconds=5)
)
NOTED_FOR: Final = timedelta(minutes=5)
GIVEN_FOR: Final = timedelta(hours=2)
COMPLAINT_AFTER: Final = timedelta(minutes=3)

supplier = outside.Service("SUPPLIER_ADDRESS")


class Order(TypedDict):
    """An order: its parts, and the bench each goes to.  What is `rare` nobody has."""

    name: str
    customer: str
    parts: dict[str, str]
    rare: bool


class Receipt(TypedDict):
    tags: list[str]
    at: float
    fixed: dict[str, str]
    counted: list[int]
    bought: bool
    verdict: str
    notice: str
    guarantee: str


class Question(TypedDict):
    order_id: str
    name: str
    verdict: str
    bell: str


async def ask(do: str, order: str, by: str) -> str:
    answer = await supplier.ask({"do": do, "order": order, "by": by}, stand_in={"says": "here it is"})
    return str(answer["says"])


# --- benches ------------------------------------------------------------------------------------------------

bench = VirtualObject("Bench", journal_retention=NOTED_FOR)


@bench.handler("fix")
async def fix(ctx: ObjectContext, part: str) -> list[str]:
    """Where the part was fixed, for which order, and what is left on the bench, which is nothing."""
    headers = ctx.request().headers
    ctx.set("part", part)
    ctx.set("order", headers["x-order"])
    await ctx.sleep(timedelta(milliseconds=200))
    ctx.clear_all()
    left = [*await ctx.state_keys(), *filter(None, [await ctx.get("part", type_hint=str)])]
    ctx.set("last", part)
    await ctx.run("look at it", look_at, args=(ctx.key(), part))
    return [ctx.key(), headers["x-order"], headers["x-part"], *left]


def look_at(place: str, part: str) -> None:
    """Some parts are not worth another look."""
    if part.startswith("rust"):
        raise TerminalError(f"{part} is beyond repair", BEYOND_REPAIR, {"bench": place, "part": part})


@bench.handler("count", kind="shared")
async def count(_: Context, parts: list[str]) -> int:
    return len(parts)


@bench.handler("judge")
async def judge(ctx: ObjectContext, question: Question) -> None:
    """Tell the order's handler what its verdict is."""
    if question["verdict"] == "scrap":
        ctx.reject_awakeable(question["bell"], "nothing to ring for", NOTHING)
        ctx.reject_signal(question["order_id"], "verdict", f"{question['name']} is scrap", BEYOND_REPAIR)
    else:
        ctx.resolve_awakeable(question["bell"], "ring")
        ctx.resolve_signal(question["order_id"], "verdict", question["verdict"])


# --- the rest of the shop -----------------------------------------------------------------------------------

guarantee = Workflow("Guarantee")


@guarantee.main("run", workflow_retention=GIVEN_FOR)
async def give(ctx: WorkflowContext, order: str) -> str:
    await ctx.sleep(timedelta(seconds=1))
    return f"{ctx.key()} for {order}"


post = Service("Post")


@post.handler("notice")
async def notice(ctx: Context, customer: str) -> str:
    await ctx.sleep(NOTICE_TAKES)
    return f"told {customer}"


@post.handler("complaint", invocation_retry_policy=PERSISTENCE, journal_retention=timedelta(minutes=10))
async def complaint(ctx: Context, order: str) -> None:
    invocation_id = ctx.request().id
    await ctx.run_typed("complain", lambda: ask("complain", order, invocation_id))


till = Service("Till")


@till.handler("take")
async def take(ctx: Context) -> list[str]:
    """Nothing is journaled before the first money comes.  The rest has come, under one name, while that is counted."""
    first = await ctx.signal("money", type_hint=str)
    await ctx.sleep(COUNTING_TAKES)
    return [first, await ctx.signal("money", type_hint=str), await ctx.signal("money", type_hint=str)]


shop = Service("Shop")


@shop.handler("repair")
async def repair(ctx: Context, order: Order) -> Receipt:
    """All that is done for an order."""
    invocation_id, name = ctx.request().id, order["name"]
    tags = [str(ctx.uuid()), str(ctx.uuid())]
    late = ctx.service_send(complaint, arg=name, send_delay=COMPLAINT_AFTER)
    told = ctx.service_send(
        notice, arg=order["customer"], send_delay=NOTICE_AFTER, idempotency_key=f"notice for {order['customer']}"
    )
    noticed = ctx.attach_invocation(await told.invocation_id(), type_hint=str)  # It has not begun, or it is another's.
    at = await ctx.time()
    fixed, counted = await fixed_at_benches(ctx, order)
    bought = await buy(ctx, order)
    verdict = await hear(ctx, order, bought)
    await pay(ctx)
    if bought:
        await late.cancel_invocation()
    try:
        given = await ctx.workflow_call(give, key=order["customer"], arg=name)
    except TerminalError as error:
        given = f"refused with {error.status_code}"
    await ctx.run_typed("hand over", lambda: ask("hand over", name, invocation_id))
    return Receipt(
        tags=tags,
        at=at,
        fixed=fixed,
        counted=counted,
        bought=bought,
        verdict=verdict,
        notice=await noticed,
        guarantee=given,
    )


async def fixed_at_benches(ctx: Context, order: Order) -> tuple[dict[str, str], list[int]]:
    """What became of each part, and how many parts each bench counted.  One key serves for both questions."""
    name, parts = order["name"], order["parts"]
    calls = [
        ctx.generic_call(
            "Bench",
            "fix",
            json.dumps(part).encode(),
            key=place,
            idempotency_key=f"{name}/{part}",
            headers={"x-order": name, "x-part": part},
        )
        for part, place in parts.items()
    ]
    counts = [
        ctx.object_call(count, key=place, arg=list(parts), idempotency_key=f"{name}/{part}")
        for part, place in parts.items()
    ]
    fixed: dict[str, str] = {}
    async for done in as_completed(*calls):
        part = list(parts)[calls.index(done)]  # type: ignore[arg-type]
        try:
            fixed[part] = " ".join(json.loads(await done))
        except TerminalError as error:
            fixed[part] = f"{error.status_code} {error.metadata}"
    # By now these are mostly all there: they come together.
    return fixed, [await one async for one in as_completed(*counts)]


async def buy(ctx: Context, order: Order) -> bool:
    """Whether the supplier had what is missing.  One that does not know yet is asked later."""
    invocation_id, name = ctx.request().id, order["name"]

    async def reserve() -> str:
        says = await ask("reserve", name, invocation_id)
        if says == "later":
            raise RetryableError(f"{name} may be had later", retry_after=LATER)
        return says

    patiently: RunOptions[str] = RunOptions(
        max_duration=PATIENCE,
        initial_retry_interval=timedelta(milliseconds=100),
        retry_interval_factor=2.0,
        max_retry_interval=LONGEST_PAUSE,
    )
    await ctx.run_typed("reserve", reserve)
    if order["rare"]:
        await haggle(ctx, order)
    settle = "pay for rare" if order["rare"] else "pay"
    try:
        await ctx.run_typed("pay", lambda: ask(settle, name, invocation_id), patiently)
    except TerminalError:
        return False
    return True


async def haggle(ctx: Context, order: Order) -> None:
    """Make some offers for what nobody has, and give that up."""
    invocation_id, name = ctx.request().id, order["name"]
    sometimes: RunOptions[str] = RunOptions(
        max_attempts=OFFERS_MAX, initial_retry_interval=timedelta(milliseconds=100), max_retry_interval=LONGEST_PAUSE
    )
    try:
        await ctx.run_typed("offer", lambda: ask("offer for rare", name, invocation_id), sometimes)
    except TerminalError:
        return


async def pay(ctx: Context) -> None:
    """First the price, then the tax, then the tip."""
    taken_by = await ctx.service_send(take, arg=None).invocation_id()
    for money in MONEY:
        ctx.resolve_signal(taken_by, "money", money)


async def hear(ctx: Context, order: Order, bought: bool) -> str:
    """The verdict of the first bench, which comes as a signal, and its bell."""
    bell, rung = ctx.awakeable(type_hint=str)
    question = Question(
        order_id=ctx.request().id, name=order["name"], verdict="as new" if bought else "scrap", bell=bell
    )
    ctx.object_send(judge, key=next(iter(order["parts"].values())), arg=question)
    try:
        return f"{await ctx.signal('verdict', type_hint=str)}, {await rung}"
    except TerminalError as error:
        verdict = f"{error.status_code} {error.message}"
    try:
        return f"{verdict}, {await rung}"
    except TerminalError as error:
        return f"{verdict}, {error.status_code}"


app = understudy_app(services=[shop, bench, guarantee, post, till])


# --- its rehearsal --------------------------------------------------------------------------------------------

# Names that a path must carry: each is a part of another one, as it is written somewhere.
BENCHES: Final = ("saw & file", "saw", "5%25", "Lötstation/2")
CUSTOMERS: Final = ("ann", "bob")
PARTS: Final = ("wheel", "gear", "rusty hinge", "spring")
VISITS_MAX: Final = 4


class Asked(NamedTuple):
    do: str
    order: str
    by: str


class Supplier(External[Asked]):
    """Has everything but what is rare; sometimes it does not know at first."""

    name = "supplier"
    port = 7023
    address_variable = "SUPPLIER_ADDRESS"

    def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        asked = Asked(request["do"], request["order"], request["by"])
        self.ledger.append(asked)
        if asked.do.endswith("for rare"):
            return {"error": "nobody has it"}
        knows = asked.do != "reserve" or sum(one == asked for one in self.ledger) > 1
        return {"says": "here it is" if knows else "later"}


def workload(choices: Choices) -> tuple[Operation, ...]:
    """Each customer has some things repaired, and an inspector has parts counted."""
    operations: list[Operation] = []
    for customer in CUSTOMERS:
        for number in range(choices.integer("orders", 1, 3)):
            chosen = choices.shuffle("parts", PARTS)[: choices.integer("parts/count", 1, 3)]
            order = Order(
                name=f"{customer}-{number}",
                customer=customer,
                parts={part: choices.one_of("bench", BENCHES) for part in chosen},
                rare=choices.chance("rare", 400),
            )
            call = Call(
                client=customer,
                service="Shop",
                handler="repair",
                argument=order,
                label=order["name"],
                one_way=choices.chance("does not wait", 400),
                pause_ms=choices.integer("pause", 0, 2_000),
            )
            operations.append(call)
    for _ in range(choices.integer("inspections", 0, 3)):
        operations.append(
            Call(
                client="inspector",
                service="Bench",
                key=choices.one_of("bench", BENCHES),
                handler="count",
                argument=list(PARTS),
                pause_ms=choices.integer("pause", 0, 2_000),
            )
        )
    return tuple(operations)


def of_today(plan: Plan) -> Plan:
    """Failures carry details: the endpoint speaks the protocol that has them, whatever happens to it."""
    intensity = {kind: bite for kind, bite in plan.intensity.items() if kind != "endpoint_swap"}
    return attrs.evolve(plan, protocol_version=6, intensity=intensity)


@scenario(app="scenarios.repairs:app", workload=workload, plan=of_today, seeds=200)
async def repairs(stage: Stage) -> None:
    claims = Claims(stage, stage.external(Supplier))
    visits: list[int] = []

    async def meddle(desk: Desk) -> None:
        """Somebody replaces what is noted on a bench, for a state that no bench was ever in."""
        choices = stage.kernel.choices
        for _ in range(choices.integer("meddler/visits", 0, VISITS_MAX)):
            await desk.sleep(choices.integer("meddler/pause", 0, 3))
            key = choices.one_of("meddler/bench", BENCHES)
            forged = {"object_key": key, "new_state": {"forged": "1"}, "version": "no-such-state"}
            visits.append((await desk.ask("POST", "/services/Bench/state", forged)).status)

    stage.attendant("meddler", meddle)
    stage.always("no bench is forged", claims.forged)
    stage.always("what is sent for later is sent for the right time", claims.mistimed)
    stage.eventually("a notice takes its time", claims.hurried)
    stage.always("benches are called by their names", claims.misnamed)
    stage.always("the supplier is asked again when it should be", claims.pressed)
    stage.eventually("who gives up has made all offers", claims.gave_up)
    stage.eventually("the till has price, tax and tip, in this order", claims.short_of_money)
    stage.eventually("every receipt is right", claims.wrong_receipt)
    stage.eventually("no two things have one tag", claims.tagged_twice)
    stage.eventually("a customer has one notice and one guarantee", claims.doubled)
    stage.eventually("who was served does not complain", claims.complained)
    stage.sometimes("a part was beyond repair", lambda: claims.has("fixed", str(BEYOND_REPAIR)))
    stage.sometimes("a part was not to be had", lambda: claims.has("verdict", "scrap"))
    stage.sometimes("a guarantee was given before", lambda: claims.has("guarantee", "refused"))
    stage.sometimes("a complaint was called off", lambda: claims.called_off() > 0)
    stage.sometimes("a forger was at work", lambda: bool(visits))
    await stage.play()


class Claims:
    """What must hold of the shop.  Each method says what is wrong, or nothing."""

    def __init__(self, stage: Stage, asked: Ledger[Asked]) -> None:
        self.stage = stage
        self.asked = asked
        self._asked_ns: list[int] = []  # when each question came
        self._timed: dict[str, None] = {}  # the notices whose time was looked at

    def receipts(self) -> Iterator[tuple[str, Order, Receipt | None]]:
        for command in self.stage.accepted("Shop", "repair"):
            value = getattr(self.stage.result(command.invocation_id), "value", None)
            yield command.invocation_id, json.loads(command.payload), None if value is None else json.loads(value)

    def has(self, field: str, word: str) -> bool:
        return any(receipt is not None and word in str(receipt[field]) for _, _, receipt in self.receipts())  # type: ignore[literal-required]

    def forged(self) -> str:
        return next((f"{one} is forged" for one in BENCHES if "forged" in self.stage.state("Bench", one)), "")

    def misnamed(self) -> str:
        asked = (one for handler in ("fix", "count", "judge") for one in self.stage.accepted("Bench", handler))
        return next((f"somebody asks for {one.target}" for one in asked if one.target.key not in BENCHES), "")

    def wrong_receipt(self) -> str:
        for id_, order, receipt in self.receipts():
            if receipt is None:
                return f"{order['name']} ({id_}) ended with {self.stage.result(id_)}"
            guarantees = (f"{order['customer']} for {order['name']}", f"refused with {GIVEN}")
            wanted = {
                "fixed": {part: becomes(order, part, place) for part, place in order["parts"].items()},
                "counted": [len(order["parts"])] * len(order["parts"]),
                "notice": f"told {order['customer']}",
                "verdict": "as new, ring"
                if receipt["bought"]
                else f"{BEYOND_REPAIR} {order['name']} is scrap, {NOTHING}",
            }
            found = {name: receipt[name] for name in wanted}  # type: ignore[literal-required]
            is_wrong = receipt["guarantee"] not in guarantees or (receipt["bought"] and order["rare"])
            if found != wanted or is_wrong or abs(receipt["at"] - self.stage.clock_ms() / 1000) > CLOCK_S:
                return f"the receipt of {order} is {receipt}"
        return ""

    def tagged_twice(self) -> str:
        tags = Counter(tag for _, _, receipt in self.receipts() if receipt is not None for tag in receipt["tags"])
        return next((f"{times} things are tagged {tag}" for tag, times in tags.items() if times > 1), "")

    def doubled(self) -> str:
        found = Counter(f"a notice for {json.loads(one.payload)}" for one in self.stage.accepted("Post", "notice"))
        for _, order, receipt in self.receipts():
            if receipt is not None and not receipt["guarantee"].startswith("refused"):
                found[f"a guarantee for {order['customer']}"] += 1
        return next((f"there are {times} times {what}" for what, times in found.items() if times > 1), "")

    def mistimed(self) -> str:
        """Complaint and notice are sent in the same breath: so far apart are they due, unless that was interrupted."""
        notices = [one for one in self.stage.accepted("Post", "notice") if one.invocation_id not in self._timed]
        if not notices:
            return ""
        due_ms = {one.invocation_id: one.execution_time_ms for one in self.stage.accepted("Post", "complaint")}
        sent = {
            one.invocation_id: self.stage.callees(one.invocation_id) for one in self.stage.accepted("Shop", "repair")
        }
        for one in notices:
            sent_by = self.senders(one.invocation_id)
            if not all(sent[id_][0] in due_ms for id_ in sent_by):
                continue  # A complaint is still on its way.
            self._timed[one.invocation_id] = None
            apart = [timedelta(milliseconds=due_ms[sent[id_][0]] - one.execution_time_ms) for id_ in sent_by]
            interrupted = any(self.stage.interruptions(id_) for id_ in sent_by)
            if not interrupted and COMPLAINT_AFTER - NOTICE_AFTER not in apart:
                return f"{one.invocation_id} is due {apart} before the complaint"
        return ""

    def hurried(self) -> str:
        """As long as no clock was put wrong, a notice that is sent for later and sleeps takes as long as that does."""
        if self.stage.clock_jumps():
            return ""
        least_ns = (NOTICE_AFTER + NOTICE_TAKES) // timedelta(microseconds=1) * 1_000
        for id_ in (one.invocation_id for one in self.stage.accepted("Post", "notice")):
            took_ns = self.stage.ended_ns(id_) - min(self.stage.accepted_ns(one) for one in self.senders(id_))
            if took_ns < least_ns:
                return f"{id_} took {took_ns / 1e9} s"
        return ""

    def senders(self, notice_id: str) -> list[str]:
        """The orders that sent this notice."""
        sent = (one.invocation_id for one in self.stage.accepted("Shop", "repair"))
        return [id_ for id_ in sent if notice_id in self.stage.callees(id_)]

    def called_off(self) -> int:
        ended = [self.stage.result(one.invocation_id) for one in self.stage.accepted("Post", "complaint")]
        return sum(getattr(one, "code", 0) == CANCELLED for one in ended)

    def complained(self) -> str:
        """A complaint is called off minutes before its time; by then the order may hang behind all kinds of faults."""
        served = {order["name"]: receipt["bought"] for _, order, receipt in self.receipts() if receipt is not None}
        complaints = {one.order for one in self.asked if one.do == "complain"}
        for command in self.stage.accepted("Post", "complaint"):
            name, result = json.loads(command.payload), self.stage.result(command.invocation_id)
            if not served.get(name, True) and (name not in complaints or not hasattr(result, "value")):
                return f"{name} was not served, and its complaint ended with {result}"
            if (
                getattr(result, "code", 0) == CANCELLED
                and name in complaints
                and not self.stage.signals(command.invocation_id)
            ):
                return f"the complaint about {name} was called off, and came all the same"
        return ""

    def pressed(self) -> str:
        """Who does not know yet is asked again after as long as it asked for, who has nothing is asked again soon."""
        while len(self._asked_ns) < len(self.asked):
            self._asked_ns.append(self.stage.kernel.now_ns)
        # With few slots a try may have to wait for others.
        if not self.stage.plan.is_calm or self.stage.plan.limits.attempts_max < SLOTS_PLENTY:
            return ""
        last_ns: dict[Asked, int] = {}
        for one, at_ns in zip(self.asked, self._asked_ns, strict=True):
            apart = timedelta(microseconds=(at_ns - last_ns.get(one, at_ns)) // 1000)
            if one.do == "reserve" and one in last_ns and apart < LATER:
                return f"{one.order} was asked for again after {apart}"
            if one.do == "pay for rare" and apart > APART_MAX:
                return f"{one.order} was not asked for again for {apart}"
            last_ns[one] = at_ns
        return ""

    def gave_up(self) -> str:
        """When nothing goes wrong, every try counts, and nothing but a try does."""
        if not self.stage.plan.is_calm:
            return ""
        offers = Counter(one.order for one in self.asked if one.do == "offer for rare")
        return next((f"{times} offers for {name}" for name, times in offers.items() if times != OFFERS_MAX), "")

    def short_of_money(self) -> str:
        for command in self.stage.accepted("Till", "take"):
            taken = self.stage.result(command.invocation_id)
            if json.loads(getattr(taken, "value", b"null")) != list(MONEY):
                return f"{command.invocation_id} took {taken}"
        return ""


def becomes(order: Order, part: str, place: str) -> str:
    """What is noted of a part that goes to the bench *place*."""
    if part.startswith("rust"):
        return f"{BEYOND_REPAIR} { {'bench': place, 'part': part} }"
    return f"{place} {order['name']} {part}"
