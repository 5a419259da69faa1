"""A farm that renders films: scenes in parallel on machines that do one thing at a time, and a preview some time later.
An operator may kill a film at any time, and a mechanic changes the state of a machine.

* `Films`: render.  Sends the preview on its way, has all scenes encoded, delivers.
* `Machine/{name}`: encode.  Encodes and uploads one scene.
* `Previews`: make.  Waits for ten minutes and publishes, unless its film was killed.

A kill asks nobody: the film is over at once, with everything it called and sent; what a machine had in hand is dropped
and the next scene has its turn.  Only what was on its way to the outside in that moment may still arrive there.

Run it for real with `understudy dev scenarios.render_farm:app`, rehearse it with `understudy simulate
scenarios/render_farm.py`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple, TypedDict

from understudy import Context, ObjectContext, Service, VirtualObject, gather
from understudy import app as understudy_app
from understudy_sim import Act, Attach, Call, Choices, Desk, External, Ledger, Operation, Stage, scenario

from scenarios import outside

PREVIEW_AFTER = timedelta(minutes=10)
COOLING = timedelta(seconds=2)

studio = outside.Service("STUDIO_ADDRESS")


class Film(TypedDict):
    """A film: which scene is encoded on which machine."""

    name: str
    scenes: dict[str, str]


async def tell_studio(do: str, what: str, by: str) -> None:
    """Something is done outside, for invocation *by*."""
    await studio.ask({"do": do, "what": what, "by": by}, stand_in={"done": True})


machine = VirtualObject("Machine")


@machine.handler("encode")
async def encode(ctx: ObjectContext, scene: str) -> str:
    """Encode and upload one scene."""
    invocation_id = ctx.request().id
    ctx.set("scene", scene)
    await ctx.run_typed("encode", lambda: tell_studio("encode", scene, invocation_id))
    await ctx.sleep(COOLING)
    await ctx.run_typed("upload", lambda: tell_studio("upload", scene, invocation_id))
    ctx.clear("scene")
    return scene


previews = Service("Previews")


@previews.handler("make")
async def make(ctx: Context, film: str) -> None:
    """Publish a preview when its time has come."""
    invocation_id = ctx.request().id
    await ctx.sleep(PREVIEW_AFTER)
    await ctx.run_typed("publish", lambda: tell_studio("publish", film, invocation_id))


films = Service("Films")


@films.handler("render")
async def render(ctx: Context, film: Film) -> str:
    """The whole film, delivered once all its scenes are there."""
    invocation_id = ctx.request().id
    ctx.service_send(make, arg=film["name"])
    await gather(*(ctx.object_call(encode, key=name, arg=scene) for scene, name in film["scenes"].items()))
    await ctx.run_typed("deliver", lambda: tell_studio("deliver", film["name"], invocation_id))
    return film["name"]


app = understudy_app(services=[films, machine, previews])


# --- its rehearsal --------------------------------------------------------------------------------------------

PRODUCERS = ("ann", "bob", "cleo")
MACHINES = ("red", "blue")
KILLED_THOUSANDTHS = 450
KILLED = 409
ACCEPTED = 202
NOT_FOUND = 404
# How long after a kill what it called may still come to an end of its own: messages are under way, servers restart.
UNHEARD_NS = 120_000_000_000


class Deed(NamedTuple):
    do: str
    what: str
    by: str


class Studio(External[Deed]):
    """Remembers what was done."""

    name = "studio"
    port = 7006
    address_variable = "STUDIO_ADDRESS"

    def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.ledger.append(Deed(request["do"], request["what"], request["by"]))
        return {"done": True}


def workload(choices: Choices) -> tuple[Operation, ...]:
    """Films of one to three scenes on two machines; some are killed, forgotten and asked for again."""
    operations: list[Operation] = []
    number = 0
    for producer in PRODUCERS:
        for _ in range(choices.integer("films", 1, 3)):
            number += 1
            film = f"film-{number}"
            scenes = {
                f"{film}/{scene}": MACHINES[choices.pick("machine", len(MACHINES))]
                for scene in range(choices.integer("scenes", 1, 3))
            }
            call = Call(
                client=producer,
                service="Films",
                handler="render",
                argument={"name": film, "scenes": scenes},
                label=film,
                pause_ms=choices.integer("pause", 0, 3_000),
                one_way=choices.chance("one way", 300),
            )
            operations.append(call)
            if choices.chance("attached", 500):
                operations.append(Attach(client=f"{producer}'s friend", to=film, by_id=choices.chance("by id", 300)))
            if choices.chance("killed", KILLED_THOUSANDTHS):
                pause_ms = choices.one_of("kill pause", (0, 10, 100, 1_000, 5_000, 20_000))
                operations.append(Act(client="director", action="kill", on=film, pause_ms=pause_ms))
                if choices.chance("asked again", 600):
                    operations.append(Act(client="director", action="purge", on=film))
                    operations.append(
                        Call(
                            client="director",
                            service="Films",
                            handler="render",
                            argument={"name": film, "scenes": scenes},
                            label=film,
                            one_way=True,
                        )
                    )
    return tuple(operations)


@scenario(app="scenarios.render_farm:app", workload=workload, seeds=200)
async def render_farm(stage: Stage) -> None:
    studio_ledger = stage.external(Studio)
    claims = Claims(stage, studio_ledger)
    visits: list[int] = []

    async def look_after(desk: Desk) -> None:
        """A mechanic notes on a machine that it was looked after: its state is changed, between two scenes."""
        choices = stage.kernel.choices
        for visit in range(choices.integer("mechanic/visits", 0, 8)):
            await desk.sleep(choices.integer("mechanic/pause", 0, 3))
            name = MACHINES[choices.pick("mechanic/machine", len(MACHINES))]
            state = {"object_key": name, "new_state": {"looked after": str(visit)}}
            status = (await desk.ask("POST", "/services/Machine/state", state)).status
            if visits or status != NOT_FOUND:  # Before the farm is registered there is no machine.
                visits.append(status)

    stage.attendant("mechanic", look_after)
    stage.always("a machine can be looked after", lambda: "" if set(visits) <= {ACCEPTED} else f"refused: {visits}")
    stage.sometimes("a machine was looked after", lambda: bool(visits))
    stage.always("what was killed does at most what was under way", claims.deeds_after_the_end)
    stage.eventually("a film is delivered with all its scenes", claims.delivered_early)
    stage.eventually("what a killed film called and sent is over with it", claims.survivors)
    stage.eventually("who was not killed is delivered", claims.not_delivered)
    stage.eventually("whoever waits for a killed film is told so", claims.not_told)
    stage.eventually("deeds are explained", claims.unexplained)
    stage.sometimes("a film was delivered", lambda: any(deed.do == "deliver" for deed in studio_ledger))
    stage.sometimes("a film was killed", lambda: bool(claims.killed_films()))
    stage.sometimes("a kill came too late", lambda: any(one.status == KILLED for one in stage.acted("kill")))
    stage.sometimes("a scene that waited for its machine was killed", claims.killed_in_inbox)
    stage.sometimes("a killed body went on", lambda: claims.late_deeds > 0)
    stage.sometimes(
        "a preview was killed", lambda: any(claims.is_killed(one) for one in claims.ids("Previews", "make"))
    )
    stage.sometimes("a preview was published", lambda: any(deed.do == "publish" for deed in studio_ledger))
    stage.sometimes("a killed film was asked for again", claims.lived_twice)
    await stage.play()


class Claims:
    """What must hold of the farm.  Each method says what is wrong, or nothing."""

    def __init__(self, stage: Stage, deeds: Ledger[Deed]) -> None:
        self.stage = stage
        self.deeds = deeds
        self.late_deeds = 0
        self._looked_at = 0
        self._after: Counter[str] = Counter()  # deeds of invocations that had been killed by then

    def ids(self, service: str, handler: str) -> list[str]:
        return [one.invocation_id for one in self.stage.accepted(service, handler)]

    def is_killed(self, invocation_id: str) -> bool:
        return getattr(self.stage.result(invocation_id), "code", 0) == KILLED

    def killed_films(self) -> list[str]:
        return [id_ for id_ in self.ids("Films", "render") if self.is_killed(id_)]

    def deeds_after_the_end(self) -> str:
        """An attempt that is cut off may have one deed in hand: it waits for each to be recorded before the next."""
        new = [self.deeds[at] for at in range(self._looked_at, len(self.deeds))]
        self._looked_at = len(self.deeds)
        for deed in new:
            if self.is_killed(deed.by):
                self.late_deeds += 1
                self._after[deed.by] += 1
                if self._after[deed.by] > self.stage.attempts(deed.by):
                    return f"{deed.by} was killed and went on: {self._after[deed.by]} deeds since, last {deed}"
        return ""

    def survivors(self) -> str:
        """A scene or a preview that came to a good end long after its film was killed."""
        for film in self.killed_films():
            killed_ns = self.stage.ended_ns(film)
            for callee in self.stage.callees(film):
                ended_ns = self.stage.ended_ns(callee)
                if not self.is_killed(callee) and ended_ns > killed_ns + UNHEARD_NS:
                    return f"{film} was killed at {killed_ns} ns; what it called, {callee}, went on until {ended_ns} ns"
        return ""

    def delivered_early(self) -> str:
        films = {one.invocation_id: json.loads(one.payload) for one in self.stage.accepted("Films", "render")}
        uploaded: set[str] = set()
        for deed in self.deeds:
            if deed.do == "upload":
                uploaded.add(deed.what)
            elif deed.do == "deliver":
                missing = [one for one in films[deed.by]["scenes"] if one not in uploaded]
                if missing:
                    return f"{deed.what} was delivered without {', '.join(missing)}"
        return ""

    def not_delivered(self) -> str:
        delivered = {deed.by for deed in self.deeds if deed.do == "deliver"}
        for id_ in self.ids("Films", "render"):
            if not self.is_killed(id_) and id_ not in delivered:
                return f"{id_} was not killed, ended with {self.stage.result(id_)} and was never delivered"
        return ""

    def not_told(self) -> str:
        for asked in (*self.stage.answers("Films", "render"), *self.stage.attached()):
            answer = asked.answer
            if answer is None or answer.status == 202 or asked.call.label in self.purged():
                continue
            if not self.stage.is_accepted(self.stage.invocation(asked.call.label)):
                continue  # Everybody gave up asking for it.
            wanted = KILLED if self.is_killed(self.stage.invocation(asked.call.label)) else 200
            if answer.status != wanted:
                return f"{asked.operation} was answered {answer.status} {answer.body!r}, expected {wanted}"
            if wanted == KILLED and "killed" not in json.loads(answer.body)["message"]:
                return f"{asked.operation} was answered {answer.body!r}, which does not say that it was killed"
        return ""

    def unexplained(self) -> str:
        for (do, what, by), count in Counter(self.deeds).items():
            allowed = max(1, len(self.stage.endings(by))) + self.stage.interruptions(by)
            if count > allowed:
                return f"{what} was to {do} {count} times by {by}, whose lives and interruptions explain {allowed}"
        return ""

    def killed_in_inbox(self) -> bool:
        return any(self.is_killed(id_) and not self.stage.attempts(id_) for id_ in self.ids("Machine", "encode"))

    def purged(self) -> list[str]:
        """Films that were forgotten at some time: what was asked about them then has answers of its own."""
        # Not found: the answer to an earlier try was lost.
        return [one.act.on for one in self.stage.acted("purge") if one.status in (200, NOT_FOUND)]

    def lived_twice(self) -> bool:
        return any(len(self.stage.endings(self.stage.invocation(label))) > 1 for label in self.purged())
