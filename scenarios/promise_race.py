"""A proposal that the first to speak decides: several approve and reject at once, and exactly one of them wins.

* `Proposal/{name}` is a workflow.  `run` waits for the decision, a durable promise, and tells the archive.
* `approve` and `reject` settle the promise, and say whether it was them.  `decision` peeks, `decided` waits.

Whoever asks, whenever, however often the server dies meanwhile: before the decision nobody is told one, after it
everybody is told the same.

Run it for real with `understudy dev scenarios.promise_race:app`, rehearse it with `understudy simulate
scenarios/promise_race.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from understudy import DurableFuture, DurablePromise, TerminalError, Workflow, WorkflowContext, WorkflowSharedContext
from understudy import app as understudy_app
from understudy_sim import Call, Choices, External, Ledger, Stage, limited, scenario

from scenarios import outside

PROPOSALS = ("roof", "garden")
NEIGHBOURS = ("bob", "cleo", "dan")
# Whoever could not make themselves heard has given up by then.
LATER_MS = 20 * 60_000
REJECTED = 403
LOST_THE_RACE = 409

archive = outside.Service("ARCHIVE_ADDRESS")
proposal = Workflow("Proposal")


@proposal.main("run")
async def run(ctx: WorkflowContext) -> str:
    """Wait for the decision, have it archived, and return it."""
    decision = await words_of(promise_of(ctx).value())
    request = {"proposal": ctx.key(), "decision": decision, "by": ctx.request().id}
    await ctx.run_typed("archive", lambda: archive.ask(request, stand_in={"kept": True}))
    return decision


@proposal.handler("approve")
async def approve(ctx: WorkflowSharedContext, who: str) -> bool:
    """Whether *who* was the first to speak."""
    return await is_first(promise_of(ctx).resolve(who))


@proposal.handler("reject")
async def reject(ctx: WorkflowSharedContext, who: str) -> bool:
    """Whether *who* was the first to speak."""
    return await is_first(promise_of(ctx).reject(who, REJECTED))


@proposal.handler("decision")
async def decision(ctx: WorkflowSharedContext) -> str:
    """The decision, or nothing when there is none yet."""
    return await words_of(promise_of(ctx).peek())


@proposal.handler("decided")
async def decided(ctx: WorkflowSharedContext) -> str:
    """The decision, as soon as there is one."""
    return await words_of(promise_of(ctx).value())


def promise_of(ctx: WorkflowSharedContext) -> DurablePromise[str]:
    return ctx.promise("decision", type_hint=str)


async def words_of(outcome: DurableFuture[str] | DurableFuture[str | None]) -> str:
    try:
        approved_by = await outcome
    except TerminalError as rejection:
        if rejection.status_code != REJECTED:
            raise
        return f"rejected by {rejection.message}"
    return "" if approved_by is None else f"approved by {approved_by}"


async def is_first(settled: DurableFuture[None]) -> bool:
    try:
        await settled
    except TerminalError as error:
        if error.status_code != LOST_THE_RACE:
            raise
        return False
    return True


app = understudy_app(services=[proposal])


# --- its rehearsal --------------------------------------------------------------------------------------------


class Filed(NamedTuple):
    proposal: str
    decision: str
    by: str


class Archive(External[Filed]):
    name = "archive"
    port = 7011
    address_variable = "ARCHIVE_ADDRESS"

    def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.ledger.append(Filed(request["proposal"], request["decision"], request["by"]))
        return {"kept": True}


def proposal_model(decided: str, handler: str, who: Any) -> tuple[str, Any]:
    """A proposal that is asked one thing at a time.  Who waits for the decision is not answered before it."""
    match handler:
        case "decision":
            return decided, decided
        case "run" | "decided":
            return decided, decided or "not yet"
    if decided:
        return decided, False
    return f"{'approved' if handler == 'approve' else 'rejected'} by {who}", True


def workload(choices: Choices) -> tuple[Call, ...]:
    """Ann makes the proposals.  Each neighbour speaks once about each, at about the same time, and looks.  In the end
    the mayor rejects what nobody has decided.
    """
    calls = [request(choices, "ann", name, "run") for name in PROPOSALS]
    for who in NEIGHBOURS:
        for name in PROPOSALS:
            if choices.chance("looks", 500):
                calls.append(request(choices, who, name, "decision"))
            if choices.chance("waits", 150):
                calls.append(request(choices, f"{who}'s child", name, "decided"))
            calls.append(request(choices, who, name, choices.one_of("says", ("approve", "reject")), who))
            if choices.chance("looks again", 500):
                calls.append(request(choices, who, name, choices.one_of("how", ("decision", "decided"))))
    for name in PROPOSALS:
        pause_ms = LATER_MS if name == PROPOSALS[0] else 0
        calls.append(
            Call(client="mayor", service="Proposal", key=name, handler="reject", argument="mayor", pause_ms=pause_ms)
        )
    return tuple(calls)


def request(choices: Choices, client: str, name: str, handler: str, argument: str | None = None) -> Call:
    pause_ms = choices.integer("pause", 0, 1_500) if choices.chance("hesitates", 500) else 0
    return Call(client=client, service="Proposal", key=name, handler=handler, argument=argument, pause_ms=pause_ms)


@scenario(app="scenarios.promise_race:app", workload=workload, plan=limited(workflow_retention_ms=None), seeds=100)
async def promise_race(stage: Stage) -> None:
    filed = stage.external(Archive)
    stage.linearizable("Proposal", proposal_model, initial="")
    stage.always("one neighbour decides", lambda: decided_twice(stage))
    stage.always("one decision is filed", lambda: filed_twice(filed))
    stage.eventually("what is filed is what won", lambda: other_than_filed(stage, filed))
    stage.sometimes("somebody approved first", lambda: any(one.decision.startswith("approved") for one in filed))
    stage.sometimes("somebody rejected first", lambda: any(one.decision.startswith("rejected") for one in filed))
    stage.sometimes("somebody looked before it was decided", lambda: stage.answered("Proposal", "decision", ""))
    stage.sometimes("somebody waited until it was decided", lambda: bool(stage.answers("Proposal", "decided")))
    await stage.play()


def winners(stage: Stage) -> dict[str, list[str]]:
    """Who was told to be the first, by proposal."""
    found: dict[str, list[str]] = {name: [] for name in PROPOSALS}
    for handler, word in (("approve", "approved"), ("reject", "rejected")):
        for one in stage.answers("Proposal", handler):
            if one.answer is not None and one.answer.status == 200 and json.loads(one.answer.body):
                found[one.call.key or ""].append(f"{word} by {one.call.client}")
    return found


def decided_twice(stage: Stage) -> str:
    return next((f"{name}: {who}" for name, who in winners(stage).items() if len(who) > 1), "")


def filed_twice(filed: Ledger[Filed]) -> str:
    decisions = {name: {one.decision for one in filed if one.proposal == name} for name in PROPOSALS}
    return next((f"{name}: {sorted(found)}" for name, found in decisions.items() if len(found) > 1), "")


def other_than_filed(stage: Stage, filed: Ledger[Filed]) -> str:
    """Every proposal that was made is filed, with the decision of who won."""
    won = winners(stage)
    for command in stage.accepted("Proposal", "run"):
        name = command.target.key or ""
        decisions = [one.decision for one in filed if one.proposal == name]
        if not decisions:
            return f"{name} was never filed"
        # Nobody knows of a winner who was never answered.
        if won[name] and won[name][0] != decisions[0]:
            return f"{name} was {won[name][0]} and is filed as {decisions[0]}"
    return ""
