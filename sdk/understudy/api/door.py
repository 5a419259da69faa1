"""The door of an attempt: reads its journal, runs the handler, and turns the way it ended into the last messages.

The four ends of a handler (structured concurrency):

- it returns, or raises for good (a durable cancel it does not handle is TerminalError 409): output and end;
- the attempt is suspended or has failed: the VM has written the last message, whatever the handler did after
it;
- the task is cancelled from outside or the link is lost: nothing is written, the cancellation goes on its
way;
- the process dies: nothing runs.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import MappingProxyType
from typing import Any, Final
from weakref import ref

from understudy.api.attempt import HAZARD_LOCAL_TIMEOUT, HAZARD_SWALLOWED_END, HAZARD_UNCLOSED, Attempt
from understudy.api.codec import JournalValueCodec
from understudy.api.context import (
    Context,
    ObjectContext,
    ObjectSharedContext,
    WorkflowContext,
    WorkflowSharedContext,
)
from understudy.api.ends import Outcome, outcome_of
from understudy.api.errors import (
    RetryableError,
    TerminalError,
    failure_of,
    sendable_delay_ms,
    sendable_repr,
    sendable_text,
)
from understudy.api.handler import Handler
from understudy.api.regions import CURRENT, REGION
from understudy.api.sites import Site, calling_site
from understudy.api.tracebacks import stacktrace_of
from understudy.hosting import Host, Link, LinkLost
from understudy.vm import VM, AttemptEnded, Input, InternalError, VmError

CONTEXTS: Final = MappingProxyType(
    {
        ("SERVICE", None): Context,
        ("VIRTUAL_OBJECT", "EXCLUSIVE"): ObjectContext,
        ("VIRTUAL_OBJECT", "SHARED"): ObjectSharedContext,
        ("WORKFLOW", "WORKFLOW"): WorkflowContext,
        ("WORKFLOW", "SHARED"): WorkflowSharedContext,
    }
)
"""The context a handler of each kind is given."""


async def run_attempt(
    handler: Handler,
    version: int,
    link: Link,
    host: Host,
    headers: Mapping[str, str],
    codec: JournalValueCodec | None = None,
) -> None:
    """Run one attempt of *handler* to its end in the calling task.

    Returns when the last message was sent, or when the link is lost. A cancellation from outside goes
    through.
    """
    await conduct(handler, Attempt(VM(version, compares_values=codec is None), link, host, codec), headers)


async def conduct(handler: Handler, attempt: Attempt, headers: Mapping[str, str]) -> None:
    """Run *attempt*, which has not begun, to its end; see `run_attempt`."""
    vm, link = attempt.vm, attempt.link
    try:
        if await _read_journal(vm, link):
            await _play(handler, attempt, headers)
        output = vm.take_output()
        if output:
            await link.send(output)
    except LinkLost:
        vm.abort()


async def _read_journal(vm: VM, link: Link) -> bool:
    """Take frames in until the handler may begin; False when what came is no journal (the VM has said so)."""
    try:
        while not vm.is_ready_to_run:
            frames = await link.receive()
            if frames is None:
                vm.notify_input_closed()
            else:
                vm.notify_input(frames)
    except VmError:
        assert vm.is_closed, "a VM error closes the attempt"
        return False
    return True


async def _play(handler: Handler, attempt: Attempt, headers: Mapping[str, str]) -> None:
    """Run the handler's code and settle how it ended."""
    vm = attempt.vm
    region, outer = REGION.get(), CURRENT.get()
    REGION.set("handler")
    error: BaseException | None = None
    value: Any = None
    context: Context | None = None
    try:
        called_with = vm.sys_input()
        context = CONTEXTS[handler.service_kind, handler.kind](attempt, called_with, headers)
        CURRENT.set(ref(context))
        value = await attempt.watch(_perform(handler, context))
    except GeneratorExit:
        vm.abort()
        raise  # The coroutine is thrown away, from a context of its own and with nobody to wait for.
    except BaseException as raised:
        error = raised
    REGION.set(region)
    CURRENT.set(outer)
    await attempt.close()
    if context is not None:
        context._finish()
    try:
        await _settle(handler, attempt, value, error)
    finally:
        error = None  # Its traceback holds this frame: together they would wait for the collector.


async def _perform(handler: Handler, context: Context) -> Any:
    arguments: tuple[Any, ...] = (context,)
    if context._attempt.codec is not None and (handler.takes_argument or context._input.body):
        context._input = await _decoded(handler, context._attempt, context._input)
    if handler.takes_argument:
        arguments = (context, _argument(handler, context._input))
    try:
        if not handler.options.context_managers:
            return await handler.function(*arguments)
        async with AsyncExitStack() as stack:
            for factory in handler.options.context_managers:
                await stack.enter_async_context(_Surrounding(factory(), context._attempt))
            return await handler.function(*arguments)
    finally:
        if context._extension_data:
            await _close_extension_data(context)


async def _close_extension_data(context: Context) -> None:
    """Close what was kept with the attempt, the newest first; what fails to close is reported and keeps nobody."""
    kept, context._extension_data = context._extension_data or {}, None
    attempt = context._attempt
    for key, value in reversed(kept.items()):
        close = getattr(value, "__close__", None)
        if not callable(close):
            continue
        try:
            with attempt.beside_the_journal():
                closing = close()
                if not inspect.isawaitable(closing):
                    continue
                if isinstance(sys.exception(), GeneratorExit):
                    continue  # The coroutine is thrown away: there is nobody to wait for.
                await closing
        except Exception as error:
            site = calling_site()
            attempt.report(HAZARD_UNCLOSED, f"extension data {key!r} failed to close: {sendable_repr(error)}", site)


