"""A purchase waits for its approval: a workflow, a signal, a promise, and what is left when its time is over.

* `Purchase/{name}` is a workflow.  `run` hands itself in at its manager's desk and waits for the manager's decision (a
  signal) or for the buyer, who may withdraw (a promise), whichever comes first.  `status` says how far it is.
* `Manager/{name}`: hand_in keeps the purchase's invocation, decide signals it: as often as the manager likes.

A purchase runs once: whoever starts it again is told 409, and asks for its result instead.  When its retention is over
nothing of it is left, and the name can be used again.

Run it for real with `understudy dev scenarios.approval:app`, rehearse it with `understudy simulate
scenarios/approval.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict

import attrs
from understudy import (
    ObjectContext,
    TerminalError,
    VirtualObject,
    Workflow,
    WorkflowContext,
    WorkflowSharedContext,
    select,
)
from understudy import app as understudy_app
from understudy_sim import Attach, Call, Choices, External, Ledger, Operation, Plan, Stage, limited, scenario

from scenarios import outside

MINUTE_MS = 60_000
PURCHASES = {"desk": "mary", "lamp": "mary", "chair": "nick"}
RETENTION_MS = 30 * MINUTE_MS
# When faults are over the managers decide what is left, and much later everything must be forgotten.
AT_LAST_MS = 20 * MINUTE_MS
MUCH_LATER_MS = 60 * MINUTE_MS
# What a purchase says of itself, one after the other.
STEPS = ("", "handed in", "decided")
BUYERS = ("ann", "bob", "cleo")
ARCHIVIST = "archivist"
DECIDED = (b'"approved"', b'"refused"')
AGAIN = 409
NOT_READY = 470
GONE = 404

books = outside.Service("BOOKS_ADDRESS")


class HandedIn(TypedDict):
    purchase: str
    invocation_id: str


class Decision(TypedDict):
    purchase: str
    approved: bool


purchase = Workflow("Purchase")
manager = VirtualObject("Manager")


# --- purchases ------------------------------------------------------------------------------------------------


@purchase.main("run")
async def run(ctx: WorkflowContext, manager_name: str) -> str:
    """Approved, refused or withdrawn.  What is decided is entered into the books."""
    ctx.object_send(hand_in, key=manager_name, arg=HandedIn(purchase=ctx.key(), invocation_id=ctx.request().id))
    ctx.set("status", "handed in")
    withdrawn = ctx.promise("withdrawn", type_hint=str).value()
    first, said = await select(decision=ctx.signal("decision", type_hint=str), withdrawn=withdrawn)
    outcome = said if first == "decision" else f"withdrawn by {said}"
    entry = {"purchase": ctx.key(), "outcome": outcome, "by": ctx.request().id}
    await ctx.run_typed("enter", lambda: books.ask(entry, stand_in={"entered": True}))
    ctx.set("status", f"decided: {outcome}")
    return str(outcome)


@purchase.handler("withdraw")
async def withdraw(ctx: WorkflowSharedContext, who: str) -> bool:
    """Whether nobody has withdrawn it before.  It may have been decided meanwhile."""
    try:
        await ctx.promise("withdrawn", type_hint=str).resolve(who)
    except TerminalError as error:
        if error.status_code != AGAIN:
            raise
        return False
    return True


@purchase.handler("status")
async def status(ctx: WorkflowSharedContext) -> str:
    return await ctx.get("status", type_hint=str) or ""


# --- managers -------------------------------------------------------------------------------------------------


@manager.handler("hand_in")
async def hand_in(ctx: ObjectContext, handed_in: HandedIn) -> None:
    """A decision that was made before is told at once."""
    ctx.set(handed_in["purchase"], handed_in["invocation_id"])
    decided = await ctx.get(f"decided {handed_in['purchase']}", type_hint=str)
    if decided is not None:
        ctx.resolve_signal(handed_in["invocation_id"], "decision", decided)


@manager.handler("decide")
async def decide(ctx: ObjectContext, decision: Decision) -> str:
    """The manager's decision.  The first one counts; it is told every time."""
    name = f"decided {decision['purchase']}"
    decided = await ctx.get(name, type_hint=str)
    if decided is None:
        decided = "approved" if decision["approved"] else "refused"
        ctx.set(name, decided)
    invocation_id = await ctx.get(decision["purchase"], type_hint=str)
    if invocation_id is not None:
        ctx.resolve_signal(invocation_id, "decision", decided)
    return decided


