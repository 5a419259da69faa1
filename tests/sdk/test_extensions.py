"""The current context, data tied to it, loggers that are silent during replay, and what is the SDK's own exception."""

from __future__ import annotations

import gc
import logging as stdlib_logging
import weakref
from datetime import timedelta
from typing import Any

import anyio
import anyio.to_thread
import pytest
from understudy import Context, ObjectContext, TerminalError, current_context, getLogger, is_internal_exception
from understudy.exceptions import RetryableError
from understudy.extensions import clear_extension_data, get_extension_data, set_extension_data
from understudy.protocol.messages import MessageType as T

from tests.sdk.fakes import FakeLink, completed, start
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
