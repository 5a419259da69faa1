"""Parcels for a courier whose booking desk is down now and then: what cannot go on is paused, not lost, and an operator
takes it up again.

* `Parcels`: ship.  Has the parcel labelled, announced and handed over.  Three attempts, then it is paused.
* `Messages`: announce.  Two attempts to write a message, then it ends with what went wrong: a parcel can do without.

The desk fails for its first so many calls.  Every minute an operator looks for paused invocations and resumes them;
some parcels are cancelled, which takes a paused one up again too.

Run it for real with `understudy dev scenarios.parcels:app`, rehearse it with `understudy simulate
scenarios/parcels.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple, TypedDict

from understudy import Context, InvocationRetryPolicy, Service, TerminalError
from understudy import app as understudy_app
from understudy_sim import Act, Call, Choices, Desk, External, Ledger, Operation, Stage, scenario

from scenarios import outside

SHIP_ATTEMPTS_MAX: Final = 3
ANNOUNCE_ATTEMPTS_MAX: Final = 2
PAUSED_AT_LAST = InvocationRetryPolicy(
    initial_interval=timedelta(milliseconds=100),
    max_interval=timedelta(seconds=1),
    max_attempts=SHIP_ATTEMPTS_MAX,
    on_max_attempts="pause",
)
KILLED_AT_LAST = InvocationRetryPolicy(
    initial_interval=timedelta(milliseconds=50), max_attempts=ANNOUNCE_ATTEMPTS_MAX, on_max_attempts="kill"
)

desk = outside.Service("DESK_ADDRESS")


class Shipped(TypedDict):
    parcel: str
    announced: bool


async def tell_desk(do: str, parcel: str, by: str) -> None:
    """Have the courier's desk *do* something, for invocation *by*.  Raises Unavailable."""
    await desk.ask({"do": do, "parcel": parcel, "by": by}, stand_in={"done": True})


messages = Service("Messages")


@messages.handler("announce", invocation_retry_policy=KILLED_AT_LAST)
async def announce(ctx: Context, parcel: str) -> None:
    """Tell whoever waits for the parcel."""
    invocation_id = ctx.request().id
    await ctx.run_typed("message", lambda: tell_desk("message", parcel, invocation_id))


parcels = Service("Parcels")


@parcels.handler("ship", invocation_retry_policy=PAUSED_AT_LAST)
async def ship(ctx: Context, parcel: str) -> Shipped:
    """Label it, announce it if that is possible, hand it over."""
    invocation_id = ctx.request().id
    await ctx.run_typed("label", lambda: tell_desk("label", parcel, invocation_id))
    announced = True
    try:
        await ctx.service_call(announce, arg=parcel)
    except TerminalError as error:
        if error.status_code == CANCELLED:
            raise
        announced = False
    await ctx.run_typed("hand over", lambda: tell_desk("hand over", parcel, invocation_id))
    return {"parcel": parcel, "announced": announced}


app = understudy_app(services=[parcels, messages])


# --- its rehearsal --------------------------------------------------------------------------------------------

SENDERS = ("ann", "bob", "cleo")
CANCELLED: Final = 409
LOOK_S: Final = 60
DOWN_CALLS = (0, 3, 10, 30)


class Done(NamedTuple):
    """A call of the desk; `done` is False while it was down."""

    do: str
    parcel: str
    by: str
    done: bool


class CourierDesk(External[Done]):
    """Refuses its first so many calls, then works."""

    name = "desk"
    port = 7008
    address_variable = "DESK_ADDRESS"

    def __init__(self, choices: Choices, ledger: Ledger[Done]) -> None:
        super().__init__(choices, ledger)
        self.down_calls = choices.one_of("desk/down", DOWN_CALLS)

    def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        done = len(self.ledger) >= self.down_calls
        self.ledger.append(Done(request["do"], request["parcel"], request["by"], done))
        return {"done": True} if done else {"error": "the desk is closed"}


def workload(choices: Choices) -> tuple[Operation, ...]:
    """Parcels; a few are cancelled while they are paused, or at any other time."""
    operations: list[Operation] = []
    for sender in SENDERS:
        for number in range(choices.integer("parcels", 1, 3)):
            label = f"{sender}'s parcel {number}".replace(" ", "-").replace("'", "")
            pause_ms = choices.integer("pause", 0, 5_000)
            call = Call(
                client=sender, service="Parcels", handler="ship", argument=label, label=label, pause_ms=pause_ms
            )
            operations.append(call)
            if choices.chance("cancelled", 150):
                pause_ms = choices.one_of("cancel pause", (2_000, 100, 20_000))
                operations.append(Act(client="complaints", action="cancel", on=label, pause_ms=pause_ms))
            if choices.chance("resumed early", 200):
                pause_ms = choices.one_of("resume pause", (1_000, 100, 10_000))
                operations.append(Act(client="impatience", action="resume", on=label, pause_ms=pause_ms))
    return tuple(operations)


