"""Pots in a kiln, and somebody who opens the door: firings are paused, taken up again, and done over from half way.

* `Kiln/{name}`: fire.  Heats, waits, has a glaze mixed, glazes, waits, cools.  One batch at a time.
* `Glazes`: mix.  Takes its time.

A potter pauses, resumes and breaks off firings at any moment, whatever they do just then, and has those that are over
done over: from the beginning, or from some entry of their journal, so that what was done before is not done again.

A keeper resumes every minute whatever is paused, or else nobody behind it would ever get the kiln.

Run it for real with `understudy dev scenarios.kiln:app`, rehearse it with `understudy simulate scenarios/kiln.py`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple, TypedDict

from understudy import Context, ObjectContext, Service, VirtualObject
from understudy import app as understudy_app
from understudy_sim import Act, Call, Choices, Desk, External, Ledger, Operation, RestartAsNew, Stage, scenario

from scenarios import outside

KEPT_FOR: Final = timedelta(hours=1)
SOAK: Final = timedelta(seconds=2)

meter = outside.Service("METER_ADDRESS")


class Fired(TypedDict):
    batch: str
    glaze: str
    stamp: str


async def work(do: str, batch: str, by: str) -> str:
    """Do something to the batch, for invocation *by*; the meter's reading."""
    answer = await meter.ask({"do": do, "batch": batch, "by": by}, stand_in={"reading": "0"})
    return str(answer["reading"])


glazes = Service("Glazes")


@glazes.handler("mix")
async def mix(ctx: Context, batch: str) -> str:
    """A glaze for the batch; it must stand for a while."""
    invocation_id = ctx.request().id
    await ctx.run_typed("stir", lambda: work("stir", batch, invocation_id))
    await ctx.sleep(SOAK)
    return f"glaze for {batch}"


kiln = VirtualObject("Kiln")


@kiln.handler("fire", journal_retention=KEPT_FOR, idempotency_retention=KEPT_FOR)
async def fire(ctx: ObjectContext, batch: str) -> Fired:
    """Fire a batch of pots."""
    invocation_id = ctx.request().id
    stamp = str(ctx.uuid())
    ctx.set("inside", [batch, stamp])
    await ctx.run_typed("heat", lambda: work("heat", batch, invocation_id))
    await ctx.sleep(SOAK)
    glaze = await ctx.service_call(mix, arg=batch)
    await ctx.run_typed("glaze", lambda: work("glaze", batch, invocation_id))
    await ctx.sleep(SOAK)
    await ctx.run_typed("cool", lambda: work("cool", batch, invocation_id))
    ctx.clear("inside")
    return {"batch": batch, "glaze": glaze, "stamp": stamp}


app = understudy_app(services=[kiln, glazes])


# --- its rehearsal --------------------------------------------------------------------------------------------

KILNS: Final = ("east", "west")
STUDENTS: Final = ("ann", "bob", "cleo")
LOOK_S: Final = 60
BROKEN_OFF: Final = 409
# Input, state, heat and its reading, sleep and its end, call with id and result, glaze, sleep, cool, state, output.
OUTPUT_INDEX: Final = 16
# Who is broken off while it soaks goes on with a sleep that is not over.
SOAK_INDEXES: Final = (4, 11)
# What a firing does itself, each with the entry that says so.  Its result comes along, wherever that is.
STEPS: Final = {"heat": 2, "glaze": 9, "cool": 13}
PAUSES_MS: Final = (0, 500, 2_000, 3_000, 6_000, 20_000)
# By then most have ended; a firing that was paused may still be waiting for the keeper.
LATER_MS: Final = (15_000, 60_000, 150_000)


class Work(NamedTuple):
    do: str
    batch: str
    by: str


class Meter(External[Work]):
    name = "meter"
    port = 7021
    address_variable = "METER_ADDRESS"

    def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.ledger.append(Work(request["do"], request["batch"], request["by"]))
        return {"reading": str(len(self.ledger))}


