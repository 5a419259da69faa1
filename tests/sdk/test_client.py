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
from understudy import Client, Context, HttpError, ObjectContext, Service, VirtualObject, Workflow, create_client
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


def test_without_httpx_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(ImportError, match=r"understudy\[client\]"):
        ask(FakeIngress(), lambda client: client.service_call(greet, "you"))


def test_httpx_is_imported_when_a_client_is_made() -> None:
    code = (
        "import sys, understudy; assert not {'httpx', 'trio', 'cryptography'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