app = understudy_app(services=[purchase, manager])


# --- its rehearsal --------------------------------------------------------------------------------------------


class Entry(NamedTuple):
    purchase: str
    outcome: str
    by: str


class Books(External[Entry]):
    name = "books"
    port = 7016
    address_variable = "BOOKS_ADDRESS"

    def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.ledger.append(Entry(request["purchase"], request["outcome"], request["by"]))
        return {"entered": True}


def manager_model(decided: tuple[tuple[str, str], ...], handler: str, argument: Any) -> tuple[Any, Any]:
    """A manager who is asked one thing at a time: the first decision on a purchase is the only one."""
    if handler == "hand_in":
        return decided, None
    known = dict(decided)
    name = argument["purchase"]
    decision = known.setdefault(name, "approved" if argument["approved"] else "refused")
    return tuple(sorted(known.items())), decision


def workload(choices: Choices) -> tuple[Operation, ...]:
    """Buyers start, look, withdraw and wait; managers decide, in the end everything; much later all is forgotten."""
    operations: list[Operation] = []
    for buyer in BUYERS:
        for name, manager_name in PURCHASES.items():
            if choices.chance("buys", 600):
                operations += buying(choices, buyer, name, manager_name)
    for name, manager_name in PURCHASES.items():
        if choices.chance("decides early", 600):
            operations.append(deciding(choices, manager_name, name, choices.integer("after", 0, 3_000)))
    for name, manager_name in PURCHASES.items():
        operations.append(deciding(choices, f"{manager_name}, at last", name, AT_LAST_MS if name != "lamp" else 0))
        operations += looking_back(name, manager_name, MUCH_LATER_MS if name == "desk" else 0)
    return tuple(operations)


def buying(choices: Choices, buyer: str, name: str, manager_name: str) -> list[Operation]:
    def pause_ms() -> int:
        return choices.integer("pause", 0, 2_000) if choices.chance("thinks", 500) else 0

    def ask(client: str, handler: str, argument: str | None = None) -> Call:
        return Call(
            client=client, service="Purchase", key=name, handler=handler, argument=argument, pause_ms=pause_ms()
        )

    starts = attrs.evolve(ask(buyer, "run", manager_name), label=name, one_way=choices.chance("does not wait", 600))
    done: list[Operation] = [starts, ask(f"{buyer}'s clerk", "status")]
    if choices.chance("withdraws", 250):
        done.append(ask(buyer, "withdraw", buyer))
    done.append(ask(f"{buyer}'s clerk", "status"))
    if choices.chance("wants to know", 600):
        done.append(Attach(client=buyer, to=name, wait=choices.chance("waits", 600), pause_ms=pause_ms()))
    done.append(ask(f"{buyer}'s clerk", "status"))
    return done


def deciding(choices: Choices, client: str, name: str, pause_ms: int) -> Call:
    decision = Decision(purchase=name, approved=choices.chance("approves", 600))
    key = PURCHASES[name]
    return Call(client=client, service="Manager", key=key, handler="decide", argument=decision, pause_ms=pause_ms)


def looking_back(name: str, manager_name: str, pause_ms: int) -> list[Operation]:
    """Is it gone?  Then its name can be used again."""
    ask = Call(client=ARCHIVIST, service="Purchase", key=name, handler="status", pause_ms=pause_ms)
    again = attrs.evolve(ask, handler="run", argument=manager_name, pause_ms=0)
    return [ask, Attach(client=ARCHIVIST, to=name, wait=False), again]


def steady(plan: Plan) -> Plan:
    """Clocks that do not jump over the times that the claims tell apart, and purchases that are soon forgotten."""
    plan = attrs.evolve(plan, clock_jump_ms_max=min(plan.clock_jump_ms_max, 10_000))
    return limited(workflow_retention_ms=RETENTION_MS)(plan)


