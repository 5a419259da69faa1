"""A monthly report takes its time, and everybody asks for it: under one key it is built once, and all read the same.

* `Reports`: build.  Adds up a month, stamps the result and files it.  The stamp is drawn in a step: a second run would
  bear another.  A month without books fails for good, and everybody is told so.
* `Readers`: read.  Another handler that wants the report, under the same key.

People call, attach and look, by key and by id, while servers crash.  Long after, an auditor asks again: results are
kept for an hour.

Run it for real with `understudy dev scenarios.report:app`, rehearse it with `understudy simulate scenarios/report.py`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, NamedTuple, TypedDict

from understudy import Context, RunOptions, Service, TerminalError
from understudy import app as understudy_app
from understudy_sim import Asked, Attach, Call, Choices, External, Ledger, Operation, Stage, scenario

from scenarios import outside

KEPT_FOR = timedelta(hours=1)
NO_BOOKS = 422

archive = outside.Service("FILING_ADDRESS")


class Report(TypedDict):
    month: str
    total: int
    stamp: str


reports = Service("Reports")


@reports.handler("build", idempotency_retention=KEPT_FOR)
async def build(ctx: Context, month: str) -> Report:
    """Add up *month*, and file the result under its stamp."""
    stamp = await ctx.run_typed("stamp", lambda: str(uuid.uuid4()))
    total = 0
    for week in range(1, 4):
        total += await ctx.run_typed(f"week {week}", add_up, RunOptions(), week)
        await ctx.sleep(timedelta(seconds=1))
    if month.endswith("-13"):
        raise TerminalError(f"there are no books of {month} ({stamp})", NO_BOOKS)
    await ctx.run_typed("file", lambda: file(month, stamp))
    return {"month": month, "total": total, "stamp": stamp}


def add_up(week: int) -> int:
    return 10 * week


async def file(month: str, stamp: str) -> None:
    await archive.ask({"month": month, "stamp": stamp}, stand_in={"filed": True})


readers = Service("Readers")


@readers.handler("read")
async def read(ctx: Context, month: str) -> str:
    """The stamp of the report of *month*, whoever had it built."""
    try:
        report = await ctx.service_call(build, arg=month, idempotency_key=month)
    except TerminalError as error:
        return error.message
    return report["stamp"]


app = understudy_app(services=[reports, readers])


# --- its rehearsal --------------------------------------------------------------------------------------------

MONTHS = ("2026-01", "2026-02", "2026-13")
PEOPLE = ("ann", "bob", "cleo", "dan")
# Longer than results are kept, whatever clocks do meanwhile.
AUDIT_AFTER_MS = 7_200_000
NOT_READY = 470
NOT_FOUND = 404


class Filed(NamedTuple):
    month: str
    stamp: str


class Filing(External[Filed]):
    name = "filing"
    port = 7007
    address_variable = "FILING_ADDRESS"

    def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.ledger.append(Filed(request["month"], request["stamp"]))
        return {"filed": True}


def workload(choices: Choices) -> tuple[Operation, ...]:
    """Somebody asks first for each month; then all ask in every way there is, and an auditor at the end."""
    operations: list[Operation] = [
        Call(client=f"clerk {month}", service="Reports", handler="build", argument=month, label=month)
        for month in MONTHS
    ]
    for person in PEOPLE:
        for _ in range(choices.integer("questions", 1, 4)):
            month = MONTHS[choices.pick("month", len(MONTHS))]
            pause_ms = choices.one_of("pause", (0, 100, 2_000, 10_000))
            operations.append(_question(choices, person, month, pause_ms))
    for month in MONTHS:
        wait = choices.chance("audit attaches", 500)
        operations.append(Attach(client=f"auditor {month}", to=month, wait=wait, pause_ms=AUDIT_AFTER_MS))
    return tuple(operations)


def _question(choices: Choices, person: str, month: str, pause_ms: int) -> Operation:
    kind = choices.one_of("kind", ("call", "attach", "attach", "output", "output", "read"))
    match kind:
        case "call":
            return Call(
                client=person, service="Reports", handler="build", argument=month, label=month, pause_ms=pause_ms
            )
        case "read":
            return Call(client=person, service="Readers", handler="read", argument=month, pause_ms=pause_ms)
    by_id = choices.chance("by id", 300)
    return Attach(client=person, to=month, wait=kind == "attach", by_id=by_id, pause_ms=pause_ms)


@scenario(app="scenarios.report:app", workload=workload, seeds=200)
async def report(stage: Stage) -> None:
    claims = Claims(stage, stage.external(Filing))
    stage.always("a report is built once", claims.built_twice)
    stage.eventually("everybody reads the same", claims.differ)
    stage.eventually("what is over is not found", claims.found_late)
    stage.sometimes("one looked too early", lambda: claims.told(NOT_READY, wait=False))
    stage.sometimes("one looked in time", lambda: claims.told(200, wait=False))
    stage.sometimes("one attached and was answered", lambda: claims.told(200, wait=True))
    stage.sometimes("one was told of a failure", lambda: claims.told(NO_BOOKS, wait=True))
    stage.sometimes("an auditor found nothing", claims.audited)
    stage.sometimes("a report was filed twice", lambda: len(claims.filed) > len(set(claims.filed)))
    stage.sometimes("a handler joined", lambda: bool(stage.answers("Readers", "read")))
    await stage.play()


class Claims:
    """What must hold of reports.  Each method says what is wrong, or nothing."""

    def __init__(self, stage: Stage, filed: Ledger[Filed]) -> None:
        self.stage = stage
        self.filed = filed

    def built_twice(self) -> str:
        stamps: dict[str, str] = {}
        for entry in self.filed:
            if stamps.setdefault(entry.month, entry.stamp) != entry.stamp:
                return f"{entry.month} was built twice: filed as {stamps[entry.month]} and as {entry.stamp}"
        return ""

    def differ(self) -> str:
        """All answers about a month bear one stamp, that of its durable result."""
        for asked, stamp in self._stamps_told():
            month = str(asked.call.argument)
            result = self.stage.result(self.stage.invocation(month))
            if stamp not in repr(result):
                return f"{asked.operation} read {stamp}, the durable result of {month} is {result}"
        return ""

    def _stamps_told(self) -> Iterator[tuple[Asked, str]]:
        stage = self.stage
        for asked in (*stage.answers("Reports", "build"), *stage.answers("Readers", "read"), *stage.attached()):
            if asked.answer is not None and asked.answer.status in (200, NO_BOOKS):
                told = json.loads(asked.answer.body)
                if isinstance(told, dict):
                    told = told["stamp"] if "stamp" in told else told["message"]
                yield asked, told

    def found_late(self) -> str:
        for asked, status in self._told(AUDIT_AFTER_MS):
            if status != NOT_FOUND:
                return f"{asked.operation} was answered {status} long after the result was to be forgotten"
        return ""

    def _told(self, pause_ms_min: int = 0) -> Iterator[tuple[Asked, int]]:
        """Who attached after so long, and the status of the answer."""
        for asked in self.stage.attached():
            if asked.answer is not None and asked.operation.pause_ms >= pause_ms_min:
                yield asked, asked.answer.status

    def audited(self) -> bool:
        return any(status == NOT_FOUND for _, status in self._told(AUDIT_AFTER_MS))

    def told(self, wanted: int, *, wait: bool) -> bool:
        """Whether somebody who attached (or looked) was answered *wanted*."""
        return any(
            isinstance(asked.operation, Attach) and asked.operation.wait is wait and status == wanted
            for asked, status in self._told()
        )
