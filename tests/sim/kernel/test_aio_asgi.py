"""Any asyncio ASGI application in a simulated process, asked by others in theirs: no endpoint, no product word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import trio
from understudy_runtime.front import asgi_server
from understudy_runtime.limits import Limits
from understudy_sim.kernel import aio_asgi
from understudy_sim.kernel.aio_loop import open_loop
from understudy_sim.kernel.choices import SeededChoices
from understudy_sim.kernel.kernel import Kernel
from understudy_sim.stage.silence import silent

App = Callable[[Any, Any, Any], Awaitable[None]]


async def shout(scope: Any, receive: Any, send: Any) -> None:
    """Answer each part of the request as it comes, a second late and in capitals."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        part = await receive()
        more = part.get("more_body", False)
        await asyncio.sleep(1)
        await send({"type": "http.response.body", "body": part.get("body", b"").upper(), "more_body": more})


def serve(kernel: Kernel, app: App) -> list[str]:
    """Serve *app* at port 80 of the process "app"; what leaves it is in the list."""
    raised: list[str] = []

    async def hosted() -> None:
        async with open_loop(kernel) as loop:

            async def answered(scope: Any, receive: Any, send: Any) -> None:
                await aio_asgi.call(loop, app, scope, receive, send)

            server = asgi_server(answered, Limits(), report=lambda error: raised.append(str(error)))
            await server.serve(kernel.network.listen(kernel.process("app"), 80))

    kernel.process("app").start(hosted)
    return raised


def asked(app: App, main: Callable[[], Awaitable[Any]], *, crash_after_s: float | None = None) -> tuple[Any, Any]:
    """What *main*, in a process of its own, gets of *app*, and what left *app*."""
    with silent():  # The world is gone when it ends, and with it all who complain.
        return in_a_world(app, main, crash_after_s)


def in_a_world(app: App, main: Callable[[], Awaitable[Any]], crash_after_s: float | None) -> tuple[Any, Any]:
    results: list[Any] = []

    async def client() -> None:
        async with open_loop(kernel) as loop:
            try:
                results.append(await loop.run_aio_coroutine(main()))
            except Exception as error:
                results.append(type(error))  # Not itself: its traceback would keep the world.

    async def scenario() -> None:
        raised = serve(kernel, app)
        await trio.sleep(1)
        kernel.process("client").start(client)
        if crash_after_s is not None:
            await trio.sleep(crash_after_s)
            kernel.process("app").crash()
        await trio.sleep(60)
        results.append(list(raised))  # Now: the dead have nothing to add.

    with Kernel(SeededChoices(5)) as kernel:
        kernel.run(scenario).value()
    result, raised = results
    return result, raised


async def post() -> tuple[int, str, float]:
    async def body() -> AsyncIterator[bytes]:
        for word in (b"one ", b"two ", b"three"):
            yield word

    began = asyncio.get_running_loop().time()
    async with httpx.AsyncClient(base_url="http://app", trust_env=False, timeout=20) as http:
        answer = await http.post("/", content=body())
    return answer.status_code, answer.text, asyncio.get_running_loop().time() - began


def test_a_request_and_its_answer_cross_both_ways_at_once() -> None:
    (status, text, took), raised = asked(shout, post)
    assert (status, text) == (200, "ONE TWO THREE")
    assert 1 <= took < 10
    assert not raised


def test_what_an_application_raises_is_reported_and_answered_with_500() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError("no such page")

    (status, _, _), raised = asked(broken, post)
    assert status == 500
    assert raised == ["no such page"]


def test_a_power_cut_breaks_the_answer_off() -> None:
    result, raised = asked(shout, post, crash_after_s=0.9)
    assert issubclass(result, httpx.HTTPError)
    assert not raised


def test_an_application_is_told_of_a_client_that_went_away() -> None:
    seen: list[str] = []

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            seen.append(message["type"])
            if message["type"] == "http.disconnect":
                return

    async def gives_up() -> str:
        async with httpx.AsyncClient(base_url="http://app", trust_env=False, timeout=3) as http:
            try:
                await http.get("/")
            except httpx.TimeoutException as error:
                return type(error).__name__
        return "answered"

    result, _ = asked(waits, gives_up)
    assert result == "ReadTimeout"
    assert seen[-1] == "http.disconnect"