def workload(choices: Choices) -> tuple[Operation, ...]:
    """Each student fires some batches; for each, the potter thinks of something to do, or of several things."""
    operations: list[Operation] = []
    for student in STUDENTS:
        for number in range(choices.integer("batches", 1, 3)):
            label = f"{student}-{number}"
            call = Call(
                client=student,
                service="Kiln",
                key=choices.one_of("kiln", KILNS),
                handler="fire",
                argument=label,
                label=label,
                one_way=choices.chance("does not wait", 500),
                pause_ms=choices.integer("pause", 0, 3_000),
            )
            operations += [call, *meddling(choices, label)]
    return tuple(operations)


def meddling(choices: Choices, label: str) -> list[Operation]:
    """What the potter and an apprentice do to one firing.  What cannot be done just then is refused."""
    done: list[Operation] = []
    for _ in range(choices.integer("meddling", 0, 3)):
        who, action = choices.one_of("who", ("potter", "apprentice")), choices.one_of("what", ("pause", "resume"))
        done.append(Act(client=who, action=action, on=label, pause_ms=choices.one_of("when", PAUSES_MS)))
    for number in range(choices.integer("looking back", 0, 2)):
        who, late_ms = f"{label} again", choices.one_of("how late", LATER_MS)
        is_broken_off = choices.chance("broken off", 250)
        if is_broken_off:
            done.append(Act(client="potter", action="kill", on=label, pause_ms=choices.one_of("when", PAUSES_MS)))
        if choices.chance("tidies up", 200):
            done.append(Act(client=who, action="purge-journal", on=label, pause_ms=late_ms))
            continue
        from_index = choices.integer("from", 0, OUTPUT_INDEX + 1) if choices.chance("half way", 700) else 0
        if is_broken_off and choices.chance("while it soaked", 500):
            from_index = choices.one_of("soak", SOAK_INDEXES)
        name = f"{label}-again-{number}"
        query = f"from={from_index}"
        done.append(Act(client=who, action="restart-as-new", on=label, query=query, label=name, pause_ms=late_ms))
    return done


@scenario(app="scenarios.kiln:app", workload=workload, seeds=200)
async def kilns(stage: Stage) -> None:
    claims = Claims(stage, stage.external(Meter))
    stage.attendant("keeper", claims.keep)
    stage.always("what was done before a restart is not done again", claims.done_again)
    stage.eventually("every firing ends well", claims.ended_badly)
    stage.eventually("who goes on from half way bears the same stamp", claims.stamped_otherwise)
    stage.eventually("every pot was heated, glazed and cooled in time", claims.out_of_order)
    stage.eventually("work is done no more often than explained", claims.unexplained)
    stage.eventually("kilns are empty, unless one was broken off", claims.left_inside)
    stage.sometimes("a firing was paused", lambda: claims.told("pause", 202))
    stage.sometimes("a paused one was paused again", lambda: claims.told("pause", 200))
    stage.sometimes("one that waited for the kiln could not be paused", lambda: claims.told("pause", 409))
    stage.sometimes("the keeper resumed one", lambda: claims.resumed > 0)
    stage.sometimes("the potter resumed one", lambda: claims.told("resume", 200))
    stage.sometimes("one that was broken off was done over", claims.mended)
    stage.sometimes("one was done over from the beginning", lambda: bool(claims.restarts(0)))
    stage.sometimes("one was done over from half way", lambda: len(claims.restarts()) > len(claims.restarts(0)))
    stage.sometimes("a journal had no beginning there", lambda: claims.told("restart-as-new", 400))
    stage.sometimes("a journal was gone", lambda: claims.told("restart-as-new", 410))
    stage.sometimes("an old protocol allowed the beginning alone", lambda: claims.told("restart-as-new", 422))
    stage.sometimes("a restart came too early", lambda: claims.told("restart-as-new", 409))
    await stage.play()


