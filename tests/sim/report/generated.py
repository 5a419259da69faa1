"""A made-up run of any size, for the page: no simulator runs, and equal arguments give equal chronicles.

python -m tests.sim.report.generated 5000 run.html
"""

from __future__ import annotations

import sys
from pathlib import Path

from understudy_sim.report.page import page
from understudy_sim.stage.chronicle import Chronicle, Event, Fact, Message, Named
from understudy_sim.stage.report import Story

MS = 1_000_000
OBJECTS = 12


class Writer:
    """Writes events one after the other."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.step = 0
        self.events: list[Event] = []
        self.messages: list[Message] = []
        self.named: list[Named] = []

    def event(self, process: str, kind: str, what: str, invocation: str = "", **facts: Fact) -> None:
        self.step += 1
        self.events.append(
            Event(
                number=len(self.events) + 1,
                at_ns=self.now_ns,
                step=self.step,
                process=process,
                kind=kind,
                what=what,
                invocation=invocation,
                facts=tuple(facts.items()),
            )
        )

    def message(self, source: str, target: str, what: str, invocation: str, took_ns: int) -> None:
        number = len(self.messages) + 1
        sent_ns, sent_step = self.now_ns, self.step + 1
        self.event(source, "send", f"to {target}: {what}", invocation, message=number, to=target)
        self.now_ns += took_ns
        self.event(target, "receive", f"from {source}: {what}", invocation, message=number)
        self.messages.append(
            Message(
                number=number,
                connection=number % 9,
                source=source,
                target=target,
                sent_ns=sent_ns,
                sent_step=sent_step,
                received_ns=self.now_ns,
                received_step=self.step,
                size=1,
                what=what,
                invocation=invocation,
            )
        )

    def invocation(self, number: int, payload: str) -> None:
        """One call, from its client to its answer, with a lock and four entries."""
        id_ = f"inv_1{number:033}"
        object_, client, endpoint = (
            f"CartObject/c{number % OBJECTS}",
            f"client-{number % 3}.1",
            f"endpoint.{1 + number % 2}",
        )
        self.named.append(Named(number=number, id=id_, target=f"{object_}/add", label=f"call {number}"))
        self.event(client, "ask", f"{object_}/add({payload})", client=client)
        self.message(client, "server.1", f"POST /{object_}/add", id_, 2 * MS + number % 7 * MS)
        self.event("server.1", "record", f"0/{number} Invoke {object_}/add", id_, partition=0, lsn=number)
        self.event("server.1", "status", "INVOKED", id_)
        self.event("server.1", "lock", object_, id_, object=object_)
        self.event("server.1", "attempt.start", "attempt 1 under lease 1", id_, lease=1, attempt=1)
        self.message("server.1", endpoint, "attempt: START, INPUT", id_, MS)
        self.event(endpoint, "body.start", f"body {number}", id_, body=number)
        for index in range(4):
            self.now_ns += MS // 3
            self.event("server.1", "entry", f"[{index}] RUN step {index}", id_, index=index)
        self.event(endpoint, "body.end", f"body {number}", id_, body=number)
        self.message(endpoint, "server.1", "OUTPUT, END", id_, MS)
        self.event("server.1", "attempt.end", "attempt 1 under lease 1 finished", id_, lease=1, attempt=1)
        self.event("server.1", "status", "COMPLETED", id_)
        self.event("server.1", "unlock", object_, id_, object=object_)
        self.message("server.1", client, f"200 {payload}", id_, 2 * MS)
        self.event(client, "answer", f"200 {payload}", id_, client=client)


def generated(count: int, payload: str = "{'seat': 7}", name: str = "generated") -> Chronicle:
    """A run of at least *count* events, with faults, a long silence, and a broken claim in its last quarter."""
    writer = Writer()
    for process in ("server.1", "endpoint.1", "endpoint.2", "client-0.1", "client-1.1", "client-2.1"):
        writer.event(process, "start", f"{process} starts")
    number = 0
    while len(writer.events) < count:
        number += 1
        writer.invocation(number, payload)
        writer.now_ns += (number * 7919) % 40 * MS
        if number % 20 == 0:
            writer.event("", "fault", "partition of server", fault="partition", on=("server",), lasts_ns=90 * MS)
        if number % 60 == 0:
            writer.now_ns += 600_000 * MS
        if not any(one.kind == "violation" for one in writer.events) and len(writer.events) > count * 3 // 4:
            claim = "P1 single holder"
            writer.event("server.1", "violation", f"{claim}: {payload}", writer.named[-1].id, claim=claim)
    writer.event("", "end", "the scenario came to its end")
    return Chronicle(
        scenario=name,
        seed=7,
        variation="",
        digest="0" * 32,
        steps=writer.step,
        ended_ns=writer.now_ns,
        ending="the scenario came to its end",
        events=tuple(writer.events),
        messages=tuple(writer.messages),
        invocations=tuple(writer.named),
    )


def story(payload: str = "two held it") -> Story:
    return Story(claim="P1 single holder", operation=payload, fault="partition of server", difference=payload, at_ns=1)


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(page(generated(int(sys.argv[1])), [story()], "generated.py --seed 0x7"))
