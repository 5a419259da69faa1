"""A notebook: pages are written one after the other, archived outside, and read back in the same breath.

It is small on purpose and shows what the ticket tour does not: a handler that waits after it has changed its state (so
that every later attempt reads its own writes back from the journal), pages from a few bytes to some hundred kilobytes
(so that windows fill, frames tear in the middle, and a state is too much to be sent at once), and several writers of
one notebook.

Run it for real with `understudy dev scenarios.notebook:app`, rehearse it with `understudy simulate
scenarios/notebook.py`.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from typing import Any, TypedDict

import trio
from understudy import ObjectContext, ObjectSharedContext, VirtualObject
from understudy import app as understudy_app
from understudy_sim import Call, Choices, External, Stage, scenario

ARCHIVE_ADDRESS = os.environ.get("ARCHIVE_ADDRESS", "")
ANSWER_TIMEOUT_S = 20
WRITERS = ("ann", "bob", "cleo")
NOTEBOOKS = ("diary", "ledger")
PAGE_BYTES = (40, 40, 3_000, 30_000, 200_000)


class Page(TypedDict):
    """One page: its number is its writer's and no other's."""

    number: int
    text: str


class Written(TypedDict):
    """What a writer is told: the pages as they were read back, and what was on the last one."""

    pages: list[int]
    text: str


notebook = VirtualObject("Notebook")


@notebook.handler("write")
async def write(ctx: ObjectContext, page: Page) -> Written:
    """Append the page, have it archived, and read back what is there now."""
    number = page["number"]
    pages = await ctx.get("pages", type_hint=list[int]) or []
    ctx.set("draft", number)
    ctx.set("pages", [*pages, number])
    ctx.set("text", page["text"])
    await ctx.run_typed("archive", lambda: archive(number))
    ctx.clear("draft")
    read_back = await ctx.get("pages", type_hint=list[int]) or []
    await ctx.run_typed("archive again", lambda: archive(number))
    names = await ctx.state_keys()
    if sorted(names) != ["pages", "text"] or read_back != [*pages, number]:
        return {"pages": [], "text": f"read back {read_back} and {names}"}
    return {"pages": read_back, "text": await ctx.get("text", type_hint=str) or ""}


@notebook.handler("pages", kind="shared")
async def pages(ctx: ObjectSharedContext) -> list[int]:
    return await ctx.get("pages", type_hint=list[int]) or []


async def archive(number: int) -> None:
    """Tell the archive of a page; it may be told more than once."""
    if not ARCHIVE_ADDRESS:
        return
    host, _, port = ARCHIVE_ADDRESS.rpartition(":")
    with trio.fail_after(ANSWER_TIMEOUT_S):
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(b'{"number": %d}\n' % number)
            if not (await stream.receive_some()).startswith(b'{"kept"'):
                raise ConnectionError("the archive did not keep the page")


app = understudy_app(services=[notebook])


# --- its rehearsal --------------------------------------------------------------------------------------------


class Archive(External[int]):
    name = "archive"
    port = 7004
    address_variable = "ARCHIVE_ADDRESS"

    def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.ledger.append(request["number"])
        return {"kept": True}


def workload(choices: Choices) -> tuple[Call, ...]:
    """Each writer writes some pages, now here and now there, and looks at what is written."""
    calls = []
    for position, writer in enumerate(WRITERS):
        for number in range(choices.integer("pages", 2, 4)):
            book = NOTEBOOKS[choices.pick("book", len(NOTEBOOKS))]
            size = PAGE_BYTES[choices.pick("size", len(PAGE_BYTES))]
            text = f"page {number} of {writer} " + "x" * size
            argument = {"number": 100 * position + number, "text": text}
            pause_ms = choices.integer("pause", 0, 2_000)
            calls.append(
                Call(client=writer, service="Notebook", key=book, handler="write", argument=argument, pause_ms=pause_ms)
            )
            if choices.chance("looks", 300):
                calls.append(Call(client=writer, service="Notebook", key=book, handler="pages"))
    return tuple(calls)


def notebook_model(pages: tuple[int, ...], handler: str, argument: Any) -> tuple[tuple[int, ...], Any]:
    """A notebook when nobody else uses it: pages come at the end, and what is read is all of them."""
    if handler == "pages":
        return pages, list(pages)
    pages = (*pages, argument["number"])
    return pages, {"pages": list(pages), "text": argument["text"]}


@scenario(app="scenarios.notebook:app", workload=workload, seeds=100)
async def notebook_pages(stage: Stage) -> None:
    claim(stage)
    await stage.play()


def claim(stage: Stage) -> None:
    """Say what must hold of notebooks."""
    archived = stage.external(Archive)

    def accepted_once() -> str:
        """Every page that was accepted is in its notebook, once, and no other is."""
        wanted: dict[str, Counter[int]] = {book: Counter() for book in NOTEBOOKS}
        for command in stage.accepted("Notebook", "write"):
            book = command.target.key or ""
            wanted[book][read(command.payload)["number"]] += 1
        for book in NOTEBOOKS:
            found = Counter(stage.state("Notebook", book).get("pages", []))
            if found != wanted[book]:
                return f"{book} holds {sorted(found.elements())}, accepted were {sorted(wanted[book].elements())}"
        return ""

    def read_back() -> str:
        """Whoever was answered was told its own page last, with the text it wrote."""
        for asked in stage.answers("Notebook", "write"):
            if asked.answer is None or asked.answer.status != 200:
                continue
            told = read(asked.answer.body)
            page = asked.call.argument
            if told["pages"][-1:] != [page["number"]] or told["text"] != page["text"]:
                return (
                    f"{asked.call.client} wrote page {page['number']} and read back {told['pages']} {told['text'][:80]}"
                )
        return ""

    stage.always("a page is in its notebook once", lambda: not any(written_twice(stage, book) for book in NOTEBOOKS))
    stage.eventually("every accepted page is in its notebook", accepted_once)
    stage.eventually("a writer reads back what it wrote", read_back)
    stage.eventually("every page is archived", lambda: pages_of(stage) <= set(archived))
    stage.linearizable("Notebook", notebook_model, initial=())
    stage.sometimes("a page was archived more than twice", lambda: max(Counter(archived).values(), default=0) > 2)
    stage.sometimes("a large page was written", lambda: any(has_large(stage, book) for book in NOTEBOOKS))


def read(data: bytes) -> Any:
    return json.loads(data)


def written_twice(stage: Stage, book: str) -> bool:
    found = stage.state("Notebook", book).get("pages", [])
    return len(found) != len(set(found))


def pages_of(stage: Stage) -> set[int]:
    return {number for book in NOTEBOOKS for number in stage.state("Notebook", book).get("pages", [])}


def has_large(stage: Stage, book: str) -> bool:
    return len(stage.state("Notebook", book).get("text", "")) > max(PAGE_BYTES)