@scenario(app="scenarios.approval:app", workload=workload, plan=steady, seeds=100)
async def approval(stage: Stage) -> None:
    entered = stage.external(Books)

    def outcomes(what: str) -> bool:
        return any(one.outcome.startswith(what) for one in entered)

    stage.linearizable("Manager", manager_model, initial=())
    stage.always("a purchase does not go back", lambda: went_back(stage))
    stage.eventually("what is entered is what was decided, once in each life", lambda: wrongly_entered(stage, entered))
    stage.eventually("who asks is told what is entered", lambda: told_otherwise(stage, entered))
    stage.eventually("much later all is forgotten", lambda: remembered(stage))
    stage.eventually("a forgotten name can be used again", lambda: not_again(stage))
    stage.sometimes("a purchase was approved", lambda: outcomes("approved"))
    stage.sometimes("a purchase was refused", lambda: outcomes("refused"))
    stage.sometimes("a purchase was withdrawn", lambda: outcomes("withdrawn"))
    stage.sometimes("a second start was refused", lambda: was_answered(stage.answers("Purchase", "run"), AGAIN))
    stage.sometimes("a result was not ready", lambda: was_answered(stage.attached(), NOT_READY))
    stage.sometimes("a result was waited for", lambda: was_answered(stage.attached(), 200))
    stage.sometimes("a purchase lived twice", lambda: any(len(lives(stage, name)) > 1 for name in PURCHASES))
    await stage.play()


def was_answered(asked: list[Any], status: int) -> bool:
    return any(one.answer is not None and one.answer.status == status for one in asked)


def lives(stage: Stage, name: str) -> list[str]:
    """The results of a purchase, one for each time it ran."""
    return [json.loads(getattr(one, "value", b"null")) for one in stage.endings(invocation_of(stage, name))]


def invocation_of(stage: Stage, name: str) -> str:
    """Whoever starts a purchase, and whenever: its id comes from its name."""
    return next((one.invocation_id for one in stage.accepted("Purchase", "run") if one.target.key == name), "")


def went_back(stage: Stage) -> str:
    """Whoever looks after somebody else was answered sees the same or more."""
    seen = [
        (one.call.key, one.asked_ns, one.answer.at_ns, STEPS.index(json.loads(one.answer.body).split(":")[0]))
        for one in stage.answers("Purchase", "status")
        if one.answer is not None and one.answer.status == 200 and one.call.client != ARCHIVIST
    ]
    for name, _, answered_ns, step in seen:
        for other, asked_ns, _, later in seen:
            if name == other and answered_ns < asked_ns and later < step:
                return f"{name} was {STEPS[step]!r} and later {STEPS[later]!r}"
    return ""


def wrongly_entered(stage: Stage, entered: Ledger[Entry]) -> str:
    for name in PURCHASES:
        decided = lives(stage, name)
        written = [entry.outcome for entry in entered if entry.purchase == name]
        if set(decided) != set(written):
            return f"{name} was {decided} and is entered as {written}"
        allowed = len(decided) + stage.interruptions(invocation_of(stage, name))
        if len(written) > allowed:
            return f"{name} was entered {len(written)} times, where {allowed} are explained"
    return ""


def told_otherwise(stage: Stage, entered: Ledger[Entry]) -> str:
    for one in (*stage.answers("Purchase", "run"), *stage.attached()):
        if one.answer is not None and one.answer.status == 200:
            told = json.loads(one.answer.body)
            if told not in [entry.outcome for entry in entered if entry.purchase == one.call.key]:
                return f"{one.call.client} was told that {one.call.key} is {told!r}"
    return ""


def remembered(stage: Stage) -> str:
    for one in stage.answers("Purchase", "status"):
        if one.call.client == ARCHIVIST and (one.answer is None or json.loads(one.answer.body) != ""):
            return f"{one.call.key} is still known: {one.answer}"
    for one in stage.attached():
        if one.call.client == ARCHIVIST and (one.answer is None or one.answer.status != GONE):
            return f"{one.call.key} still has a result: {one.answer}"
    return ""


def not_again(stage: Stage) -> str:
    """What the manager has once decided holds in a second life too.  (Who asks twice is told 409 then.)

    A purchase that was withdrawn before anybody could start it is withdrawn when it begins its first.
    """
    for one in stage.answers("Purchase", "run"):
        if one.call.client != ARCHIVIST:
            continue
        told = [answer.body for answer in one.answers if answer.status == 200]
        lived_before = len(lives(stage, one.call.key or "")) > 1
        if not told or (lived_before and told[0] not in DECIDED):
            return f"{one.call.key} was started again: {one.answer}"
    return ""
