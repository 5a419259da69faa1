"""What of the official Python SDK (`restate-sdk`) the simulated world answers: which names are replaced, and why.

The application and the package on disk stay as they are.  For the length of a run, of `restate`:

* `vm.VMWrapper.sys_sleep`, `.sys_send` and `.take_output`: its core, written in Rust, reads the real clock for when a
  sleep or a delayed send is due.  The frame that leaves says what the process's clock says.  A suspension lists what it
  waits for in order: the core has it from a table that is in another order in every process.
* `server_context.invoke_handler`: marks handler code, so that a clock or a draw there is a hazard (P13).
* `vm.VMWrapper.sys_run` and `server_context.ServerInvocationContext.create_run_coroutine`: mark the body of a step,
  where clocks and draws are fine, and count its executions (P3).
* `server_types.ReceiveChannel`: hashes by its birth.  At SIGTERM all of a set of them are told, in the set's order.

Nothing else of it is touched; its Python code reads the clock through the fence, as all code does.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any, Final

from understudy.api.regions import REGION, Region
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame, FrameDecoder, encode_frames
from understudy.protocol.messages import MessageType

PACKAGE: Final = "restate"
_LOGGERS: Final = ("asyncio", "restate.server", "restate.server_context")
_DUE: Final = "_rehearsal_due"
_STEPS: Final = "_rehearsal_steps"
_BIRTH: Final = "_rehearsal_birth"


class CoreDiffers(RuntimeError):
    """The official SDK's core sent something else than it was asked for: this version of it is not known here."""


@contextmanager
def answered(now_ms: Callable[[], int], step_started: Callable[[str, str], object]) -> Iterator[None]:
    """Answer for the official SDK while the block runs, if anybody has imported it.

    *now_ms* is the wall clock of the process that runs, *step_started* is told the invocation and the step.
    """
    if PACKAGE not in sys.modules:
        yield
        return
    server_context: Any = importlib.import_module(f"{PACKAGE}.server_context")
    wrapper: Any = importlib.import_module(f"{PACKAGE}.vm").VMWrapper
    context = server_context.ServerInvocationContext
    channel: Any = importlib.import_module(f"{PACKAGE}.server_types").ReceiveChannel
    with ExitStack() as stack:
        for name in _LOGGERS:  # What they say of every accident on purpose nobody reads.
            stack.enter_context(_bound(logging.getLogger(name), "disabled", True))
        stack.enter_context(_bound(wrapper, "sys_sleep", _sleeping(wrapper.sys_sleep, now_ms)))
        stack.enter_context(_bound(wrapper, "sys_send", _sending(wrapper.sys_send, now_ms)))
        stack.enter_context(_bound(wrapper, "take_output", _taking(wrapper.take_output)))
        stack.enter_context(_bound(wrapper, "sys_run", _naming(wrapper.sys_run)))
        stack.enter_context(_bound(server_context, "invoke_handler", _handling(server_context.invoke_handler)))
        stack.enter_context(_bound(channel, "__init__", _born(channel.__init__)))
        stack.enter_context(_bound(channel, "__hash__", _birth_of))
        step = _stepping(context.create_run_coroutine, step_started)
        stack.enter_context(_bound(context, "create_run_coroutine", step))
        yield


def is_its_own(filename: str) -> bool:
    """Whether *filename* is a file of the SDK: what it asks of the clock is no hazard of the handler."""
    return f"{os.sep}{PACKAGE}{os.sep}" in filename and "site-packages" in filename


