"""The client from outside: what it asks for, what it makes of the answers, under both schedulers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import anyio
import httpx
import pytest
from understudy import (
    BytesSerde,
    Client,
    ClientOutput,
    Context,
    HttpError,
    ObjectContext,
    Service,
    VirtualObject,
    Workflow,
    create_client,
)
from understudy.api.codec import JournalValueCodec

BACKENDS = ("trio", "asyncio")

greeter = Service("Greeter")
counter = VirtualObject("Counter")
flow = Workflow("Flow")


@greeter.handler()
async def greet(ctx: Context, name: str) -> str:
    raise AssertionError


@greeter.handler()
async def ping(ctx: Context) -> None:
    raise AssertionError


@greeter.handler(accept="*/*")
async def anything(ctx: Context, data: dict[str, int]) -> dict[str, int]:
    raise AssertionError


@counter.handler()
async def add(ctx: ObjectContext, amount: int) -> int:
    raise AssertionError


@flow.main()
async def run(ctx: Any, amount: int) -> int:
    raise AssertionError


class FakeIngress:
    """Answers every request the same and keeps what was asked."""

    def __init__(self, status: int = 200, value: Any = None, content: bytes | None = None) -> None:
        self.status = status
        self.content = json.dumps(value).encode() if content is None else content
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return httpx.Response(self.status, content=self.content)

    @property
    def target(self) -> str:
        return self.asked[-1].url.raw_path.decode()

    @property
    def sent(self) -> httpx.Headers:
        return self.asked[-1].headers


def ask(ingress: FakeIngress, use: Callable[[Client], Awaitable[Any]], backend: str = "trio", **options: Any) -> Any:
    async def main() -> Any:
        transport = httpx.MockTransport(ingress)
        async with create_client("http://here:8080/below/", transport=transport, **options) as client:
            return await use(client)

    return anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_call_is_typed_by_its_handler(backend: str) -> None:
    ingress = FakeIngress(value="hello")
    assert ask(ingress, lambda client: client.service_call(greet, "you"), backend) == "hello"
    assert (ingress.asked[0].method, ingress.target) == ("POST", "/below/Greeter/greet")
    assert (ingress.asked[0].content, ingress.sent["content-type"]) == (b'"you"', "application/json")
    assert "idempotency-key" not in ingress.sent


@pytest.mark.parametrize(
    ("use", "target"),
    [
        (lambda client: client.object_call(add, "k", 1), "/below/Counter/k/add"),
        (lambda client: client.object_call(add, key="a/b c", arg=1), "/below/Counter/a%2Fb%20c/add"),
        (lambda client: client.object_call(add, "..", 1), "/below/Counter/%2E%2E/add"),
        (lambda client: client.object_call(add, "ü?#%41", 1), "/below/Counter/%C3%BC%3F%23%2541/add"),
        (lambda client: client.workflow_call(run, "w", 1), "/below/Flow/w/run"),
        (lambda client: client.generic_call("S", "h", b"1"), "/below/S/h"),
        (lambda client: client.generic_call("S", "h", b"1", key="k"), "/below/S/k/h"),
    ],
)
def test_where_a_call_goes(use: Callable[[Client], Awaitable[Any]], target: str) -> None:
    ingress = FakeIngress(value=7)
    assert ask(ingress, use) in (7, b"7")
    assert (ingress.target, ingress.asked[0].content) == (target, b"1")


@pytest.mark.parametrize(
    ("use", "target"),
    [
        (lambda client: client.service_send(greet, "you"), "/below/Greeter/greet/send"),
        (
            lambda client: client.object_send(add, "k", 1, timedelta(seconds=1.5)),
            "/below/Counter/k/add/send?delay=1500ms",
        ),
        (lambda client: client.workflow_send(run, "w", 1, timedelta(0)), "/below/Flow/w/run/send"),
        (
            lambda client: client.generic_send("S", "h", b"", key="k", send_delay=timedelta(milliseconds=2)),
            "/below/S/k/h/send?delay=2ms",
        ),
    ],
)
def test_where_a_send_goes_and_what_it_gives(use: Callable[[Client], Awaitable[Any]], target: str) -> None:
    ingress = FakeIngress(202, {"invocationId": "inv_1x", "status": "Accepted"})
    handle = ask(ingress, use)
    assert (handle.invocation_id, handle.status_code, ingress.target) == ("inv_1x", 202, target)


def test_headers_and_idempotency_key() -> None:
    ingress = FakeIngress(value="")
    ask(
        ingress,
        lambda client: client.service_call(greet, "you", idempotency_key="once", headers={"X-Own": "b", "X-Both": "b"}),
        headers={"x-all": "a", "x-both": "a"},
    )
    assert [ingress.sent[name] for name in ("idempotency-key", "x-own", "x-all", "x-both")] == ["once", "b", "a", "b"]


def test_the_content_type_fits_the_handler() -> None:
    ingress = FakeIngress(content=b"")
    assert ask(ingress, lambda client: client.service_call(ping, None)) is None
    assert (ingress.asked[0].content, "content-type" in ingress.sent) == (b"", False)
    ask(ingress, lambda client: client.service_call(anything, {}))
    assert ingress.sent["content-type"] == "application/octet-stream"
    ask(ingress, lambda client: client.generic_call("S", "h", b"", headers={"Content-Type": "text/plain"}))
    assert ingress.sent["content-type"] == "text/plain"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"code":409,"message":"sold out"}', "sold out"),
        (b"<html>", "Conflict"),
        (b'{"message":1}', "Conflict"),
        (b'["message"]', "Conflict"),
        (b"[" * 100_000, "Conflict"),
    ],
)
def test_a_refusal_is_an_error(content: bytes, message: str) -> None:
    with pytest.raises(HttpError) as caught:
        ask(FakeIngress(409, content=content), lambda client: client.service_call(greet, "you"))
    assert (caught.value.status_code, caught.value.message) == (409, message)
    assert (caught.value.body, str(caught.value)) == (content.decode(), f"HTTP 409: {message}")


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (lambda client: client.service_call(add, 1), "Counter has a key: use object_call"),
        (lambda client: client.object_call(greet, "k", "you"), "Greeter has no key: use service_call"),
        (lambda client: client.object_call(add, "", 1), "empty key"),
        (lambda client: client.service_call(greet, "you", idempotency_key=""), "empty idempotency key"),
        (lambda client: client.service_call(ask, "you"), "not a handler"),
    ],
)
def test_what_cannot_be_called_is_not_asked_for(use: Callable[[Client], Awaitable[Any]], said: str) -> None:
    ingress = FakeIngress()
    with pytest.raises(ValueError, match=said):
        ask(ingress, use)
    assert ingress.asked == []


def test_a_lost_answer_is_not_asked_for_again() -> None:
    asked: list[httpx.Request] = []

    def lose(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        raise httpx.ReadError("reset", request=request)

    async def main() -> None:
        async with create_client("http://here", transport=httpx.MockTransport(lose)) as client:
            await client.service_call(greet, "you")

    with pytest.raises(httpx.TransportError):
        anyio.run(main)
    assert len(asked) == 1


class Reversing(JournalValueCodec):
    def encode(self, value: bytes) -> bytes:
        return b"!" + value[::-1]

    async def decode(self, value: bytes) -> bytes:
        await anyio.lowlevel.checkpoint()
        return value[:0:-1]


def test_a_codec_stands_between_serdes_and_wire() -> None:
    ingress = FakeIngress(content=b'!"olleh"')
    assert ask(ingress, lambda client: client.service_call(greet, "you"), journal_value_codec=Reversing()) == "hello"
    assert ingress.asked[0].content == b'!"uoy"'
    ingress = FakeIngress(202, {"invocationId": "inv_1x"})
    handle = ask(ingress, lambda client: client.service_send(greet, "you"), journal_value_codec=Reversing())
    assert (handle.invocation_id, ingress.asked[0].content) == ("inv_1x", b'!"uoy"')
    ingress = FakeIngress(content=b"!")
    assert ask(ingress, lambda client: client.service_call(ping, None), journal_value_codec=Reversing()) is None
    assert ingress.asked[0].content == b"", "a handler that takes nothing is sent nothing"
    ingress = FakeIngress(content=b'!"olleh"')
    codec = Reversing()
    assert ask(ingress, lambda client: client.attach("inv_1x"), journal_value_codec=codec) == "hello"
    assert ask(ingress, lambda client: client.output("inv_1x"), journal_value_codec=codec).value == "hello"
    ask(ingress, lambda client: client.resolve_awakeable("sign_1x", "you"), journal_value_codec=codec)
    assert ingress.asked[-1].content == b'!"uoy"'


async def attached(client: Client) -> Any:
    handle = await client.object_send(add, "k", 1)
    return await client.attach(handle)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_result_of_a_send_is_attached_to(backend: str) -> None:
    answers = {"/below/Counter/k/add/send": {"invocationId": "inv_1x"}, "/below/restate/invocation/inv_1x/attach": 7}

    class Ingress(FakeIngress):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            self.content = json.dumps(answers[request.url.raw_path.decode()]).encode()
            return super().__call__(request)

    ingress = Ingress()
    assert ask(ingress, attached, backend) == 7
    assert [request.method for request in ingress.asked] == ["POST", "GET"]


TARGETS: list[tuple[Callable[[Client], Any], dict[str, str]]] = [
    (
        lambda client: client.idempotent(greet, "once/twice"),
        {"target": "idempotentInvocation", "service": "Greeter", "handler": "greet", "idempotencyKey": "once/twice"},
    ),
    (
        lambda client: client.idempotent(add, "once", key="k"),
        {
            "target": "idempotentInvocation",
            "service": "Counter",
            "handler": "add",
            "key": "k",
            "idempotencyKey": "once",
        },
    ),
    (
        lambda client: client.workflow_run(run, "w"),
        {"target": "workflow", "workflowName": "Flow", "workflowKey": "w"},
    ),
]


@pytest.mark.parametrize("what", ["attach", "output"])
@pytest.mark.parametrize(("target", "body"), TARGETS)
def test_an_invocation_is_named_by_what_it_was_called_with(
    target: Callable[[Client], Any], body: dict[str, str], what: str
) -> None:
    ingress = FakeIngress(value=7)
    value = ask(ingress, lambda client: getattr(client, what)(target(client)))
    assert value == (7 if what == "attach" else ClientOutput(True, 7))
    assert (ingress.asked[0].method, ingress.target) == ("POST", f"/below/restate/{what}")
    assert json.loads(ingress.asked[0].content) == body


def test_output_that_is_not_ready_is_no_error_and_what_is_not_known_is() -> None:
    ingress = FakeIngress(470, {"message": "not ready"})
    assert ask(ingress, lambda client: client.output("inv_1x")) == ClientOutput(False)
    assert ingress.target == "/below/restate/invocation/inv_1x/output"
    for method in ("attach", "output"):
        with pytest.raises(HttpError, match="HTTP 404: not found"):
            ask(FakeIngress(404, {"message": "not found"}), lambda client, name=method: getattr(client, name)("inv_1x"))  # type: ignore[misc]


def test_what_is_attached_to_by_its_id_is_read_by_a_hint() -> None:
    assert ask(FakeIngress(value=[1]), lambda client: client.attach("inv_1x", type_hint=tuple[int, ...])) == (1,)
    assert ask(FakeIngress(value=[1]), lambda client: client.attach("inv_1x")) == [1]
    raw = ask(FakeIngress(content=b"\x00"), lambda client: client.output("inv_1x", serde=BytesSerde()))
    assert raw == ClientOutput(True, b"\x00")


def test_awakeables_are_completed_from_outside() -> None:
    ingress = FakeIngress(202, content=b"")
    ask(ingress, lambda client: client.resolve_awakeable("sign_1x", {"a": 1}))
    assert (ingress.asked[-1].method, ingress.target) == ("POST", "/below/restate/awakeables/sign_1x/resolve")
    assert (ingress.asked[-1].content, ingress.sent["content-type"]) == (b'{"a": 1}', "application/json")
    ask(ingress, lambda client: client.reject_awakeable("sign_1x", "no"))
    assert (ingress.asked[-1].content, ingress.target) == (b"no", "/below/restate/awakeables/sign_1x/reject")


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (lambda client: client.attach(""), "needs the id"),
        (lambda client: client.attach(client.idempotent(greet, "")), "empty idempotency key"),
        (lambda client: client.attach(client.idempotent(add, "once")), "Counter has a key"),
        (lambda client: client.attach(client.workflow_run(add, "k")), "not the main handler"),
    ],
)
def test_what_names_no_invocation_is_not_asked_for(use: Callable[[Client], Awaitable[Any]], said: str) -> None:
    test_what_cannot_be_called_is_not_asked_for(use, said)


def test_without_httpx_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(ImportError, match=r"understudy\[client\]"):
        ask(FakeIngress(), lambda client: client.service_call(greet, "you"))


def test_httpx_is_imported_when_a_client_is_made() -> None:
    code = (
        "import sys, understudy; assert not {'httpx', 'trio', 'cryptography'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
