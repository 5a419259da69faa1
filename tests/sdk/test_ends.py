"""What becomes of an attempt when its handler returns, raises, or is called wrongly."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from understudy import (
    Context,
    InvocationRetryPolicy,
    ObjectContext,
    RetryableError,
    Serde,
    Service,
    TerminalError,
    VirtualObject,
    app,
)
from understudy.endpoint import NotFound
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MessageType as T

from tests.sdk.fakes import FakeHost, FakeLink, start
from tests.sdk.playing import failure, play

other = VirtualObject("Other")


@dataclass
class Seat:
    row: int


@other.handler()
async def reserve(ctx: ObjectContext, seat: Seat) -> Seat:
    return seat


@other.handler()
async def nothing(ctx: ObjectContext) -> None: ...


# -- how handlers end --


@pytest.mark.parametrize(
    ("error", "ends", "says"),
    [
        (TerminalError("no", 422), T.END, (422, "no")),
        (ExceptionGroup("g", [TerminalError("no", 422)]), T.END, (422, "no")),
        (ExceptionGroup("g", [TerminalError("no", 422), ValueError("x")]), T.ERROR, (500, "ValueError('x')")),
        (ValueError("x"), T.ERROR, (500, "ValueError('x')")),
        (RetryableError("later", retry_after=timedelta(seconds=1)), T.ERROR, (500, "later")),
    ],
)
async def test_what_a_handlers_exception_becomes(error: Exception, ends: T, says: tuple[int, str]) -> None:
    async def handler(ctx: Context) -> None:
        raise error

    link = await play(handler)
    assert link.types()[-1] is ends
    if ends is T.END:
        assert failure(link) == says
    else:
        message = pb.Error.FromString(link.sent[-1].payload)
        assert (message.code, message.message) == says
        assert "Traceback" in message.stacktrace
        assert "test_ends.py" in message.stacktrace
        assert "api/door.py" not in message.stacktrace


class Mute(Exception):
    """Nobody can say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


HALF = "caf\udce9"  # As file names come that are not UTF-8.
ANYTHING: Any = 1


@pytest.mark.parametrize("in_run", [False, True])
@pytest.mark.parametrize(
    "error",
    [
        ValueError(HALF),
        Mute(),
        RetryableError(HALF),
        RetryableError("x", retry_after=timedelta(seconds=-1)),
        RetryableError("x", retry_after=timedelta.max),
        RetryableError("x", status_code=-1),
        TerminalError(HALF),
        TerminalError("x", -1),
        TerminalError("x", 2**40),
        TerminalError(ANYTHING),
        TerminalError("x", 422, {HALF: HALF}),
        TerminalError("x", 422, {"k": ANYTHING}),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_a_handler_raises_becomes_a_last_message(error: Exception, in_run: bool) -> None:
    """It must not pass through the door: in process it would end the server, and again after every restart."""

    async def handler(ctx: Context) -> None:
        def fail() -> None:
            raise error

        if in_run:
            await ctx.run("step", fail)
        fail()

    link = await play(handler)
    assert link.types()[-1] is (T.END if isinstance(error, TerminalError) else T.ERROR)


async def test_a_serde_that_makes_no_bytes_fails_the_attempt() -> None:
    class Wrong(Serde[Any]):
        def serialize(self, value: Any) -> Any:
            return "text"

        def deserialize(self, data: bytes) -> Any:
            return None

    thing = VirtualObject("Wrong")

    @thing.handler(output_serde=Wrong())
    async def handle(ctx: ObjectContext) -> int:
        return 1

    link = FakeLink(*start())
    await app([thing]).attempt(service="Wrong", handler="handle", version=6, link=link, host=FakeHost())
    assert link.types()[-1] is T.ERROR


async def test_a_cause_that_is_terminal_is_terminal() -> None:
    async def handler(ctx: Context) -> None:
        raise ValueError("wrapped") from TerminalError("no", 422)

    assert failure(await play(handler)) == (422, "no")


async def test_an_argument_that_cannot_be_read_is_the_callers_fault() -> None:
    link = FakeLink(*start(b'{"row": "not a number"'))
    await app([other]).attempt(service="Other", handler="reserve", version=6, link=link, host=FakeHost())
    code, message = failure(link)
    assert code == 500
    assert message.startswith("Unable to parse an input argument. Other/reserve")


async def test_state_that_cannot_be_read_is_tried_again() -> None:
    async def handler(ctx: ObjectContext) -> None:
        value = ctx.get("seat", type_hint=Seat)
        for _ in range(2):
            with pytest.raises(json.JSONDecodeError):
                await value
        await value

    frames = start()
    message = pb.Start.FromString(frames[0].payload)
    message.state_map.add(key=b"seat", value=b"{")
    link = await play(handler, Frame(T.START, message.SerializeToString()), frames[1])
    assert link.types()[-1] is T.ERROR


async def test_context_managers_surround_each_attempt() -> None:
    seen: list[str] = []

    def around(name: str) -> Callable[[], Any]:
        @asynccontextmanager
        async def manager() -> Any:
            seen.append(f"enter {name}")
            yield
            seen.append(f"exit {name}")

        return manager

    service = Service("S", invocation_context_managers=[around("service")])

    @service.handler(
        invocation_context_managers=[around("handler")], invocation_retry_policy=InvocationRetryPolicy(max_attempts=1)
    )
    async def work(ctx: Context) -> None:
        seen.append("work")

    link = FakeLink(*start())
    await app([service]).attempt(service="S", handler="work", version=6, link=link, host=FakeHost())
    assert seen == ["enter service", "enter handler", "work", "exit handler", "exit service"]


async def test_an_undecorated_function_cannot_be_called() -> None:
    async def plain(ctx: Context) -> None: ...

    async def handler(ctx: Context) -> None:
        with pytest.raises(ValueError, match="is not a handler"):
            ctx.service_call(plain, None)

    await play(handler)


@pytest.mark.parametrize("names", [("Nobody", "reserve"), ("Other", "nobody")])
async def test_unknown_handlers_are_refused_before_anything_is_read(names: tuple[str, str]) -> None:
    link = FakeLink()
    with pytest.raises(NotFound):
        await app([other]).attempt(service=names[0], handler=names[1], version=6, link=link, host=FakeHost())
    with pytest.raises(ValueError, match="version 7 is not spoken"):
        await app([other]).attempt(service="Other", handler="reserve", version=7, link=link, host=FakeHost())