@contextmanager
def _bound(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


# --- the order of a set ---------------------------------------------------------------------------------------


def _born(real: Callable[..., None]) -> Callable[..., None]:
    births = count(1)

    def __init__(self: Any, *args: Any) -> None:  # noqa: N807
        self.__dict__[_BIRTH] = next(births)
        real(self, *args)

    return __init__


def _birth_of(channel: Any) -> int:
    born: int = channel.__dict__[_BIRTH]
    return born


# --- the clock of the core ------------------------------------------------------------------------------------


def _sleeping(real: Callable[..., Any], now_ms: Callable[[], int]) -> Callable[..., Any]:
    def sys_sleep(self: Any, millis: int, name: str | None = None) -> Any:
        is_sent = not self.is_replaying()
        handle = real(self, millis, name)
        if is_sent:
            _due_of(self).append((MessageType.SLEEP, now_ms() + millis))
        return handle

    return sys_sleep


def _sending(real: Callable[..., Any], now_ms: Callable[[], int]) -> Callable[..., Any]:
    def sys_send(
        self: Any,
        service: str,
        handler: str,
        parameter: bytes,
        key: str | None = None,
        delay: int | None = None,
        *rest: Any,
        **options: Any,
    ) -> Any:
        is_sent = not self.is_replaying()
        handle = real(self, service, handler, parameter, key, delay, *rest, **options)
        if is_sent and delay:
            _due_of(self).append((MessageType.ONE_WAY_CALL, now_ms() + delay))
        return handle

    return sys_send


def _due_of(machine: Any) -> deque[tuple[int, int]]:
    """What this attempt's sleeps and delayed sends are due at that have not left yet."""
    found: deque[tuple[int, int]] = machine.__dict__.setdefault(_DUE, deque())
    return found


def _taking(real: Callable[..., Any]) -> Callable[..., Any]:
    def take_output(self: Any) -> bytes:
        output = bytes(real(self))
        return restamped(output, _due_of(self)) if output else output

    return take_output


def restamped(output: bytes, due: deque[tuple[int, int]]) -> bytes:
    """*output* with the times of *due*, in order, and with suspensions in order.  Raises CoreDiffers."""
    decoder = FrameDecoder()
    frames = [_restamped(frame, due) for frame in decoder.feed(output)]
    if decoder.pending_bytes:
        raise CoreDiffers("the official SDK's core gave a part of a message where it has always given whole ones")
    return encode_frames(frames)


def _restamped(frame: Frame, due: deque[tuple[int, int]]) -> Frame:
    if frame.type == MessageType.SLEEP:
        sleep = pb.SleepCommand.FromString(frame.payload)
        sleep.wake_up_time = _next_due(due, frame.type)
        return frame._replace(payload=sleep.SerializeToString())
    if frame.type == MessageType.ONE_WAY_CALL:
        send = pb.OneWayCallCommand.FromString(frame.payload)
        if send.invoke_time:
            send.invoke_time = _next_due(due, frame.type)
            return frame._replace(payload=send.SerializeToString())
    if frame.type == MessageType.SUSPENSION:
        suspension = pb.Suspension.FromString(frame.payload)
        for name in ("waiting_completions", "waiting_signals", "waiting_named_signals"):
            waited = getattr(suspension, name)
            waited[:] = sorted(waited)
        return frame._replace(payload=suspension.SerializeToString())
    return frame


def _next_due(due: deque[tuple[int, int]], kind: int) -> int:
    if not due or due[0][0] != kind:
        raise CoreDiffers(
            f"the official SDK's core sent a message of type 0x{kind:04X} that no call of its wrapper asked for: "
            "its time cannot be answered.  Rehearse with restate-sdk 1.3, or teach guest_sdk.py this version."
        )
    return due.popleft()[1]


# --- whose code runs ------------------------------------------------------------------------------------------


@contextmanager
def _region(region: Region) -> Iterator[None]:
    token = REGION.set(region)
    try:
        yield
    finally:
        REGION.reset(token)


def _handling(real: Callable[..., Any]) -> Callable[..., Any]:
    async def invoke_handler(*args: Any, **options: Any) -> Any:
        with _region("handler"):
            return await real(*args, **options)

    return invoke_handler


def _naming(real: Callable[..., Any]) -> Callable[..., Any]:
    def sys_run(self: Any, name: str) -> Any:
        run = real(self, name)
        self.__dict__.setdefault(_STEPS, {})[run.handle] = name
        return run

    return sys_run


def _stepping(real: Callable[..., Any], step_started: Callable[[str, str], object]) -> Callable[..., Any]:
    async def create_run_coroutine(self: Any, handle: int, action: Callable[[], Any], *rest: Any) -> None:
        async def awaited() -> Any:
            with _region("run"):
                return await action()

        def called() -> Any:
            with _region("run"):
                return action()

        step_started(self.invocation.invocation_id, getattr(self.vm, _STEPS)[handle])
        await real(self, handle, awaited if inspect.iscoroutinefunction(action) else called, *rest)

    return create_run_coroutine
