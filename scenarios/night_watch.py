"""A watchman makes his round, and dozes off at a door: he is called off, and begins again at that door.

* `Watch`: round.  Looks at each door, and has a rest in between.  Who is silent for two seconds is asked to come back,
  and who does not come for four more is called off: a rest ends the attempt early, and a doze breaks it.

Run it for real with `understudy dev scenarios.night_watch:app`, rehearse it with `understudy simulate
scenarios/night_watch.py`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple, TypedDict

import trio
from understudy import Context, InvocationRetryPolicy, Service
from understudy import app as understudy_app
from understudy_sim import Call, Choices, External, Stage, scenario

from scenarios import outside

INACTIVITY: Final = timedelta(seconds=2)
ABORT: Final = timedelta(seconds=4)
REST: Final = timedelta(seconds=20)
# He would sleep longer than anybody waits for him.
DOZE_S: Final = 3_600

doors = outside.Service("DOORS_ADDRESS")
watch = Service("Watch")


class Round(TypedDict):
    """`doors` in order, and how often he dozes off at each."""

    name: str
    doors: dict[str, int]


async def look(name: str, door: str, dozes: int, by: str) -> str:
    """What is to be seen at *door*, unless he dozes off there."""
    seen = await doors.ask({"round": name, "door": door, "by": by}, stand_in={"times": dozes + 1})
    if seen["times"] <= dozes:
        await trio.sleep(DOZE_S)
    return "locked"


@watch.handler(
    "round",
    inactivity_timeout=INACTIVITY,
    abort_timeout=ABORT,
    invocation_retry_policy=InvocationRetryPolicy(initial_interval=timedelta(milliseconds=100)),
)
async def make_round(ctx: Context, wanted: Round) -> dict[str, str]:
    """What he saw at each door."""
    by, found = ctx.request().id, {}
    for door, dozes in wanted["doors"].items():
        found[door] = await ctx.run_typed(f"look at {door}", look, name=wanted["name"], door=door, dozes=dozes, by=by)
        await ctx.sleep(REST)
    return found


app = understudy_app(services=[watch])


# --- its rehearsal --------------------------------------------------------------------------------------------

DOORS: Final = ("gate", "shed", "cellar")
# He is called off when he has been silent for so long, or rather when the server has heard nothing for so long.
SILENT_NS: Final = (INACTIVITY + ABORT) // timedelta(microseconds=1) * 1_000
HEARD_NS: Final = 1_000_000_000


class Look(NamedTuple):
    name: str
    door: str
    by: str


class Doors(External[Look]):
    """Counts how often each round has come to a door."""

    name = "doors"
    port = 7031
    address_variable = "DOORS_ADDRESS"

    def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        seen = Look(request["round"], request["door"], request["by"])
        self.ledger.append(seen)
        return {"times": Counter(self.ledger)[seen]}


def workload(choices: Choices) -> tuple[Call, ...]:
    """Some rounds, one after the other or at once."""
    calls = []
    for number in range(choices.integer("rounds", 1, 4)):
        shown = DOORS[: choices.integer("doors", 1, len(DOORS))]
        wanted = Round(name=f"round {number}", doors={door: choices.one_of("dozes", (0, 0, 1, 2)) for door in shown})
        calls.append(
            Call(
                client=f"captain {number % 2}",
                service="Watch",
                handler="round",
                argument=wanted,
                one_way=choices.chance("does not wait", 500),
                pause_ms=choices.integer("pause", 0, 3_000),
            )
        )
    return tuple(calls)


@scenario(app="scenarios.night_watch:app", workload=workload, seeds=100)
async def night_watch(stage: Stage) -> None:
    looks = stage.external(Doors)
    looked_ns: list[int] = []

    def called_off_early() -> str:
        """Who comes to a door again was silent for long enough, when nothing else had brought him away."""
        while len(looked_ns) < len(looks):
            looked_ns.append(stage.kernel.now_ns)
        last_ns: dict[Look, int] = {}
        for one, at_ns in zip(looks, looked_ns, strict=True):
            apart_ns = at_ns - last_ns.get(one, at_ns - SILENT_NS)
            if stage.plan.is_calm and apart_ns < SILENT_NS - HEARD_NS:
                return f"{one.name} was at the {one.door} again after {apart_ns // 1_000_000} ms"
            last_ns[one] = at_ns
        return ""

    stage.always("nobody is called off early", called_off_early)
    stage.eventually("every door was looked at in every round", lambda: left_open(stage))
    stage.sometimes("he dozed off twice", lambda: max(Counter(looks).values(), default=0) > 2)
    await stage.play()


def left_open(stage: Stage) -> str:
    for command in stage.accepted("Watch", "round"):
        wanted, result = json.loads(command.payload), stage.result(command.invocation_id)
        if json.loads(getattr(result, "value", b"null")) != dict.fromkeys(wanted["doors"], "locked"):
            return f"{wanted['name']} ended with {result}"
    return ""