class _Surrounding:
    """A context manager around the handler, entered and left in every attempt: what it waits for is no step."""

    def __init__(self, inner: AbstractAsyncContextManager[Any], attempt: Attempt) -> None:
        self._inner = inner
        self._attempt = attempt

    async def __aenter__(self) -> Any:
        with self._attempt.beside_the_journal():
            return await self._inner.__aenter__()

    async def __aexit__(self, *raised: Any) -> bool | None:
        with self._attempt.beside_the_journal():
            return await self._inner.__aexit__(*raised)


async def _decoded(handler: Handler, attempt: Attempt, input: Input) -> Input:
    """*input* with the body the caller's codec was given.  Raises TerminalError when ours can make nothing of it."""
    try:
        return input._replace(body=await attempt.decode(input.body))
    except RetryableError:
        raise  # The codec cannot tell now, for want of a key say.
    except Exception as error:
        raise TerminalError(
            f"{handler.service}/{handler.name} was called with a body of {len(input.body)} bytes that its journal "
            f"codec cannot decode, let callers use the same codec: {sendable_text(error)}",
            status_code=400,
        ) from error


def _argument(handler: Handler, input: Input) -> Any:
    """The handler's argument.  Raises TerminalError when the caller's bytes are none."""
    try:
        return handler.input.serde.deserialize(input.body)
    except Exception as error:
        raise TerminalError(
            f"Unable to parse an input argument. {handler.service}/{handler.name} was called with a body of "
            f"{len(input.body)} bytes that is not what it takes: {sendable_text(error)}",
            status_code=500,
        ) from error


async def _settle(handler: Handler, attempt: Attempt, value: Any, error: BaseException | None) -> None:
    """Turn the handler's end into the attempt's last messages, or pass a cancellation on."""
    vm = attempt.vm
    outcome, leaf = (None, None) if error is None else outcome_of(error, attempt.tasks.is_cancellation)
    if outcome is Outcome.CRASHED or outcome is Outcome.CANCELLED:
        vm.abort()
        assert leaf is not None, "an outcome has an exception"
        raise leaf
    if attempt.cut_off_at is not None and not vm.is_closed:
        await _settle_cut_off(attempt, attempt.cut_off_at, leaf)
        return
    if vm.is_closed:
        if outcome is not Outcome.ENDED:
            _report_swallowed_end(handler, attempt)
        return
    try:
        if outcome is None:
            _output_value(handler, attempt, value)
        elif isinstance(leaf, TerminalError):
            vm.sys_output_failure(failure_of(leaf))
            vm.sys_end()
        else:
            assert leaf is not None, "an outcome has an exception"
            _fail(vm, leaf, error or leaf)
    except AttemptEnded:
        assert vm.is_closed, "what ends an attempt closes its VM"


def _output_value(handler: Handler, attempt: Attempt, value: Any) -> None:
    vm = attempt.vm
    try:
        data = handler.output.serde.serialize(value)
        if not isinstance(data, bytes):
            raise TypeError(f"the output serde of {handler.name} made {type(data).__name__} of the result, not bytes")
        data = attempt.encode(data)
    except Exception as error:
        _fail(vm, error, error)
        return
    vm.sys_output(data)
    vm.sys_end()


def _fail(vm: VM, leaf: BaseException, error: BaseException) -> None:
    """The attempt failed for now: an Error message.  Always raises."""
    if isinstance(leaf, AttemptEnded):
        vm.fail(
            InternalError(
                f"the handler raised {sendable_repr(leaf)} itself, which only the SDK may",
                stacktrace=stacktrace_of(error),
            )
        )
    message, delay_ms = sendable_repr(leaf), None
    if isinstance(leaf, RetryableError):
        message, delay_ms = sendable_text(leaf.message), sendable_delay_ms(leaf)
    vm.fail(InternalError(message, stacktrace=stacktrace_of(error), next_retry_delay_ms=delay_ms))


async def _settle_cut_off(attempt: Attempt, site: Site, leaf: BaseException | None) -> None:
    """A cancellation passed through a durable await and the handler caught it: whose was it?"""
    vm = attempt.vm
    try:
        await attempt.tasks.raise_if_cancelled()
    except BaseException:
        vm.abort()
        raise
    attempt.report(
        HAZARD_LOCAL_TIMEOUT,
        "a timeout of the scheduler fired inside a durable await: it is not in the journal and another attempt "
        "would not repeat it; race the await against ctx.sleep with select instead",
        site,
    )
    # What cut the await off may be a timeout, or a task group whose other task failed: then that is the news.
    cause = "" if leaf is None or isinstance(leaf, AttemptEnded) else f"{sendable_repr(leaf)}; "
    message = (
        f"{cause}a local timeout or cancel scope cut off a durable await at {site}. This attempt cannot go on, "
        "because another one would not be cut off there; race the await against ctx.sleep with select instead."
    )
    try:
        vm.fail(InternalError(message, stacktrace=stacktrace_of(leaf) if cause and leaf is not None else ""))
    except VmError:
        assert vm.is_closed, "a VM error closes the attempt"


def _report_swallowed_end(handler: Handler, attempt: Attempt) -> None:
    code = handler.function.__code__ if hasattr(handler.function, "__code__") else None
    site = Site(
        code.co_filename if code is not None else "<unknown>",
        code.co_firstlineno if code is not None else 0,
        handler.name,
    )
    attempt.report(
        HAZARD_SWALLOWED_END,
        f"{handler.service}/{handler.name} went on after its attempt had ended: a bare `except` (or "
        "`except BaseException`, or a `finally` that raises) caught what ended it; catch Exception instead",
        site,
    )
