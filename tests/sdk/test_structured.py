"""Structured concurrency: each of the four ends of an attempt, in each shape of handler, under trio and asyncio.

The shapes wait for a sleep that never completes and clean up with a journaled step.  A cancel that is durable lets the
cleanup be journaled; every other end lets nothing be journaled after it, and no task of the attempt survives.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import sys
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final

import anyio
import anyio.lowlevel
import pytest
import trio
from understudy import App, Context, Service, TerminalError, app, gather, select
from understudy.api.attempt import HAZARD_LOCAL_TIMEOUT, HAZARD_SWALLOWED_END
from understudy.api.regions import REGION
from understudy.protocol import service_pb2 as pb
from understudy.protocol.messages import MessageType as T
from understudy.vm import AttemptAborted, AttemptEnded

from tests.sdk.fakes import FakeHost, FakeLink, cancel_signal, start

HOUR = timedelta(hours=1)
BACKENDS = ("trio", "asyncio")


class Ledger:
    """What handler code did that no journal shows."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.tasks_running = 0
        self.release = anyio.Event()

    @asynccontextmanager
    async def task(self) -> AsyncIterator[None]:
        self.tasks_running += 1
        try:
            yield
        finally:
            self.tasks_running -= 1


async def cleanup(ctx: Context, ledger: Ledger) -> None:
    """Compensation: a step, and a note of how it went."""
    try:
        await ctx.run_typed("cleanup", lambda: "undone")
    except AttemptEnded as end:
        ledger.lines.append(type(end).__name__)
        raise
    ledger.lines.append("cleaned up")


async def in_nursery(ctx: Context, ledger: Ledger) -> None:
    async def child() -> None:
        async with ledger.task():
            await anyio.sleep_forever()

    try:
        if current_backend() == "trio":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child)
                await ctx.sleep(HOUR)
        else:
            async with asyncio.TaskGroup() as group:
                group.create_task(child())
                await ctx.sleep(HOUR)
    except* TerminalError:
        ledger.lines.append("terminal")
        await cleanup(ctx, ledger)
        raise


async def in_try_finally(ctx: Context, ledger: Ledger) -> None:
    try:
        await ctx.sleep(HOUR)
    except TerminalError:
        ledger.lines.append("terminal")
        raise
    finally:
        await cleanup(ctx, ledger)


async def in_async_with(ctx: Context, ledger: Ledger) -> None:
    class Resource:
        async def __aenter__(self) -> None:
            return None

        async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
            if kind is not None and issubclass(kind, TerminalError):
                ledger.lines.append("terminal")
            await cleanup(ctx, ledger)

    async with Resource():
        await ctx.sleep(HOUR)


async def in_gather(ctx: Context, ledger: Ledger) -> None:
    async def slow() -> str:
        async with ledger.task():
            await ledger.release.wait()
        return "done"

    try:
        await gather(ctx.sleep(HOUR), ctx.run_typed("slow", slow))
    except TerminalError:
        ledger.lines.append("terminal")
        raise
    finally:
        await cleanup(ctx, ledger)


SHAPES: Final = MappingProxyType(
    {"nursery": in_nursery, "finally": in_try_finally, "async with": in_async_with, "gather": in_gather}
)


def current_backend() -> str:
    import sniffio

    return sniffio.current_async_library()


class Stage:
    """One attempt of one shape, with its link, host and ledger."""

    def __init__(self, shape: str, host: FakeHost) -> None:
        self.ledger = Ledger()
        self.link = FakeLink(*start())
        self.host = host
        service = Service("S")

        @service.handler()
        async def handle(ctx: Context) -> str:
            await SHAPES[shape](ctx, self.ledger)
            return "finished"

        self.app: App = app([service])

    async def attempt(self) -> None:
        await self.app.attempt(service="S", handler="handle", version=6, link=self.link, host=self.host)

    def names_of_runs(self) -> list[str]:
        return [pb.RunCommand.FromString(frame.payload).name for frame in self.link.sent if frame.type == T.RUN]

    def hazard_kinds(self) -> list[str]:
        return [kind for kind, _, _ in self.host.hazards]


