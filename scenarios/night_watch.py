"""A watchman makes his round, and dozes off at a door: he is called off, and begins again at that door.  What he wrote
down is not always to be read.

* `Watch`: round.  Looks at each door, and has a rest in between.  Who is silent for two seconds is asked to come back,
  and who does not come for four more is called off: a rest ends the attempt early, and a doze breaks it.
* `Watch`: read.  A page of his log.  One that is smeared is reported, looked at three times, and given up.
* `Watch`: report.  Has somebody told, and is over: nobody reports twice.

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
READINGS_MAX: Final = 3
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


class Smeared(Exception):
    """Nobody can read this, now or later."""


@watch.handler(
    "read",
    invocation_retry_policy=InvocationRetryPolicy(
        initial_interval=timedelta(milliseconds=300),
        exponentiation_factor=3.0,
        max_attempts=READINGS_MAX,
        on_max_attempts="kill",
    ),
)
async def read(ctx: Context, page: str) -> str:
    """What is on the page."""
    words = await ctx.run_typed("open", opened, page=page)
    if "smeared" in words:
        ctx.service_send(report, arg=page)
        raise Smeared(words)
    return words


@watch.handler("report", invocation_retry_policy=InvocationRetryPolicy(max_attempts=1, on_max_attempts="kill"))
async def report(ctx: Context, page: str) -> None:
    """Somebody could not read the page, and finds no words."""
    ctx.service_send(tell, arg=page)
    raise Smeared(page)


@watch.handler("tell")
async def tell(ctx: Context, page: str) -> None:
    """Nobody does anything about it."""


async def opened(page: str) -> str:
    return f"all was quiet on {page}"


app = understudy_app(services=[watch])


# --- its rehearsal --------------------------------------------------------------------------------------------

DOORS: Final = ("gate", "shed", "cellar")
PAGES: Final = ("monday", "smeared tuesday")
CANNOT_BE_READ: Final = 500
# He is called off when he has been silent for so long, or rather when the server has heard nothing for so long.
SILENT_NS: Final = (INACTIVITY + ABORT) // timedelta(microseconds=1) * 1_000
# How much later than the server may have heard of him he comes to a door, beside what it takes to open it.
HEARD_MS: Final = 1_000


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
    """Some rounds, one after the other or at once, and pages of the log."""
    calls: list[Call] = []
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
    for number in range(choices.integer("pages", 0, 3)):
        page = choices.one_of("page", PAGES)
        pause_ms = choices.integer("pause", 0, 3_000)
        calls.append(
            Call(client=f"clerk {number % 2}", service="Watch", handler="read", argument=page, pause_ms=pause_ms)
        )
    return tuple(calls)


@scenario(app="scenarios.night_watch:app", workload=workload, seeds=100)
async def night_watch(stage: Stage) -> None:
    looks = stage.external(Doors)
    looked_ns: list[int] = []
    least_ns = SILENT_NS - (HEARD_MS + stage.plan.provider_ms_max) * 1_000_000

    def called_off_early() -> str:
        """Who comes to a door again was silent for long enough, when nothing else had brought him away."""
        while len(looked_ns) < len(looks):
            looked_ns.append(stage.kernel.now_ns)
        last_ns: dict[Look, int] = {}
        for one, at_ns in zip(looks, looked_ns, strict=True):
            apart_ns = at_ns - last_ns.get(one, at_ns - SILENT_NS)
            if stage.plan.is_calm and apart_ns < least_ns:
                return f"{one.name} was at the {one.door} again after {apart_ns // 1_000_000} ms"
            last_ns[one] = at_ns
        return ""

    stage.always("nobody is called off early", called_off_early)
    stage.eventually("every door was looked at in every round", lambda: left_open(stage))
    stage.eventually("what can be read is read, and nothing else", lambda: misread(stage))
    stage.sometimes("a page was given up", lambda: was_one_given_up(stage))
    stage.sometimes("he dozed off twice", lambda: max(Counter(looks).values(), default=0) > 2)
    await stage.play()


def left_open(stage: Stage) -> str:
    for command in stage.accepted("Watch", "round"):
        wanted, result = json.loads(command.payload), stage.result(command.invocation_id)
        if json.loads(getattr(result, "value", b"null")) != dict.fromkeys(wanted["doors"], "locked"):
            return f"{wanted['name']} ended with {result}"
    return ""


def misread(stage: Stage) -> str:
    """A page that is good is given up, too, when nobody could be sent for it so often."""
    for command in stage.accepted("Watch", "read"):
        page, result = json.loads(command.payload), stage.result(command.invocation_id)
        code = getattr(result, "code", 0)
        words = json.loads(getattr(result, "value", b"null"))
        was_given_up = (code, words) == (CANNOT_BE_READ, None)
        was_read = (code, words) == (0, f"all was quiet on {page}")
        if not (was_given_up if is_bad(command.payload) else was_read or (was_given_up and not stage.plan.is_calm)):
            return f"{page!r} ended with {result}"
        reports = len(stage.callees(command.invocation_id))
        if reports != is_bad(command.payload) and (reports or stage.plan.is_calm):
            return f"{page!r} was reported {reports} times"
    return "" if not stage.plan.is_calm else unexplained(stage)


def unexplained(stage: Stage) -> str:
    for handler in ("read", "report"):
        for command in stage.accepted("Watch", handler):
            result = stage.result(command.invocation_id)
            if is_bad(command.payload) and json.loads(command.payload) not in getattr(result, "message", ""):
                return f"{handler} of {command.payload!r} ended with {result}, which does not say why"
    return ""


def was_one_given_up(stage: Stage) -> bool:
    results = (stage.result(one.invocation_id) for one in stage.accepted("Watch", "read"))
    return any(getattr(result, "code", 0) == CANNOT_BE_READ for result in results)


def is_bad(page: bytes) -> bool:
    return b"smeared" in page