@scenario(app="scenarios.parcels:app", workload=workload, seeds=200)
async def parcels_pause(stage: Stage) -> None:
    claims = Claims(stage, stage.external(CourierDesk))
    stage.attendant("lookout", claims.look_out)
    stage.always("no more attempts than the policy has", claims.too_many_attempts)
    stage.eventually("every parcel is shipped, unless it was cancelled", claims.not_shipped)
    stage.eventually("a parcel is told whether it was announced", claims.announced_wrong)
    stage.eventually("a message that failed ends with what went wrong", claims.failed_otherwise)
    stage.eventually("calls of the desk are explained", claims.unexplained)
    stage.sometimes("a parcel was paused", lambda: bool(claims.paused))
    stage.sometimes("a parcel was paused again", lambda: max(claims.paused.values(), default=0) > 1)
    stage.sometimes("an operator resumed it", lambda: claims.resumed > 0)
    stage.sometimes("a message was given up", lambda: any(claims.failures("Messages", "announce")))
    stage.sometimes("a parcel was cancelled", lambda: any(claims.failures("Parcels", "ship")))
    stage.sometimes("a paused parcel was cancelled", claims.cancelled_while_paused)
    stage.sometimes("an early resume did nothing", lambda: any(one.status == 200 for one in stage.acted("resume")))
    await stage.play()


class Claims:
    """What must hold of parcels, and the operator who looks after them."""

    def __init__(self, stage: Stage, done: Ledger[Done]) -> None:
        self.stage = stage
        self.done = done
        self.paused: Counter[str] = Counter()  # how often the operator found a parcel paused
        self.resumed = 0

    async def look_out(self, desk: Desk) -> None:
        """Resume what is paused, every minute."""
        while True:
            await desk.sleep(LOOK_S)
            listed = await desk.get("/invocations?limit=1000")
            for found in listed["invocations"]:
                if found["status"] == "paused":
                    self.paused[found["id"]] += 1
                    answer = await desk.ask("PATCH", f"/invocations/{found['id']}/resume")
                    self.resumed += answer.status == 200

    def too_many_attempts(self) -> str:
        for handlers, attempts_max in ((("Parcels", "ship"), SHIP_ATTEMPTS_MAX), (("Messages", "announce"), 2)):
            for command in self.stage.accepted(*handlers):
                id_ = command.invocation_id
                allowed = attempts_max * self.stage.runs(id_) + self.stage.put_off(id_)
                if self.stage.attempts(id_) > allowed:
                    return (
                        f"{id_} had {self.stage.attempts(id_)} attempts, its policy and its beginnings allow {allowed}"
                    )
        return ""

    def failures(self, service: str, handler: str) -> list[Any]:
        results = (self.stage.result(one.invocation_id) for one in self.stage.accepted(service, handler))
        return [result for result in results if hasattr(result, "code")]

    def not_shipped(self) -> str:
        labelled = {(entry.do, entry.by) for entry in self.done if entry.done}
        for command in self.stage.accepted("Parcels", "ship"):
            id_ = command.invocation_id
            result = self.stage.result(id_)
            if getattr(result, "code", 0) == CANCELLED:
                if not self.stage.cancels(id_):
                    return f"{command.idempotency_key} ({id_}) ended as cancelled, and nobody had cancelled it"
            elif not hasattr(result, "value") or {("label", id_), ("hand over", id_)} - labelled:
                return f"{command.idempotency_key} ({id_}) ended with {result}; the desk did {sorted(labelled)}"
        return ""

    def announced_wrong(self) -> str:
        for command in self.stage.accepted("Parcels", "ship"):
            told = getattr(self.stage.result(command.invocation_id), "value", None)
            messages = [self.stage.result(one) for one in self.stage.callees(command.invocation_id)]
            if told is not None and (b'"announced": true' in told or b'"announced":true' in told) != all(
                hasattr(one, "value") for one in messages
            ):
                return f"{command.invocation_id} says {told!r}, its message ended with {messages}"
        return ""

    def failed_otherwise(self) -> str:
        for failure in self.failures("Messages", "announce"):
            if failure.code == CANCELLED:
                continue
            if failure.code != 500 or not failure.message:
                return f"a message that was given up ended with {failure}"
        return ""

    def unexplained(self) -> str:
        for (do, parcel, by), count in Counter((one.do, one.parcel, one.by) for one in self.done).items():
            allowed = 1 + self.stage.interruptions(by)
            if count > allowed:
                return f"{by} asked {count} times to {do} {parcel}; its interruptions explain {allowed}"
        return ""

    def cancelled_while_paused(self) -> bool:
        """Whether some pause ended otherwise than by an operator who resumed the parcel."""
        resumed = Counter(one.invocation_id for one in self.stage.acted("resume") if one.status == 200)
        return any(
            self.stage.pauses(one.invocation_id) > self.paused[one.invocation_id] + resumed[one.invocation_id]
            for one in self.stage.acted("cancel")
            if one.status == 202
        )