async def settle() -> None:
    """Let everything that can run, run."""
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


def run(backend: str, main: Callable[[], Awaitable[None]]) -> None:
    anyio.run(main, backend=backend)


# -- the four ends --


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_durable_cancel_is_a_terminal_error_and_lets_the_handler_clean_up(shape: str, backend: str) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            stage = Stage(shape, FakeHost(tasks))
            tasks.start_soon(stage.attempt)
            await settle()
            stage.link.push(cancel_signal())
            await settle()
            assert stage.ledger.lines == ["terminal", "cleaned up"]
            assert stage.names_of_runs()[-1] == "cleanup"
            assert stage.link.types()[-2:] == [T.OUTPUT, T.END]
            output = pb.OutputCommand.FromString(stage.link.sent[-2].payload)
            assert (output.failure.code, output.failure.message) == (409, "cancelled")
            assert stage.ledger.tasks_running == 0
            assert HAZARD_LOCAL_TIMEOUT not in stage.hazard_kinds()

    run(backend, main)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_suspension_journals_nothing_more(shape: str, backend: str) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            stage = Stage(shape, FakeHost(tasks))
            tasks.start_soon(stage.attempt)
            await settle()
            stage.ledger.release.set()  # A run that executes is waited for before the attempt suspends.
            stage.link.close()
            await settle()
            assert stage.link.types()[-1] is T.SUSPENSION
            assert "cleanup" not in stage.names_of_runs()
            assert "terminal" not in stage.ledger.lines
            assert set(stage.ledger.lines) <= {"AttemptSuspended"}
            assert stage.ledger.tasks_running == 0
            assert HAZARD_SWALLOWED_END not in stage.hazard_kinds()

    run(backend, main)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_lost_link_journals_nothing_more(shape: str, backend: str) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            stage = Stage(shape, FakeHost(tasks))
            tasks.start_soon(stage.attempt)
            await settle()
            said = list(stage.link.sent)
            stage.link.lose()
            await settle()
            assert stage.link.sent == said
            assert set(stage.ledger.lines) <= {"AttemptAborted"}
            assert stage.ledger.tasks_running == 0

    run(backend, main)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_cancellation_from_outside_aborts_and_is_never_terminal(shape: str, backend: str) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            stage = Stage(shape, FakeHost(tasks))
            ends: list[str] = []
            await cancel_from_outside(backend, stage, ends)
            assert ends == ["cancelled"]
            assert "terminal" not in stage.ledger.lines
            assert set(stage.ledger.lines) <= {"AttemptAborted"}
            assert stage.ledger.tasks_running == 0
            assert HAZARD_LOCAL_TIMEOUT not in stage.hazard_kinds()

    run(backend, main)


