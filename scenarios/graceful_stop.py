"""A job that is asked to stop finishes what it has in hand; asked again, it stops at once.

* `Jobs`: run.  Waits until its workers report that they are done.  The first cancel only stops new work: it is noted,
  and the wait goes on.  The second one ends the job.

A cancel that was heard stays in the journal, and every later wait listens for the next one.  A server that mistakes the
old for a new one wakes the job again and again, as fast as it can: the number of attempts must stay within what
happened to the job.

Run it for real with `understudy dev scenarios.graceful_stop:app`, rehearse it with `understudy simulate
scenarios/graceful_stop.py`.
"""

from __future__ import annotations

import json
from typing import Any, Final, TypedDict

from understudy import Context, Service, TerminalError
from understudy import app as understudy_app
from understudy_sim import Act, Call, Choices, Operation, Result, Settle, Stage, scenario

STOPS_AT: Final = 2
STOPPED: Final = "stopped"


class Ended(TypedDict):
    """How a job ended, and how often it had been asked to stop."""

    how: str
    asked: int


jobs = Service("Jobs")


@jobs.handler("run")
async def run(ctx: Context, name: str) -> Ended:
    """Wait for the workers, and for whoever loses patience."""
    _, workers = ctx.awakeable(type_hint=str)
    asked = 0
    while asked < STOPS_AT:
        try:
            if asked:
                await ctx.run_typed("stop new work", stop_new_work)
            return {"how": await workers, "asked": asked}
        except TerminalError:
            asked += 1
    return {"how": STOPPED, "asked": asked}


def stop_new_work() -> None:
    """Nobody is given anything to do any more."""


app = understudy_app(services=[jobs])


# --- its rehearsal --------------------------------------------------------------------------------------------

OWNERS = ("ann", "bob", "cleo")
DONE: Final = "done"
# What may wake a job beside its operators' and workers' requests: the step it makes, and what is under way.
WAKES_MAX: Final = 4


def workload(choices: Choices) -> tuple[Operation, ...]:
    """Jobs that are asked to stop, once or twice, and mostly end because their workers are done."""
    operations: list[Operation] = []
    number = 0
    for owner in OWNERS:
        for _ in range(choices.integer("jobs", 1, 3)):
            number += 1
            label = f"job-{number}"
            pause_ms = choices.integer("pause", 0, 3_000)
            operations.append(
                Call(
                    client=owner,
                    service="Jobs",
                    handler="run",
                    argument=label,
                    label=label,
                    one_way=choices.chance("one way", 500),
                    pause_ms=pause_ms,
                )
            )
            again = choices.chance("again", 400)
            for _ in range(1 + again):
                pause_ms = choices.one_of("cancel pause", (1_000, 0, 100, 30_000))
                operations.append(Act(client=f"{label}'s operator", action="cancel", on=label, pause_ms=pause_ms))
            if not again or choices.chance("done anyway", 300):
                pause_ms = choices.one_of("done pause", (300_000, 1_000, 60_000))
                operations.append(Settle(client=f"{label}'s worker", of=label, value=DONE, pause_ms=pause_ms))
    return tuple(operations)


@scenario(app="scenarios.graceful_stop:app", workload=workload, seeds=200)
async def graceful_stop(stage: Stage) -> None:
    claims = Claims(stage)
    stage.always("a job runs again only when something happened to it", claims.restless)
    stage.eventually("a job ends as it was asked to", claims.ended_wrong)
    stage.sometimes("a job was asked once and finished", lambda: claims.ended(DONE, 1))
    stage.sometimes("a job was stopped", lambda: claims.ended(STOPPED, STOPS_AT))
    stage.sometimes("a job finished before it was asked", lambda: claims.ended(DONE, 0))
    await stage.play()


class Claims:
    """What must hold of jobs.  Each method says what is wrong, or nothing."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def restless(self) -> str:
        for command in self.stage.accepted("Jobs", "run"):
            id_ = command.invocation_id
            allowed = WAKES_MAX + self.stage.signals(id_) + self.stage.starts
            if self.stage.runs(id_) > allowed:
                return f"{id_} was taken up {self.stage.runs(id_)} times; what happened to it explains {allowed}"
        return ""

    def ends(self) -> list[dict[str, Any]]:
        """How each job ended: its answer, or its failure's code and message."""
        results = (self.stage.result(one.invocation_id) for one in self.stage.accepted("Jobs", "run"))
        return [told(result) for result in results if result is not None]

    def ended(self, how: str, asked: int) -> bool:
        return {"how": how, "asked": asked} in self.ends()

    def ended_wrong(self) -> str:
        for command in self.stage.accepted("Jobs", "run"):
            id_ = command.invocation_id
            end = told(self.stage.result(id_))
            cancels = self.stage.cancels(id_)
            if end.get("asked", 1) > cancels or (end.get("how") == STOPPED and cancels < STOPS_AT):
                return f"{command.idempotency_key} ({id_}) ended with {end}, and was cancelled {cancels} times"
        return ""


def told(result: Result | None) -> dict[str, Any]:
    value = getattr(result, "value", None)
    return {"message": repr(result)} if value is None else dict(json.loads(value))
