"""Who waits for whom on a running node: every kind of wait, circles, and the ways out of them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
import trio
import understudy
from trio.testing import MockClock, wait_all_tasks_blocked
from understudy.endpoint import App
from understudy.exceptions import RetryableError
from understudy_runtime.ingress.port import Request, Response
from understudy_runtime.ingress.shell import Ingress
from understudy_runtime.invoker.inprocess import InProcessTransport
from understudy_runtime.limits import Limits
from understudy_runtime.node import Deployment

from tests.runtime.admin.stand import Stand, standing
from tests.runtime.node.fakes import FakeWorld
from tests.runtime.node.stand import FakeHost

LIMITS = Limits(log_prewrite_bytes=0)
JSON = (("content-type", "application/json"),)


def tangled() -> App:
    """Objects that call each other, and a service that waits for all there is."""
    left = understudy.VirtualObject("Left")
    right = understudy.VirtualObject("Right")
    waiter = understudy.Service("Waiter")
    flow = understudy.Workflow("Flow")

    @left.handler()
    async def over(ctx: understudy.ObjectContext, key: str) -> str:
        await ctx.sleep(timedelta(seconds=1))
        return await ctx.object_call(back, key, ctx.key())

    @right.handler()
    async def back(ctx: understudy.ObjectContext, key: str) -> str:
        await ctx.sleep(timedelta(seconds=1))
        return await ctx.object_call(over, key, ctx.key())

    @waiter.handler()
    async def wait(ctx: understudy.Context, what: str) -> None:
        await WAITS[what](ctx)

    @waiter.handler()
    async def many(ctx: understudy.Context, count: int) -> None:
        await understudy.gather(*(ctx.sleep(timedelta(days=1)) for _ in range(count)), ctx.awakeable()[1])

    @waiter.handler()
    async def attach(ctx: understudy.Context, invocation_id: str) -> None:
        await ctx.attach_invocation(invocation_id)

    @flow.main()
    async def run(ctx: understudy.WorkflowContext) -> str:
        return await ctx.promise("approved", type_hint=str).value()

    return understudy.app(services=[left, right, waiter, flow])


async def refuse() -> None:
    raise RetryableError("the shop is closed", retry_after=timedelta(hours=1))


WAITS: dict[str, Callable[[understudy.Context], Awaitable[Any]]] = {
    "sleep": lambda ctx: ctx.sleep(timedelta(days=1)),
    "awakeable": lambda ctx: ctx.awakeable()[1],
    "signal": lambda ctx: ctx.signal("go"),
    "retry": lambda ctx: refuse(),
}


@asynccontextmanager
async def tangling(partition_count: int | None = None, limits: Limits = LIMITS) -> AsyncIterator[Stand]:
    world = FakeWorld()
    app = tangled()
    async with trio.open_nursery() as nursery:
        given = Deployment("dp_1a", InProcessTransport(app, FakeHost(world, nursery)), app.manifest())
        async with standing(world=world, deployments=[given], partition_count=partition_count, limits=limits) as stand:
            yield stand
        nursery.cancel_scope.cancel()


async def ask(stand: Stand, path: str, value: Any = None) -> Response:
    body = b"" if value is None else json.dumps(value).encode()
    return await Ingress(stand.node, stand.node.limits).handle(Request("POST", path, JSON if body else (), body))


async def send(stand: Stand, path: str, value: Any = None) -> str:
    return str(json.loads((await ask(stand, f"{path}/send", value)).body)["invocationId"])


async def waiting_on(stand: Stand, invocation_id: str) -> list[dict[str, Any]]:
    return list((await stand.get(f"/invocations/{invocation_id}")).get("waiting_on", []))


@pytest.mark.parametrize(
    ("what", "kinds"),
    [
        ("sleep", {"sleep": {"until"}}),
        ("awakeable", {"awakeable": {"detail"}}),
        ("signal", {"signal": {"detail"}}),
        ("retry", {"retry": {"detail", "until"}}),
    ],
)
@pytest.mark.parametrize("inactivity_ms", [0, 3_600_000])
async def test_what_is_waited_for(
    what: str, kinds: dict[str, set[str]], inactivity_ms: int, autojump_clock: MockClock
) -> None:
    limits = Limits(log_prewrite_bytes=0, inactivity_timeout_ms=inactivity_ms)
    async with tangling(limits=limits) as stand:
        sent = await send(stand, "/Waiter/wait", what)
        await trio.sleep(1)
        found = await waiting_on(stand, sent)
        if what in ("awakeable", "signal") and inactivity_ms:
            # An attempt that runs does not say what it awaits: a signal is no command.
            assert found == []
            return
        assert {wait["kind"]: set(wait) - {"kind"} for wait in found} == kinds


async def test_a_caller_waits_for_whom_it_called(autojump_clock: MockClock) -> None:
    async with tangling(partition_count=2) as stand:
        flow = await send(stand, "/Flow/f/run")
        attached = await send(stand, "/Waiter/attach", flow)
        delayed = json.loads((await ask(stand, "/Waiter/wait/send?delay=1h", "sleep")).body)
        caller = await send(stand, "/Left/a/over", "b")
        await trio.sleep(1.5)
        assert await waiting_on(stand, flow) == [{"kind": "promise", "detail": "approved"}]
        (wait,) = await waiting_on(stand, attached)
        assert (wait["kind"], wait["id"]) == ("attach", flow)
        (wait,) = await waiting_on(stand, delayed["invocationId"])
        assert wait == {"kind": "start", "until": delayed["executionTime"]}
        (wait,) = await waiting_on(stand, caller)
        assert (wait["kind"], wait["detail"]) == ("call", "Right/b/back")
        callee = await stand.get(f"/invocations/{wait['id']}")
        assert (callee["target"], callee["waited_for_by"]) == ("Right/b/back", [caller])
        assert (await stand.get(f"/invocations/{flow}"))["waited_for_by"] == [attached]
        assert "waited_for_by" not in await stand.get(f"/invocations/{caller}")
        assert (await stand.ask("PATCH", f"/invocations/{caller}/pause")).status == 202
        assert await waiting_on(stand, caller) == [{"kind": "resume"}]


@pytest.mark.parametrize("partition_count", [1, 4])
@pytest.mark.parametrize("way", ["cancel", "kill"])
async def test_a_circle_is_found_and_left(partition_count: int, way: str, autojump_clock: MockClock) -> None:
    async with tangling(partition_count=partition_count) as stand:
        assert await stand.get("/deadlocks") == {"deadlocks": []}
        first = await send(stand, "/Left/a/over", "b")
        await trio.sleep(1.5)
        assert await stand.get("/deadlocks") == {"deadlocks": []}
        behind = await send(stand, "/Left/a/over", "c")
        await trio.sleep(5)
        (circle,) = (await stand.get("/deadlocks"))["deadlocks"]
        members = {member["target"]: member for member in circle["members"]}
        assert len(circle["members"]) == 3
        holder, callee = members["Left/a/over"], members["Right/b/back"]
        assert (callee["waits_for"]["kind"], callee["waits_for"]["detail"]) == ("call", "Left/a/over")
        last = next(member for member in circle["members"] if member["waits_for"]["kind"] == "lock")
        assert (last["waits_for"]["id"], last["waits_for"]["detail"]) == (first, "Left/a")
        for member in circle["members"]:
            shown = await stand.get(f"/invocations/{member['id']}")
            assert shown["deadlock"][0] == member["id"]
            assert sorted(shown["deadlock"]) == sorted(one["id"] for one in circle["members"])
        assert holder["target"] == "Left/a/over"
        shown = await stand.get(f"/invocations/{behind}")
        assert ("deadlock" in shown, len(shown["behind_deadlock"])) == (False, 3)
        listed = {one["id"]: one for one in (await stand.get("/invocations"))["invocations"]}
        assert sorted(one for one in listed if "deadlock" in listed[one]) == sorted(
            member["id"] for member in circle["members"]
        )
        assert listed[behind] == shown
        assert circle["ways_out"][0] == f"PATCH /invocations/{last['id']}/cancel"
        out = next(way_out for way_out in circle["ways_out"] if way_out.endswith(f"{last['id']}/{way}"))
        method, path = out.split(" ")
        assert (await stand.ask(method, path)).status == 200
        await wait_all_tasks_blocked()
        assert await stand.get("/deadlocks") == {"deadlocks": []}
        answer = await Ingress(stand.node, LIMITS).handle(Request("GET", f"/restate/invocation/{first}/attach"))
        assert answer.status == 409


async def test_a_long_list_lets_others_run_and_shows_the_first_of_many_waits(autojump_clock: MockClock) -> None:
    async with tangling() as stand:
        for index in range(20):
            await send(stand, "/Waiter/many", index)
        await trio.sleep(1)
        assert len((await stand.get("/invocations?status=running"))["invocations"]) == 20
        assert await stand.get("/invocations?status=suspended") == {"invocations": [], "complete": True}
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            listed = (await stand.get("/invocations"))["invocations"]
            nursery.cancel_scope.cancel()
        assert turns > 1
        assert len(listed) == 20
        waits = sorted(
            (len(one["waiting_on"]), one.get("waiting_on_count", 0)) for one in listed if "waiting_on" in one
        )
        assert waits == [*((count, 0) for count in range(1, 11)), *((10, count) for count in range(11, 20))]
        whole = await stand.get(
            f"/invocations/{next(one['id'] for one in listed if one.get('waiting_on_count') == 19)}"
        )
        assert len(whole["waiting_on"]) == 19


async def test_who_ends_while_a_list_is_made_is_not_in_it(autojump_clock: MockClock) -> None:
    async with tangling() as stand:
        ids = [await send(stand, "/Waiter/wait", "sleep") for _ in range(40)]
        await trio.sleep(1)
        listed: list[Any] = []

        async def ask() -> None:
            listed.extend((await stand.get("/invocations"))["invocations"])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            for one in sorted(ids)[-8:]:
                nursery.start_soon(stand.ask, "PATCH", f"/invocations/{one}/kill")
        assert {one["id"] for one in listed} >= set(sorted(ids)[:-8])
        assert {one["status"] for one in listed} == {"running"}
