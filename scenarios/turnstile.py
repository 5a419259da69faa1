"""A turnstile opens, and everybody goes through at once: more visits end within one second than a page of them holds.

* `Gate`: enter.  Answers at once; whoever shows the same ticket, or waits for who has it, is told the same.

All of it happens in one partition, and every answer is kept for hours: so long that this goes on until they are gone.

Run it for real with `understudy dev scenarios.turnstile:app`, rehearse it with `understudy simulate
scenarios/turnstile.py`.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Final

import attrs
from understudy import Context, Service
from understudy import app as understudy_app
from understudy_sim import Attach, Call, Choices, Operation, Plan, Stage, limited, scenario

gate = Service("Gate")


@gate.handler("enter")
async def enter(ctx: Context, ticket: int) -> str:
    """What the visitor is given."""
    return f"programme {ticket}"


app = understudy_app(services=[gate])


# --- its rehearsal --------------------------------------------------------------------------------------------

# So many ids that expire in one second share a row.
PAGE: Final = 64
VISITORS_MIN, VISITORS_MAX = 80, 140
# About as long as an entry takes.
LATE_MS_MAX: Final = 30
KEPT_FOR_MS: Final = 2 * 3_600_000


def workload(choices: Choices) -> tuple[Operation, ...]:
    """Everybody comes at once.  Some tickets are shown twice, and friends outside wait for who has just gone in."""
    operations: list[Operation] = []
    for ticket in range(choices.integer("visitors", VISITORS_MIN, VISITORS_MAX)):
        entry = Call(
            client=f"visitor {ticket}",
            service="Gate",
            handler="enter",
            argument=ticket,
            one_way=choices.chance("does not wait", 300),
            label=f"ticket-{ticket}",
        )
        operations.append(entry)
        late_ms = choices.integer("late", 0, LATE_MS_MAX)
        if choices.chance("shown twice", 250):
            again = attrs.evolve(entry, client=f"companion {ticket}", one_way=False, pause_ms=late_ms)
            operations.append(again)
        if choices.chance("waited for", 250):
            operations.append(Attach(client=f"friend {ticket}", to=entry.label, pause_ms=late_ms))
    return tuple(operations)


def at_one_gate(plan: Plan) -> Plan:
    """One partition, where as many attempts run as there are visitors."""
    return attrs.evolve(limited(completion_retention_ms=KEPT_FOR_MS, attempts_max=1_000)(plan), partition_count=1)


@scenario(app="scenarios.turnstile:app", workload=workload, plan=at_one_gate, seeds=100)
async def turnstile(stage: Stage) -> None:
    claims = Claims(stage)
    stage.eventually("everybody is given the programme", claims.misled)
    stage.sometimes("a page was full", claims.filled_a_page)
    await stage.play()


class Claims:
    """What must hold of visits."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def misled(self) -> str:
        for command in self.stage.accepted("Gate", "enter"):
            given = json.loads(getattr(self.stage.result(command.invocation_id), "value", b"null"))
            if given != f"programme {json.loads(command.payload)}":
                return f"{command.invocation_id} was given {given}"
        return ""

    def filled_a_page(self) -> bool:
        ended = (self.stage.ended_ns(one.invocation_id) for one in self.stage.accepted("Gate", "enter"))
        return max(Counter(ended_ns // 1_000_000_000 for ended_ns in ended).values(), default=0) > PAGE
