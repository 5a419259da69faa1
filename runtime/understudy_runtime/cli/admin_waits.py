"""Who waits for whom, by what a running server's admin says: its JSON to the words of `explaining.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import attrs
import trio

from understudy_runtime.cli.asking import LIST_MAX, Admin
from understudy_runtime.explaining import Cause, Hope, Waiter, cause, chain, everything, judged

CHAINS_MAX: Final = 20
FOLLOWED_MAX: Final = 200
TAIL: Final = 8
COMPLETED: Final = "completed"


class Unknown(Exception):
    """The server knows no such invocation."""


async def told(admin: Admin, invocation_id: str) -> tuple[list[str], bool]:
    """The lines, and whether who was asked about can never go on.  Raises Unreachable, Unknown."""
    try:
        if not invocation_id:
            return await _all(admin)
        return await _one(admin, invocation_id)
    finally:
        with trio.CancelScope(shield=True):
            await admin.close()


async def _all(admin: Admin) -> tuple[list[str], bool]:
    listed = await admin.get(f"/invocations?limit={LIST_MAX}")
    views = listed.get("invocations", ())
    if not views:
        return ["nobody waits: nothing is in flight"], False
    waiters = waiters_of(sorted(views, key=lambda view: (view.get("created_at") or "", view["id"])))
    lines = everything(waiters, CHAINS_MAX)
    if not listed.get("complete", True):
        lines.append(f"there are more than the {len(views)} that the server lists: name one to be told of it")
    return lines, bool(judged(waiters).stuck)


async def _one(admin: Admin, invocation_id: str) -> tuple[list[str], bool]:
    first = await _view(admin, invocation_id)
    if first is None:
        raise Unknown(f"{invocation_id} is unknown to this server: it never was, or its retention is over")
    if first["status"] == COMPLETED:
        return [f"{name(first)} has ended: {first.get('completion_result', 'it is completed')}"], False
    views: dict[str, Mapping[str, Any] | None] = {invocation_id: first}
    to_ask = _others(first)
    while to_ask and len(views) < FOLLOWED_MAX:
        at = to_ask.pop(0)
        if at not in views:
            views[at] = view = await _view(admin, at)
            to_ask += _others(view) if view is not None else []
    gone = [id_ for id_, view in views.items() if view is None or view["status"] == COMPLETED]
    waiters = waiters_of([view for id_, view in views.items() if view is not None and id_ not in gone])
    waiters = {id_: _without(waiter, gone) for id_, waiter in waiters.items()}
    verdict = judged(waiters)
    return chain(waiters, invocation_id, verdict), invocation_id in verdict.stuck


async def _view(admin: Admin, invocation_id: str) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = await admin.get(f"/invocations/{quote(invocation_id, safe='')}", may_be_gone=True)
    return found


def _others(view: Mapping[str, Any]) -> list[str]:
    return [wait["id"] for wait in view.get("waiting_on", ()) if wait.get("id")]


def _without(waiter: Waiter, gone: Sequence[str]) -> Waiter:
    """What waits for somebody who is over by now has its answer on the way."""
    causes = tuple(
        attrs.evolve(one, hope=Hope.COMES, because="it is over: the answer is on its way") if one.on in gone else one
        for one in waiter.causes
    )
    return attrs.evolve(waiter, causes=causes)


# --- from JSON --------------------------------------------------------------------------------------------------


def waiters_of(views: Sequence[Mapping[str, Any]]) -> dict[str, Waiter]:
    """Invocations as the admin shows them, as waiters by their ids."""
    names = {view["id"]: name(view) for view in views}
    return {view["id"]: Waiter(view["id"], name(view), _state(view), tuple(_causes(view, names))) for view in views}


def name(view: Mapping[str, Any]) -> str:
    """`CartObject/ann/checkout …NF40QsPT`: what is called, and the end of the id."""
    return f"{view.get('target', 'an invocation')} …{view['id'][-TAIL:]}"


def _state(view: Mapping[str, Any]) -> str:
    parts = [str(view["status"])]
    if view.get("created_at"):
        parts.append(f"accepted {_instant(view['created_at'])}")
    return ", ".join(parts)


def _causes(view: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[Cause]:
    status = view["status"]
    if view.get("parked"):
        yield cause("place", detail=view["parked"].get("reason", "it is parked"))
        return
    waits = view.get("waiting_on", ())
    if status == "ready":
        yield cause("slot")
    elif status == "running" and not (view.get("deadlock") or view.get("behind_deadlock")):
        # What it has asked for is not all it may wait for: only where the server names a circle does that stand for it.
        because = "what it awaits itself is known once it suspends"
        if view.get("retry_count") and view.get("last_failure"):
            because = f"{view['retry_count']} in a row failed before, the last one so: {view['last_failure']}"
        yield attrs.evolve(cause("handler"), because=because)
    elif status == "backing-off" and not any(wait["kind"] == "retry" for wait in waits):
        yield cause("retry", detail=view.get("last_failure", ""), until=_until(view.get("next_retry_at")))
    for wait in waits:
        if status != "backing-off" or wait["kind"] == "retry":
            yield _cause(wait, names)


def _cause(wait: Mapping[str, Any], names: Mapping[str, str]) -> Cause:
    on = wait.get("id", "")
    return cause(
        wait["kind"], on=on, on_name=names.get(on, on), detail=wait.get("detail", ""), until=_until(wait.get("until"))
    )


def _until(instant: str | None) -> str:
    return f"due at {_instant(instant)}" if instant else ""


def _instant(text: str) -> str:
    """To the millisecond."""
    whole, dot, rest = text.partition(".")
    return f"{whole}{dot}{rest[:3]}Z" if dot else text