async def cancel_from_outside(backend: str, stage: Stage, ends: list[str]) -> None:
    """Start the attempt in a task of the scheduler itself, cancel that task, and check that nothing was said after."""
    if backend == "asyncio":
        task = asyncio.ensure_future(stage.attempt())
        await settle()
        said = list(stage.link.sent)
        task.cancel()
        await settle()
        ends.append("cancelled" if task.cancelled() else repr(task))
    else:
        async with trio.open_nursery() as nursery:

            async def attempt() -> None:
                try:
                    await stage.attempt()
                except BaseException as error:
                    ends.append("cancelled" if isinstance(error, trio.Cancelled) else repr(error))
                    raise

            nursery.start_soon(attempt)
            await settle()
            said = list(stage.link.sent)
            nursery.cancel_scope.cancel()
    assert T.SLEEP in [frame.type for frame in said]
    assert stage.link.sent == said


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_crash_runs_nothing(shape: str, backend: str) -> None:
    """The process dies for real, in the middle of the wait: a fork of this one says what it saw and exits at once."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside an idle worker thread
        child = os.fork()
    if child == 0:
        status = 1
        try:
            run(backend, lambda: crash_in_the_middle(shape, writing))
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        seen = json.loads(pipe.read())
    assert os.waitpid(child, 0)[1] != 0
    assert seen["lines"] == []
    assert T.SLEEP in seen["said"]
    assert not {T.OUTPUT, T.END, T.ERROR, T.SUSPENSION} & set(seen["said"])


async def crash_in_the_middle(shape: str, pipe: int) -> None:
    async with anyio.create_task_group() as tasks:
        stage = Stage(shape, FakeHost(tasks))
        tasks.start_soon(stage.attempt)
        await settle()
        said = [int(frame.type) for frame in stage.link.sent]
        os.write(pipe, json.dumps({"lines": stage.ledger.lines, "said": said}).encode())
        os._exit(9)


@pytest.mark.parametrize("shape", ["finally", "async with"])
async def test_a_coroutine_thrown_away_says_nothing(shape: str) -> None:
    """What is left of a dead process is closed long after, from some other context: cleanup code runs into a wall."""
    stage = Stage(shape, FakeHost())
    attempt = stage.attempt()
    contextvars.copy_context().run(attempt.send, None)
    said = list(stage.link.sent)
    assert [frame.type for frame in said] == [T.SLEEP]
    contextvars.copy_context().run(attempt.close)
    assert stage.link.sent == said
    assert stage.ledger.lines == ["AttemptAborted"]
    assert REGION.get() is None


# -- what is told about misuse --


def build(handler: Callable[[Context], Awaitable[Any]]) -> App:
    service = Service("S")

    @service.handler("handle")
    async def handle(ctx: Context) -> Any:
        return await handler(ctx)

    return app([service])


async def attempt_of(handler: Callable[[Context], Awaitable[Any]], link: FakeLink, host: FakeHost) -> None:
    await build(handler).attempt(service="S", handler="handle", version=6, link=link, host=host)


def error_of(link: FakeLink) -> pb.Error:
    assert link.types()[-1] is T.ERROR
    return pb.Error.FromString(link.sent[-1].payload)


def here() -> int:
    """The caller's line."""
    return sys._getframe(1).f_lineno


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_child_task_may_not_use_the_context_and_both_places_are_named(backend: str) -> None:
    lines: list[int] = []

    async def handler(ctx: Context) -> None:
        async def child() -> None:
            lines.append(here() + 1)
            await ctx.sleep(HOUR)

        async with anyio.create_task_group() as group:
            group.start_soon(child)
            lines.append(here() + 1)
            await ctx.sleep(HOUR)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            link = FakeLink(*start())
            await attempt_of(handler, link, FakeHost(tasks))
            error = error_of(link)
            assert error.code == 500
            assert "ContextMisuse" in error.message
            for line in lines:
                assert f"test_structured.py:{line} in" in error.message
            assert len(lines) == 2

    run(backend, main)


async def test_steps_do_not_nest() -> None:
    async def handler(ctx: Context) -> None:
        async def inner() -> None:
            await ctx.sleep(HOUR)

        await ctx.run_typed("outer", inner)

    link = FakeLink(*start())
    await attempt_of(handler, link, FakeHost())
    assert "Steps do not nest" in error_of(link).message


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_worker_thread_may_not_use_the_context(backend: str) -> None:
    class ThreadHost(FakeHost):
        async def run_sync(self, function: Callable[[], Any]) -> Any:
            return await anyio.to_thread.run_sync(function)

    async def handler(ctx: Context) -> None:
        await ctx.run_typed("outer", lambda: ctx.sleep(HOUR))

    async def main() -> None:
        link = FakeLink(*start())
        await attempt_of(handler, link, ThreadHost())
        assert "Steps do not nest" in error_of(link).message

    run(backend, main)


async def trio_fail_after(ctx: Context) -> None:
    with trio.fail_after(0):
        await ctx.sleep(HOUR)


async def anyio_move_on_after(ctx: Context) -> None:
    with anyio.move_on_after(0):
        await ctx.sleep(HOUR)
    await ctx.run_typed("after", lambda: 1)


async def asyncio_timeout(ctx: Context) -> None:
    async with asyncio.timeout(0):
        await ctx.sleep(HOUR)


async def asyncio_wait_for(ctx: Context) -> None:
    async with asyncio.timeout(0):
        await ctx.run_typed("slow", anyio.sleep_forever)