class Claims:
    """What must hold of firings, and the keeper.  Each claim says what is wrong, or nothing."""

    def __init__(self, stage: Stage, done: Ledger[Work]) -> None:
        self.stage = stage
        self.done = done
        self.resumed = 0

    async def keep(self, desk: Desk) -> None:
        """Resume what is paused, every minute."""
        while True:
            await desk.sleep(LOOK_S)
            for found in (await desk.get("/invocations?limit=1000"))["invocations"]:
                if found["status"] == "paused":
                    answer = await desk.ask("PATCH", f"/invocations/{found['id']}/resume")
                    self.resumed += answer.status == 200

    def told(self, action: str, status: int) -> bool:
        return any(one.status == status for one in self.stage.acted(action))

    def restarts(self, from_index: int | None = None) -> dict[str, RestartAsNew]:
        """The restarts that began something, by what they began."""
        found = {one.new_invocation_id: one for one in self.stage.records(RestartAsNew)}
        begun = {one.invocation_id for one in self.stage.accepted("Kiln", "fire")}
        return {
            id_: one
            for id_, one in found.items()
            if id_ in begun and (from_index is None or one.from_index == from_index)
        }

    def done_again(self) -> str:
        """Only who was broken off in the middle of a step has it without its result, and does it anew."""
        did = Counter((one.do, one.by) for one in self.done)
        for id_, restart in self.restarts().items():
            if getattr(self.stage.result(restart.invocation_id), "code", 0) == BROKEN_OFF:
                continue
            for do, index in STEPS.items():
                if restart.from_index >= index and did[do, id_]:
                    return f"{id_} goes on from entry {restart.from_index} and did {do} again"
        return ""

    def killed(self) -> set[str]:
        """Who was broken off.  Who asked again after a lost answer was told that it was over."""
        asked = {one.invocation_id for one in self.stage.acted("kill")}
        return {id_ for id_ in asked if getattr(self.stage.result(id_), "code", 0) == BROKEN_OFF}

    def mended(self) -> bool:
        return any(one.invocation_id in self.killed() for one in self.restarts().values())

    def left_inside(self) -> str:
        return "" if self.killed() else ", ".join(one for one in KILNS if self.stage.state("Kiln", one))

    def ended_badly(self) -> str:
        for command in self.stage.accepted("Kiln", "fire"):
            if command.invocation_id in self.killed():
                continue
            batch, value = json.loads(command.payload), getattr(self.stage.result(command.invocation_id), "value", None)
            if value is None or json.loads(value)["batch"] != batch:
                return f"{batch} ({command.invocation_id}) ended with {self.stage.result(command.invocation_id)}"
        return ""

    def stamped_otherwise(self) -> str:
        """A stamp is drawn before anything is done, so it is part of every beginning but the input alone."""
        for id_, restart in self.restarts().items():
            old, new = (
                json.loads(getattr(self.stage.result(one), "value", b"null")) for one in (restart.invocation_id, id_)
            )
            if restart.from_index and old != new and restart.invocation_id not in self.killed():
                return f"{id_} goes on from entry {restart.from_index} of {old} and came to {new}"
        return ""

    def out_of_order(self) -> str:
        """By who fired it: its first heating comes before its first glazing, that before its first cooling."""
        first: dict[tuple[str, str], int] = {}
        for at, one in enumerate(self.done):
            first.setdefault((one.by, one.do), at)
        begun = self.restarts()
        for command in self.stage.accepted("Kiln", "fire"):
            id_ = command.invocation_id
            if id_ in self.killed():
                continue
            from_index = begun[id_].from_index if id_ in begun else 0
            wanted = [do for do, index in STEPS.items() if from_index < index]
            found = [first.get((id_, do), -1) for do in wanted]
            if -1 in found or found != sorted(found):
                return f"{id_} should have done {wanted}, and did them at {found}"
        return ""

    def unexplained(self) -> str:
        for (do, by), count in Counter((one.do, one.by) for one in self.done).items():
            allowed = 1 + self.stage.interruptions(by)
            if count > allowed:
                return f"{by} did {do} {count} times; its interruptions explain {allowed}"
        return ""
