"""Reminders: written down now, due later, sent once and never early, whatever happened to the server meanwhile.

`Calendar/{owner}`: write notes a reminder and sends itself a delayed message; due mails it and crosses it out.  Anybody
may also ask for `due` directly, with a delay.  Some reminders fall into the seconds after somebody pulled the plug,
some into a quarter of an hour later, when the server has been up and down and its clock has jumped.

Run it for real with `understudy dev scenarios.reminders:app`, rehearse it with `understudy simulate
scenarios/reminders.py`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple, TypedDict

from understudy import ObjectContext, VirtualObject
from understudy import app as understudy_app
from understudy_sim import Call, Choices, External, Ledger, Stage, scenario

from scenarios import outside

OWNERS = ("ann", "bob", "cleo")
# Into the first trouble, and into the second.
DELAYS_MS = (2_000, 500, 5_000, 15_000, 600_500, 895_000, 903_000)
LATE_MS = 2_000

post = outside.Service("POST_ADDRESS")
calendar = VirtualObject("Calendar")


class Reminder(TypedDict):
    name: str
    after_ms: int


@calendar.handler("write")
async def write(ctx: ObjectContext, reminders: list[Reminder]) -> int:
    """Note the reminders; returns how many are open."""
    noted = await ctx.get("open", type_hint=list[str]) or []
    for reminder in reminders:
        noted.append(reminder["name"])
        ctx.object_send(
            due, key=ctx.key(), arg=reminder["name"], send_delay=timedelta(milliseconds=reminder["after_ms"])
        )
    ctx.set("open", noted)
    return len(noted)


@calendar.handler("due")
async def due(ctx: ObjectContext, name: str) -> None:
    """Mail the reminder and cross it out."""
    request = {"name": name, "by": ctx.request().id}
    await ctx.run_typed("mail", lambda: post.ask(request, stand_in={"sent": True}))
    noted = await ctx.get("open", type_hint=list[str]) or []
    ctx.set("open", [other for other in noted if other != name])


app = understudy_app(services=[calendar])


# --- its rehearsal --------------------------------------------------------------------------------------------


class Letter(NamedTuple):
    name: str
    by: str


class Post(External[Letter]):
    name = "post"
    port = 7013
    address_variable = "POST_ADDRESS"

    def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.ledger.append(Letter(request["name"], request["by"]))
        return {"sent": True}


def calendar_model(open_: tuple[str, ...], handler: str, argument: Any) -> tuple[tuple[str, ...], Any]:
    """A calendar in which one thing is written or crossed out at a time."""
    if handler == "due":
        return tuple(name for name in open_ if name != argument), None
    open_ = (*open_, *(reminder["name"] for reminder in argument))
    return open_, len(open_)


def workload(choices: Choices) -> tuple[Call, ...]:
    """Each owner writes down some reminders, and has friends who remind without asking."""
    calls = []
    for owner in OWNERS:
        for page in range(choices.integer("pages", 1, 2)):
            reminders = [
                Reminder(name=f"{owner} {page}.{line}", after_ms=choices.one_of("after", DELAYS_MS))
                for line in range(choices.integer("lines", 1, 3))
            ]
            calls.append(request(choices, owner, owner, "write", reminders))
        for number in range(choices.integer("friends remind", 1, 4)):
            name, delay_ms = f"{owner}'s friend {number}", choices.one_of("later", DELAYS_MS)
            calls.append(request(choices, f"{owner}'s friend", owner, "due", name, delay_ms))
    return tuple(calls)


def request(choices: Choices, client: str, owner: str, handler: str, argument: Any, delay_ms: int = 0) -> Call:
    return Call(
        client=client,
        service="Calendar",
        key=owner,
        handler=handler,
        argument=argument,
        pause_ms=choices.integer("pause", 0, 2_000),
        one_way=handler == "due",
        delay_ms=delay_ms,
    )


@scenario(app="scenarios.reminders:app", workload=workload, seeds=100)
async def reminders(stage: Stage) -> None:
    letters = stage.external(Post)
    mailed_ms: list[int] = []  # when each letter came, by the server's clock

    def early() -> str:
        """No letter comes before the time its invocation was accepted for: by a clock that nobody turned back."""
        while len(mailed_ms) < len(letters):
            mailed_ms.append(stage.clock_ms())
        turned_ms = stage.clock_jumps() * stage.plan.clock_jump_ms_max
        due_ms = {one.invocation_id: one.execution_time_ms for one in stage.accepted("Calendar", "due")}
        for letter, at_ms in zip(letters, mailed_ms, strict=True):
            if at_ms + turned_ms < due_ms[letter.by]:
                return f"{letter.name!r} was mailed {due_ms[letter.by] - at_ms} ms before it was due"
        return ""

    stage.linearizable("Calendar", calendar_model, initial=())
    stage.always("no reminder comes early", early)
    stage.always("a reminder is asked for once", lambda: asked_twice(stage))
    stage.eventually(
        "every reminder is mailed, and no more often than explained", lambda: wrongly_mailed(stage, letters)
    )
    stage.eventually("what was written is due, and crossed out", lambda: forgotten(stage))
    stage.sometimes("a reminder was due while the server was down", lambda: was_due_in_the_dark(stage))
    stage.sometimes("a reminder was due a quarter of an hour later", lambda: bool(delays(stage) & set(DELAYS_MS[-3:])))
    stage.sometimes("a letter was sent twice", lambda: len(letters) > len({one.by for one in letters}))
    stage.sometimes("a clock jumped", lambda: stage.clock_jumps() > 0)
    await stage.play()


def asked_twice(stage: Stage) -> str:
    names = Counter(json.loads(one.payload) for one in stage.accepted("Calendar", "due"))
    return next((f"{name!r} was asked for {count} times" for name, count in names.items() if count > 1), "")


def wrongly_mailed(stage: Stage, letters: Ledger[Letter]) -> str:
    mailed = Counter(letter.by for letter in letters)
    for command in stage.accepted("Calendar", "due"):
        count, allowed = mailed[command.invocation_id], 1 + stage.interruptions(command.invocation_id)
        if not 1 <= count <= allowed:
            return f"{json.loads(command.payload)!r} was mailed {count} times, where 1 to {allowed} are explained"
    return ""


def forgotten(stage: Stage) -> str:
    """Every page that was accepted has brought its reminders; when all are over, no calendar has an open one."""
    asked = {json.loads(one.payload) for one in stage.accepted("Calendar", "due")}
    for page in stage.accepted("Calendar", "write"):
        for reminder in json.loads(page.payload):
            if reminder["name"] not in asked:
                return f"{reminder['name']!r} was written down and never asked for"
    for owner in OWNERS:
        if stage.state("Calendar", owner).get("open"):
            return f"{owner} still waits for {stage.state('Calendar', owner)['open']}"
    return ""


def delays(stage: Stage) -> set[int]:
    return {one.call.delay_ms for one in stage.answers("Calendar", "due") if one.answer is not None}


def was_due_in_the_dark(stage: Stage) -> bool:
    """Between the first and the last moment that a request can have been due at, no server ran."""
    for one in stage.answers("Calendar", "due"):
        if one.answer is not None and not stage.clock_jumps():
            delay_ns = one.call.delay_ms * 1_000_000
            if stage.was_down(one.asked_ns + delay_ns, one.answer.at_ns + delay_ns):
                return True
    return False