@pytest.mark.parametrize(
    ("backend", "handler", "line_of_await"),
    [
        ("trio", trio_fail_after, 2),
        ("trio", anyio_move_on_after, 2),
        ("asyncio", anyio_move_on_after, 2),
        ("asyncio", asyncio_timeout, 2),
        ("asyncio", asyncio_wait_for, 2),
    ],
)
def test_a_local_timeout_around_a_durable_await_is_a_hazard_and_fails_the_attempt(
    backend: str, handler: Callable[[Context], Awaitable[None]], line_of_await: int
) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            link, host = FakeLink(*start()), FakeHost(tasks)
            await attempt_of(handler, link, host)
            assert "local timeout" in error_of(link).message
            line = handler.__code__.co_firstlineno + line_of_await
            assert (HAZARD_LOCAL_TIMEOUT, __file__, line) in host.hazards

    run(backend, main)


async def test_a_timeout_that_does_not_fire_is_a_hazard_too() -> None:
    async def handler(ctx: Context) -> str:
        with trio.fail_after(3600):
            await ctx.sleep(HOUR)
        return "in time"

    link, host = FakeLink(*start()), FakeHost()
    link.on_send = lambda frame: link.close() if frame.type == T.SLEEP else None
    await attempt_of(handler, link, host)
    assert [kind for kind, _, _ in host.hazards] == [HAZARD_LOCAL_TIMEOUT]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_foreign_await_is_reported_with_file_and_line_and_once(backend: str) -> None:
    lines: list[int] = []

    async def nested() -> None:
        lines.append(here() + 1)
        await anyio.lowlevel.checkpoint()

    async def handler(ctx: Context) -> str:
        await ctx.run_typed("fine", nested)
        for _ in range(3):
            await nested()
        return "done"

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            link, host = FakeLink(*start()), FakeHost(tasks)
            await attempt_of(handler, link, host)
            assert host.hazards == [("foreign-await", __file__, lines[0])]
            assert link.types()[-1] is T.END

    run(backend, main)


async def test_awaits_of_our_own_are_no_hazard() -> None:
    async def handler(ctx: Context) -> str:
        async def slow() -> str:
            await trio.lowlevel.checkpoint()
            return "x"

        await gather(ctx.run_typed("a", slow), ctx.run_typed("b", slow))
        await select(c=ctx.run_typed("c", slow), d=ctx.sleep(HOUR))
        return await ctx.run_typed("e", slow)

    async with anyio.create_task_group() as tasks:
        link, host = FakeLink(*start()), FakeHost(tasks)
        await attempt_of(handler, link, host)
        assert host.hazards == []
        assert link.types()[-1] is T.END


async def test_a_handler_that_catches_its_own_end_is_reported_and_not_heard() -> None:
    async def handler(ctx: Context) -> str:
        with suppress(BaseException):
            await ctx.sleep(HOUR)
        return "as if nothing had happened"

    link, host = FakeLink(*start()), FakeHost()
    link.close()
    await attempt_of(handler, link, host)
    assert link.types() == [T.SLEEP, T.SUSPENSION]
    assert [kind for kind, _, _ in host.hazards] == [HAZARD_SWALLOWED_END]


async def test_a_context_kept_after_the_end_refuses() -> None:
    kept: list[Context] = []

    async def handler(ctx: Context) -> None:
        kept.append(ctx)

    link = FakeLink(*start())
    await attempt_of(handler, link, FakeHost())
    with pytest.raises(AttemptEnded, match="has finished"):
        kept[0].sleep(HOUR)
    assert link.types() == [T.OUTPUT, T.END]


async def test_the_finished_event_is_set_at_the_end() -> None:
    events: list[anyio.Event] = []

    async def handler(ctx: Context) -> None:
        events.append(ctx.request().attempt_finished_event)
        assert not events[0].is_set()

    await attempt_of(handler, FakeLink(*start()), FakeHost())
    assert events[0].is_set()


def test_aborted_is_no_exception() -> None:
    assert not issubclass(AttemptAborted, Exception)
