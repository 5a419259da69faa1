"""The ingress before a real node that runs real handlers: recorded exchanges, and every way to ask for a result."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import attrs
import pytest
import trio
import understudy
from trio.testing import MockClock, wait_all_tasks_blocked
from understudy import RetryableError, TerminalError
from understudy_runtime.ingress.port import Request, Response
from understudy_runtime.ingress.shell import Ingress
from understudy_runtime.limits import Limits
from understudy_runtime.model.commands import Cancel, Kill, Pause, Purge, Resume
from understudy_runtime.node import Node

from tests.runtime.ingress.recorded_app import recorded_app
from tests.runtime.ingress.test_exchanges import EXCHANGES, NOT_KEPT, Marks, check_response, make_request
from tests.runtime.node.fakes import FakeWorld
from tests.runtime.node.stand import hosted

PLAIN = Limits(log_prewrite_bytes=0)
JSON = (("content-type", "application/json"),)
# An awakeable is made before it is resolved: `test_awakeables` has these.
ELSEWHERE = ("resolve", "reject", "second call", "third call", "call that creates awakeable")
# Attached to while it ran, when it was recorded.
OVER_BY_THEN = ("workflow: workflow attach waits",)


async def test_recorded_exchanges_run(autojump_clock: MockClock) -> None:
    marks = Marks()
    async with hosted(recorded_app(), world=FakeWorld()) as client:
        ingress = Ingress(client.node, PLAIN)
        for exchange in EXCHANGES:
            name = exchange["name"]
            if name.startswith("awakeables: ") and name.partition(": ")[2].startswith(ELSEWHERE):
                continue
            request = make_request(marks, exchange["request"])
            response = await ingress.handle(request)
            await wait_all_tasks_blocked()
            if name in NOT_KEPT:
                assert response.status == 404
                continue
            expected = exchange["response"]
            if name in OVER_BY_THEN:
                assert dict(response.headers)["idempotency-expires"]
                expected = {**expected, "headers": {**expected["headers"], "idempotency-expires": "{{timestamp}}"}}
            check_response(marks, name, expected, response, request.method == "HEAD")


# Every way to ask for a result.


class Shop:
    """Handlers that end when the test says so."""

    def __init__(self) -> None:
        self.runs = 0
        self.closed = False
        service = understudy.Service("Work")
        thing = understudy.VirtualObject("Thing")
        flow = understudy.Workflow("Flow")

        @service.handler("do")
        async def do(ctx: understudy.Context, ms: int) -> str:
            return await self.work(ctx, ms)

        @thing.handler("do")
        async def do_keyed(ctx: understudy.ObjectContext, ms: int) -> str:
            return await self.work(ctx, ms)

        @flow.main("do")
        async def do_flow(ctx: understudy.WorkflowContext, ms: int) -> str:
            ctx.set("ms", ms)
            return await self.work(ctx, ms)

        @flow.handler()
        async def read(ctx: understudy.WorkflowSharedContext) -> int | None:
            return await ctx.get("ms", type_hint=int)

        self.app = understudy.app(services=[service, thing, flow])

    async def work(self, ctx: understudy.Context, ms: int) -> str:
        if self.closed:
            raise RetryableError("closed", retry_after=timedelta(seconds=30))
        await ctx.sleep(timedelta(milliseconds=ms))
        await ctx.run("count", self.count)
        if ms % 10 == 1:
            raise TerminalError("told to", status_code=418)
        return f"after {ms}"

    def count(self) -> int:
        self.runs += 1
        return self.runs


@attrs.frozen
class Form:
    """How an invocation is begun and asked about without its id."""

    call: str
    by_name: str
    target: dict[str, str]
    key: str | None = None


FORMS = {
    "service": Form(
        "/Work/do",
        "/restate/invocation/Work/do/k%201",
        {"target": "idempotentInvocation", "service": "Work", "handler": "do", "idempotencyKey": "k%201"},
        "k%201",
    ),
    "object": Form(
        "/Thing/a%2Fb/do",
        "/restate/invocation/Thing/a%2Fb/do/k1",
        {"target": "idempotentInvocation", "service": "Thing", "key": "a/b", "handler": "do", "idempotencyKey": "k1"},
        "k1",
    ),
    "workflow": Form(
        "/Flow/a%20b/do",
        "/restate/workflow/Flow/a%20b",
        {"target": "workflow", "workflowName": "Flow", "workflowKey": "a b"},
    ),
}
every_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


@attrs.frozen
class Door:
    """The ingress, and what a test asks of it."""

    node: Node
    ingress: Ingress
    form: Form

    async def ask(self, method: str, path: str, body: Any = None, key: str | None = None) -> Response:
        headers = (*(JSON if body is not None else ()), *((("idempotency-key", key),) if key is not None else ()))
        return await self.ingress.handle(
            Request(method, path, headers, b"" if body is None else json.dumps(body).encode())
        )

    async def call(self, ms: int) -> Response:
        return await self.ask("POST", self.form.call, ms, self.form.key)

    async def send(self, ms: int, query: str = "") -> dict[str, str]:
        response = await self.ask("POST", f"{self.form.call}/send{query}", ms, self.form.key)
        assert response.status == 202
        return dict(json.loads(response.body))

    async def every(self, verb: str, invocation_id: str) -> list[Response]:
        """The answers of all ways to ask, in one go."""
        ways = [
            ("GET", f"/restate/invocation/{invocation_id}/{verb}", None),
            ("GET", f"/restate/{verb}/{invocation_id}", None),
            ("GET", f"{self.form.by_name}/{verb}", None),
            ("POST", f"/restate/{verb}", self.form.target),
            ("POST", f"/restate/{verb}", {"target": "invocation", "invocationId": invocation_id}),
        ]
        found: list[Response] = []

        async def note(method: str, path: str, body: Any) -> None:
            found.append(await self.ask(method, path, body))

        async with trio.open_nursery() as nursery:
            for way in ways:
                nursery.start_soon(note, *way)
        return found

    async def status(self, verb: str, invocation_id: str) -> int:
        """The one status all ways agree on; with the same body and headers."""
        answers = await self.every(verb, invocation_id)
        assert len(set(answers)) == 1, answers
        return answers[0].status

    async def result(self, invocation_id: str) -> Response:
        """What all ways to attach answer."""
        answers = await self.every("attach", invocation_id)
        assert len(set(answers)) == 1, answers
        assert dict(answers[0].headers)["x-restate-id"] == invocation_id
        return answers[0]

    async def do(self, command: type[Cancel] | type[Kill] | type[Pause] | type[Resume] | type[Purge], id_: str) -> str:
        return (await self.node.request(command(id_, self.node.new_request_id()))).outcome


@asynccontextmanager
async def door(form: Form, shop: Shop, limits: Limits = PLAIN) -> AsyncIterator[Door]:
    async with hosted(shop.app, world=FakeWorld(), limits=limits, partition_count=2) as client:
        yield Door(client.node, Ingress(client.node, limits), form)


def source(response: Response) -> tuple[int, str]:
    return response.status, json.loads(response.body)["source"]


@every_form
@pytest.mark.parametrize("inactivity_ms", [0, 3_600_000])
async def test_asking_while_it_runs_and_when_it_is_over(
    form: Form, inactivity_ms: int, autojump_clock: MockClock
) -> None:
    shop = Shop()
    async with door(form, shop, Limits(log_prewrite_bytes=0, inactivity_timeout_ms=inactivity_ms)) as at:
        accepted = await at.send(60_000)
        assert accepted["status"] == "Accepted"
        id_ = accepted["invocationId"]
        looked_up = await at.ask("POST", "/restate/lookup", form.target)
        assert json.loads(looked_up.body) == {"invocationId": id_}
        await trio.sleep(1)
        assert await at.status("output", id_) == 470
        assert (await at.send(5)) == {"invocationId": id_, "status": "PreviouslyAccepted"}
        waited = await at.result(id_)
        assert (waited.status, json.loads(waited.body)) == (200, "after 60000")
        assert "idempotency-expires" not in dict(waited.headers)
        again = await at.result(id_)
        assert dict(again.headers)["idempotency-expires"]
        assert (again.status, again.body) == (200, waited.body)
        assert await at.every("output", id_) == [again] * 5
        called = await at.call(5)
        if form.key is None:
            assert source(called) == (409, "invocation")
            assert dict(called.headers)["x-restate-id"] == id_
        else:
            assert called == again
        assert (await at.send(5))["status"] == "PreviouslyAccepted"
        assert shop.runs == 1


@every_form
async def test_a_failure_is_answered_like_a_value(form: Form, autojump_clock: MockClock) -> None:
    async with door(form, Shop()) as at:
        first = await at.call(1)
        assert source(first) == (418, "invocation")
        id_ = dict(first.headers)["x-restate-id"]
        assert await at.status("attach", id_) == 418
        assert await at.status("output", id_) == 418
        assert {answer.body for answer in await at.every("attach", id_)} == {first.body}


@every_form
async def test_two_callers_at_once_share_one_run(form: Form, autojump_clock: MockClock) -> None:
    """Of a workflow the second is told that it runs, and may attach."""
    shop = Shop()
    async with door(form, shop) as at:
        answers: list[Response] = []

        async def call() -> None:
            answers.append(await at.call(1_000))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(call)
        assert shop.runs == 1
        assert len({dict(answer.headers)["x-restate-id"] for answer in answers}) == 1
        if form.key is None:
            assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409]
        else:
            assert {(answer.status, answer.body) for answer in answers} == {(200, b'"after 1000"')}


@every_form
async def test_a_delayed_one_is_joined_and_keeps_its_time(form: Form, autojump_clock: MockClock) -> None:
    async with door(form, Shop()) as at:
        first = await at.send(1_000, "?delay=PT1M")
        again = await at.send(1_000, "?delay=PT1H")
        assert again == {**first, "status": "PreviouslyAccepted"}
        id_ = first["invocationId"]
        assert await at.status("output", id_) == 470
        started = trio.current_time()
        assert (await at.result(id_)).body == b'"after 1000"'
        assert trio.current_time() - started == pytest.approx(61, abs=0.1)
        if form.key is not None:
            assert (await at.call(1_000)).status == 200


@every_form
async def test_asking_while_it_is_tried_again_or_paused(form: Form, autojump_clock: MockClock) -> None:
    shop = Shop()
    shop.closed = True
    async with door(form, shop) as at:
        id_ = (await at.send(1_000))["invocationId"]
        await trio.sleep(1)
        assert await at.status("output", id_) == 470
        assert await at.do(Pause, id_) == "done"
        assert await at.status("output", id_) == 470
        shop.closed = False
        async with trio.open_nursery() as nursery:
            found: list[Response] = []

            async def attach() -> None:
                found.append(await at.result(id_))

            nursery.start_soon(attach)
            await trio.sleep(100)
            assert not found
            assert await at.do(Resume, id_) == "done"
        assert (found[0].status, found[0].body) == (200, b'"after 1000"')


@every_form
@pytest.mark.parametrize("command", [Cancel, Kill])
async def test_who_waits_for_a_cancelled_or_killed_one_is_told(
    form: Form, command: type[Cancel] | type[Kill], autojump_clock: MockClock
) -> None:
    async with door(form, Shop()) as at:
        id_ = (await at.send(3_600_000))["invocationId"]
        async with trio.open_nursery() as nursery:
            found: list[Response] = []

            async def attach() -> None:
                found.append(await at.result(id_))

            nursery.start_soon(attach)
            await trio.sleep(1)
            assert await at.do(command, id_) in ("accepted", "done")
        assert source(found[0]) == (409, "invocation")
        assert await at.status("output", id_) == 409
        assert (await at.do(command, id_)) == "already_completed"


@every_form
async def test_a_purged_one_is_unknown_and_may_run_again(form: Form, autojump_clock: MockClock) -> None:
    shop = Shop()
    async with door(form, shop) as at:
        id_ = (await at.send(1_000))["invocationId"]
        await at.result(id_)
        assert await at.do(Purge, id_) == "done"
        assert {source(answer) for answer in await at.every("output", id_)} == {(404, "ingress")}
        attached = await at.result(id_)
        assert source(attached) == (404, "invocation")
        again = await at.send(2_000)
        assert again == {"invocationId": id_, "status": "Accepted"}
        assert (await at.result(id_)).body == b'"after 2000"'
        assert shop.runs == 2


@every_form
async def test_a_result_is_kept_for_its_time(form: Form, autojump_clock: MockClock) -> None:
    limits = Limits(log_prewrite_bytes=0, completion_retention_ms=60_000, workflow_retention_ms=60_000)
    async with door(form, Shop(), limits) as at:
        id_ = (await at.send(1_000))["invocationId"]
        await at.result(id_)
        await trio.sleep(55)
        assert (await at.result(id_)).status == 200
        if form.key is None:
            assert (await at.ask("POST", "/Flow/a%20b/read")).body == b"1000"
        await trio.sleep(10)
        assert await at.status("output", id_) == 404
        if form.key is None:
            assert (await at.ask("POST", "/Flow/a%20b/read")).body == b""


async def test_an_object_that_waits_for_its_turn(autojump_clock: MockClock) -> None:
    async with door(FORMS["object"], Shop()) as at:
        await at.ask("POST", "/Thing/a%2Fb/do/send", 10_000)
        id_ = (await at.send(1_000))["invocationId"]
        assert await at.status("output", id_) == 470
        assert (await at.result(id_)).body == b'"after 1000"'


async def test_a_client_that_goes_away_cancels_nothing(autojump_clock: MockClock) -> None:
    shop = Shop()
    async with door(FORMS["service"], shop) as at:
        with trio.move_on_after(1):
            await at.call(5_000)
        assert at.ingress.in_flight == 0
        await trio.sleep(10)
        assert shop.runs == 1
        assert (await at.call(5_000)).status == 200
        assert at.node.replies.is_idle


async def test_awakeables(autojump_clock: MockClock) -> None:
    """Completed before and after it is waited for; the first completion wins, and a late one is accepted too."""
    names: list[str] = []
    service = understudy.Service("Waiter")

    @service.handler()
    async def wait(ctx: understudy.Context) -> Any:
        name, value = ctx.awakeable()
        await ctx.run("tell", lambda: names.append(name))
        await ctx.sleep(timedelta(seconds=5))
        return await value

    async with hosted(understudy.app(services=[service]), world=FakeWorld(), partition_count=3) as client:
        ingress = Ingress(client.node, PLAIN)

        async def ask(path: str, body: bytes = b"") -> Response:
            return await ingress.handle(Request("POST", path, (), body))

        for verb, body, expected in (
            ("awakeables/{}/resolve", b'{"a": 1}', (200, {"a": 1})),
            ("a/{}/reject", b"because", (500, "because")),
            ("a/{}/resolve", b"", (200, None)),
        ):
            for seconds in (1, 60):
                names.clear()
                sent = json.loads((await ask("/Waiter/wait/send")).body)["invocationId"]
                await trio.sleep(seconds)
                assert (await ask(f"/restate/{verb.format(names[0])}", body)).status == 202
                assert (await ask(f"/restate/a/{names[0]}/resolve", b'"late"')).status == 202
                found = await ingress.handle(Request("GET", f"/restate/attach/{sent}"))
                value = json.loads(found.body or b"null")
                assert (found.status, value if found.status == 200 else value["message"]) == expected
                assert (await ask(f"/restate/a/{names[0]}/resolve", b'"late"')).status == 202


async def test_a_handler_attaches_to_what_it_sent_long_after_that_has_ended(autojump_clock: MockClock) -> None:
    service = understudy.Service("Sender")

    @service.handler()
    async def quick(ctx: understudy.Context, number: int) -> int:
        return number + 1

    @service.handler()
    async def send(ctx: understudy.Context, seconds: int) -> int:
        sent = ctx.service_send(quick, 1)
        id_ = await sent.invocation_id()
        await ctx.sleep(timedelta(seconds=seconds))
        return await ctx.attach_invocation(id_, type_hint=int)

    limits = Limits(log_prewrite_bytes=0, completion_retention_ms=60_000)
    async with hosted(understudy.app(services=[service]), world=FakeWorld(), limits=limits) as client:
        ingress = Ingress(client.node, limits)
        for seconds, status in ((5, 200), (90, 404)):
            found = await ingress.handle(Request("POST", "/Sender/send", JSON, str(seconds).encode()))
            assert found.status == status


@every_form
@pytest.mark.parametrize("command", [Cancel, Kill])
async def test_what_was_cancelled_before_it_began_stays_so(
    form: Form, command: type[Cancel] | type[Kill], autojump_clock: MockClock
) -> None:
    """A client that asks again by key must not begin what an operator took back."""
    shop = Shop()
    async with door(form, shop) as at:
        id_ = (await at.send(1_000, "?delay=1h"))["invocationId"]
        assert await at.do(command, id_) == "done"
        assert await at.status("attach", id_) == 409
        assert await at.status("output", id_) == 409
        assert (await at.send(1_000))["status"] == "PreviouslyAccepted"
        assert source(await at.call(1_000)) == (409, "invocation")
        await trio.sleep(7_200)
        assert shop.runs == 0
