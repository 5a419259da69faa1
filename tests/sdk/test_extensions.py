"""The current context, data tied to it, loggers that are silent during replay, and what is the SDK's own exception."""

from __future__ import annotations

import gc
import logging as stdlib_logging
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import anyio.to_thread
import pytest
from understudy import (
    Context,
    ObjectContext,
    TerminalError,
    VirtualObject,
    app,
    current_context,
    getLogger,
    is_internal_exception,
)
from understudy.exceptions import RetryableError
from understudy.extensions import clear_extension_data, contextvar, get_extension_data, set_extension_data
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MessageType as T

from tests.sdk.fakes import FakeHost, FakeLink, completed, start
from tests.sdk.playing import output, play


async def test_the_context_of_a_handler_is_current_until_it_ends() -> None:
    assert current_context() is None
    seen: list[Any] = []

    async def handle(ctx: ObjectContext) -> bool:
        async def step() -> bool:
            return current_context() is ctx

        seen.append(current_context() is ctx)
        return await ctx.run_typed("step", step)

    assert output(await play(handle)) is True
    assert seen == [True]
    assert current_context() is None


async def test_each_attempt_has_its_own() -> None:
    async def handle(ctx: ObjectContext) -> bool:
        await ctx.sleep(timedelta(hours=1))
        return current_context() is ctx

    links: list[FakeLink] = []

    async def one() -> None:
        links.append(await play(handle, *start(b""), completed(T.SLEEP_COMPLETION, 1)))

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(one)
    assert [output(link) for link in links] == [True] * 3


async def test_nothing_keeps_a_context_that_is_over() -> None:
    kept: list[weakref.ref[Context]] = []

    async def handle(ctx: ObjectContext) -> None:
        kept.append(weakref.ref(ctx))

    gc.disable()
    try:
        await play(handle)
        assert kept[0]() is None, "without a collection"
    finally:
        gc.enable()


async def test_extension_data_live_as_long_as_the_attempt() -> None:
    seen: list[Any] = []

    async def handle(ctx: ObjectContext) -> None:
        seen.append(get_extension_data(ctx, "a"))
        clear_extension_data(ctx, "a")
        set_extension_data(ctx, "a", 1)
        set_extension_data(ctx, "b", 2)
        clear_extension_data(ctx, "a")
        seen.append((get_extension_data(ctx, "a"), get_extension_data(ctx, "b")))

    await play(handle)
    await play(handle)
    assert seen == [None, (None, 2)] * 2


async def test_a_logger_is_silent_during_replay(caplog: pytest.LogCaptureFixture) -> None:
    logger = getLogger("tests.replay")
    assert getLogger("tests.replay") is logger
    assert len(logger.filters) == 1

    async def handle(ctx: ObjectContext) -> None:
        logger.warning("before")
        await ctx.sleep(timedelta(hours=1))
        logger.warning("between")
        await ctx.sleep(timedelta(hours=1))
        logger.warning("after")

    link = FakeLink(*start(b""))
    link.close()
    with caplog.at_level(stdlib_logging.INFO):
        logger.warning("outside")
        await play(handle, link=link)
        journal = [link.sent[0], completed(T.SLEEP_COMPLETION, 1)]
        second = FakeLink(*start(b"", *journal))
        second.close()
        await play(handle, link=second)
    assert caplog.messages == ["outside", "before", "between"]


async def test_what_ends_an_attempt_is_internal() -> None:
    seen: list[BaseException] = []

    async def handle(ctx: ObjectContext) -> None:
        try:
            await ctx.sleep(timedelta(hours=1))
        except BaseException as error:
            seen.append(error)
            raise

    link = FakeLink(*start(b""))
    link.close()
    await play(handle, link=link)
    assert [is_internal_exception(error) for error in seen] == [True]
    others = (TerminalError("x"), RetryableError("x"), KeyboardInterrupt())
    assert not any(is_internal_exception(error) for error in others)


class Closing:
    """Something that is closed with the attempt, in the one way or the other."""

    def __init__(self, log: list[str], name: str, *, waits: bool = False, fails: bool = False) -> None:
        self._log, self._name, self._waits, self._fails = log, name, waits, fails

    def __close__(self) -> Any:
        return self._later() if self._waits else self._now()

    def _now(self) -> None:
        self._log.append(self._name)
        if self._fails:
            raise OSError("gone")

    async def _later(self) -> None:
        await anyio.lowlevel.checkpoint()
        self._now()


@pytest.mark.parametrize("suspends", [False, True])
async def test_extension_data_are_closed_with_the_attempt_newest_first(suspends: bool) -> None:
    log: list[str] = []

    async def handle(ctx: ObjectContext) -> None:
        set_extension_data(ctx, "first", Closing(log, "first", waits=True))
        set_extension_data(ctx, "plain", 1)
        set_extension_data(ctx, "second", Closing(log, "second", fails=True))
        if suspends:
            await ctx.sleep(timedelta(hours=1))
        log.append("handler")

    host, link = FakeHost(), FakeLink(*start(b""))
    link.close()
    await play(handle, link=link, host=host)
    assert log == (["second", "first"] if suspends else ["handler", "second", "first"])
    assert [kind for kind, _, _ in host.hazards] == ["unclosed"], "of closing, the failure alone is told"
    assert link.types()[-1] is (T.SUSPENSION if suspends else T.END)


@contextvar
@asynccontextmanager
async def connection() -> AsyncIterator[str]:
    await anyio.lowlevel.checkpoint()
    yield "connected"


async def test_context_managers_surround_each_attempt_the_services_first() -> None:
    log: list[str] = []

    def noting(name: str) -> Any:
        @asynccontextmanager
        async def manager() -> AsyncIterator[None]:
            await anyio.lowlevel.checkpoint()
            log.append(f"+{name}")
            try:
                yield
            finally:
                await anyio.lowlevel.checkpoint()
                log.append(f"-{name}")

        return manager

    service = VirtualObject("S", invocation_context_managers=[noting("service"), connection])

    @service.handler(invocation_context_managers=[noting("handler")])
    async def handle(ctx: ObjectContext) -> str:
        log.append(f"{connection.value} {current_context() is ctx}")
        await ctx.sleep(timedelta(hours=1))
        return connection.value

    seen: list[list[str]] = []
    for journal in ((), (sleep_command(), completed(T.SLEEP_COMPLETION, 1))):
        link, host = FakeLink(*start(b"", *journal)), FakeHost()
        link.close()
        await app([service]).attempt(service="S", handler="handle", version=6, link=link, host=host)
        assert host.hazards == [], "what a context manager waits for is no step"
        seen.append([*log, link.types()[-1].name])
        log.clear()
    around = ["+service", "+handler", "connected True", "-handler", "-service"]
    assert seen == [[*around, "SUSPENSION"], [*around, "END"]]
    with pytest.raises(LookupError, match="connection has a value only inside"):
        _ = connection.value


def sleep_command() -> Frame:
    return Frame(T.SLEEP, pb.SleepCommand(wake_up_time=5, result_completion_id=1).SerializeToString())
