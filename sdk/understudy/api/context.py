"""The contexts: the steps a handler can take.  One class per kind of handler, each with what that kind may do.

A method that starts something issues its step when it is called; what it returns is awaited for the outcome.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from random import Random
from typing import Any, Final, ParamSpec, TypeVar, overload
from uuid import UUID

import anyio
import attrs

from understudy.api.attempt import Attempt, RunSpec, as_function
from understudy.api.errors import ContextMisuse
from understudy.api.futures import CallFuture, DurableFuture, SendHandle, UnfitResult, as_invocation_id, as_nothing
from understudy.api.handler import HandlerFunction, handler_of
from understudy.api.options import RunOptions, milliseconds
from understudy.api.scoped import ScopedContext
from understudy.api.serde import BytesSerde, DefaultSerde, Serde, serde_for
from understudy.vm import CallTarget, Failure, Input, Result, RunRetryPolicy

T = TypeVar("T")
P = ParamSpec("P")
I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741

_RUN_OPTIONS: RunOptions[Any] = RunOptions()
_BYTES = BytesSerde()
# Annotations as text (`from __future__ import annotations`) that need no evaluation to say "plain JSON".
_PLAIN_HINTS: Final = ("str", "int", "bool", "float", "None", "dict", "list", "Any")


@attrs.frozen
class Request:
    """What the invocation was called with, and what the current attempt came with."""

    id: str
    headers: Mapping[str, str]
    attempt_headers: Mapping[str, str]
    body: bytes
    attempt_finished_event: anyio.Event = attrs.field(repr=False)
    """Set when this attempt is over, however it ends."""
    # Protocol versions 5 and 6 do not tell a handler how it was called.
    scope: str | None = None
    limit_key: str | None = None
    idempotency_key: str | None = None


class Context:
    """What every handler can do."""

    def __init__(self, attempt: Attempt, input: Input, attempt_headers: Mapping[str, str]) -> None:
        self._attempt = attempt
        self._vm = attempt.vm
        self._input = input
        self._attempt_headers = attempt_headers
        self._random: Random | None = None
        self._finished: anyio.Event | None = None
        self._extension_data: dict[str, Any] | None = None

    def request(self) -> Request:
        """The request this invocation answers.  Of headers of one name the last counts."""
        if self._finished is None:
            self._finished = anyio.Event()
        return Request(
            id=self._vm.invocation_id,
            headers=dict(self._input.headers),
            attempt_headers=self._attempt_headers,
            body=self._input.body,
            attempt_finished_event=self._finished,
        )

    def _finish(self) -> None:
        if self._finished is not None:
            self._finished.set()

    # -- randomness and time --

    def random(self) -> Random:
        """Randomness that is the same in every attempt of this invocation."""
        if self._random is None:
            self._random = Random(self._vm.random_seed)
        return self._random

    def uuid(self) -> UUID:
        """A version 4 UUID that is the same in every attempt, drawn from `random`."""
        return UUID(int=self.random().getrandbits(128), version=4)

    def time(self) -> DurableFuture[float]:
        """The wall clock, seconds since the epoch, as a recorded step."""
        return self.run_typed("timestamp", self._read_clock)

    async def _read_clock(self) -> float:
        return self._attempt.host.now_ms() / 1000

    def sleep(self, delta: timedelta, name: str | None = None) -> DurableFuture[None]:
        """Wait for *delta* (whole milliseconds); survives restarts and costs nothing meanwhile."""
        self._attempt.check()
        wake_up_time_ms = self._attempt.host.now_ms() + max(0, milliseconds(delta))
        return DurableFuture(self._attempt, self._vm.sys_sleep(wake_up_time_ms, name or ""), as_nothing)

    # -- runs --

    @overload
    def run(
        self,
        name: str,
        action: Callable[..., Coroutine[Any, Any, T]],
        serde: Serde[T] | None = ...,
        max_attempts: int | None = ...,
        max_retry_duration: timedelta | None = ...,
        type_hint: Any = ...,
        args: tuple[Any, ...] | None = ...,
    ) -> DurableFuture[T]: ...

    @overload
    def run(
        self,
        name: str,
        action: Callable[..., T],
        serde: Serde[T] | None = ...,
        max_attempts: int | None = ...,
        max_retry_duration: timedelta | None = ...,
        type_hint: Any = ...,
        args: tuple[Any, ...] | None = ...,
    ) -> DurableFuture[T]: ...

    def run(
        self,
        name: str,
        action: Callable[..., Any],
        serde: Serde[Any] | None = None,
        max_attempts: int | None = None,
        max_retry_duration: timedelta | None = None,
        type_hint: Any = None,
        args: tuple[Any, ...] | None = None,
    ) -> DurableFuture[Any]:
        """Execute *action* (sync or async) once and record its value.  `run_typed` has more options."""
        options: RunOptions[Any] = RunOptions(
            serde=serde or DefaultSerde(),
            type_hint=type_hint,
            max_attempts=max_attempts,
            max_duration=max_retry_duration,
        )
        return self._run(name, action, options, args or (), {})

    @overload
    def run_typed(
        self,
        name: str,
        action: Callable[P, Coroutine[Any, Any, T]],
        options: RunOptions[T] = ...,
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> DurableFuture[T]: ...

    @overload
    def run_typed(
        self,
        name: str,
        action: Callable[P, T],
        options: RunOptions[T] = ...,
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> DurableFuture[T]: ...

    def run_typed(
        self,
        name: str,
        action: Callable[..., Any],
        options: RunOptions[Any] = _RUN_OPTIONS,
        /,
        *args: Any,
        **kwargs: Any,
    ) -> DurableFuture[Any]:
        """Execute *action* (sync or async) with the arguments given, once, and record its value.

        It executes when it is awaited, alone or in a combinator, and again in a later attempt if this one
        dies before the value is recorded. A TerminalError is recorded too; other exceptions are retried as
        *options* say.
        """
        return self._run(name, action, options, args, kwargs)

    def _run(
        self, name: str, action: Callable[..., Any], options: RunOptions[Any], args: Any, kwargs: Any
    ) -> DurableFuture[Any]:
        policy: RunRetryPolicy | None = None
        if options is _RUN_OPTIONS:
            serde: Serde[Any] = serde_for(_return_hint(action))
        else:
            policy = options.retry_policy()
            serde = options.serde
            if isinstance(serde, DefaultSerde) and serde.type_hint is None:
                serde = serde_for(options.type_hint if options.type_hint is not None else _return_hint(action))
        function = as_function(action, args, kwargs) if args or kwargs else action
        spec = RunSpec(name, function, serde, policy)
        attempt = self._attempt
        return DurableFuture(attempt, attempt.announce_run(spec), value_of(serde))

    # -- calls --

    def service_call(
        self,
        tpe: HandlerFunction[I, O],
        arg: I,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> CallFuture[O]:
        """Call a handler of a service; the future is its result."""
        return self._call(tpe, "", arg, idempotency_key, headers)

    def service_send(
        self,
        tpe: HandlerFunction[I, O],
        arg: I,
        send_delay: timedelta | None = None,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> SendHandle:
        """Call a handler of a service and do not wait, now or after *send_delay*."""
        return self._send(tpe, "", arg, send_delay, idempotency_key, headers)

    def object_call(
        self,
        tpe: HandlerFunction[I, O],
        key: str,
        arg: I,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> CallFuture[O]:
        """Call a handler of the object or workflow *key*; the future is its result."""
        return self._call(tpe, key, arg, idempotency_key, headers)

    def object_send(
        self,
        tpe: HandlerFunction[I, O],
        key: str,
        arg: I,
        send_delay: timedelta | None = None,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> SendHandle:
        """Call a handler of the object or workflow *key* and do not wait, now or after *send_delay*."""
        return self._send(tpe, key, arg, send_delay, idempotency_key, headers)

    # A workflow is called as an object is.
    workflow_call = object_call
    workflow_send = object_send

    def generic_call(
        self,
        service: str,
        handler: str,
        arg: bytes,
        key: str | None = None,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        scope: str | None = None,
        limit_key: str | None = None,
    ) -> CallFuture[bytes]:
        """Call a handler known by name only, with bytes both ways; for *scope* and *limit_key* see `scope`."""
        pairs = tuple((headers or {}).items())
        target = CallTarget(service, handler, key or "", idempotency_key, pairs, scope, limit_key)
        return self._call_target(target, arg, _BYTES)

    def generic_send(
        self,
        service: str,
        handler: str,
        arg: bytes,
        key: str | None = None,
        send_delay: timedelta | None = None,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        scope: str | None = None,
        limit_key: str | None = None,
    ) -> SendHandle:
        """Call a handler known by name only and do not wait."""
        pairs = tuple((headers or {}).items())
        target = CallTarget(service, handler, key or "", idempotency_key, pairs, scope, limit_key)
        return self._send_target(target, arg, send_delay)

    def scope(self, scope: str) -> ScopedContext:
        """Calls and sends within *scope*.

        They need protocol version 7: with the versions spoken here, each ends the attempt with error 573, which is
        tried again.
        """
        return ScopedContext(self, scope)

    def _call(
        self,
        function: Any,
        key: str,
        arg: Any,
        idempotency_key: str | None,
        headers: Mapping[str, str] | None,
        scope: str | None = None,
        limit_key: str | None = None,
    ) -> CallFuture[Any]:
        handler = handler_of(function)
        pairs = tuple(headers.items()) if headers else ()
        target = CallTarget(handler.service, handler.name, key, idempotency_key, pairs, scope, limit_key)
        return self._call_target(target, handler.input.serde.serialize(arg), handler.output.serde)

    def _call_target(self, target: CallTarget, parameter: bytes, serde: Serde[Any]) -> CallFuture[Any]:
        self._attempt.check()
        id_leaf, leaf = self._vm.sys_call(target, self._attempt.encode(parameter))
        return CallFuture(self._attempt, leaf, value_of(serde), id_leaf)

    def _send(
        self,
        function: Any,
        key: str,
        arg: Any,
        send_delay: timedelta | None,
        idempotency_key: str | None,
        headers: Mapping[str, str] | None,
        scope: str | None = None,
        limit_key: str | None = None,
    ) -> SendHandle:
        handler = handler_of(function)
        pairs = tuple(headers.items()) if headers else ()
        target = CallTarget(handler.service, handler.name, key, idempotency_key, pairs, scope, limit_key)
        return self._send_target(target, handler.input.serde.serialize(arg), send_delay)

    def _send_target(self, target: CallTarget, parameter: bytes, send_delay: timedelta | None) -> SendHandle:
        self._attempt.check()
        delay_ms = milliseconds(send_delay) if send_delay else 0
        invoke_time_ms = self._attempt.host.now_ms() + delay_ms if delay_ms > 0 else 0
        return SendHandle(
            self._attempt, self._vm.sys_one_way_call(target, self._attempt.encode(parameter), invoke_time_ms)
        )

    # -- other invocations --

    def cancel_invocation(self, invocation_id: str) -> None:
        """Ask another invocation to cancel.  Raises ValueError without an id."""
        if not invocation_id:
            raise ValueError("cancel_invocation needs the id of an invocation")
        self._attempt.check()
        self._vm.sys_cancel_invocation(invocation_id)

    @overload
    def attach_invocation(self, invocation_id: str) -> DurableFuture[Any]: ...

    @overload
    def attach_invocation(
        self, invocation_id: str, serde: Serde[T] | None = None, type_hint: type[T] | None = None
    ) -> DurableFuture[T]: ...

    def attach_invocation(
        self, invocation_id: str, serde: Serde[T] | None = None, type_hint: type[T] | None = None
    ) -> DurableFuture[T]:
        """The result of another invocation, when it has one.  Raises ValueError without an id."""
        if not invocation_id:
            raise ValueError("attach_invocation needs the id of an invocation")
        self._attempt.check()
        leaf = self._vm.sys_attach_invocation(invocation_id)
        return DurableFuture(self._attempt, leaf, value_of(serde or serde_for(type_hint)))

    # -- awakeables and signals --

    @overload
    def awakeable(self) -> tuple[str, DurableFuture[Any]]: ...

    @overload
    def awakeable(
        self, serde: Serde[T] | None = None, type_hint: type[T] | None = None
    ) -> tuple[str, DurableFuture[T]]: ...

    def awakeable(
        self, serde: Serde[T] | None = None, type_hint: type[T] | None = None
    ) -> tuple[str, DurableFuture[T]]:
        """An id to give away, and the future that whoever has it completes."""
        self._attempt.check()
        awakeable_id, leaf = self._vm.sys_awakeable()
        return awakeable_id, DurableFuture(self._attempt, leaf, value_of(serde or serde_for(type_hint)))

    def resolve_awakeable(self, name: str, value: I, serde: Serde[I] | None = None) -> None:
        """Complete the awakeable with id *name*."""
        self._attempt.check()
        data = (serde or serde_for(type(value))).serialize(value)
        self._vm.sys_complete_awakeable(name, self._attempt.encode(data))

    def reject_awakeable(self, name: str, failure_message: str, failure_code: int = 500) -> None:
        """Fail the awakeable with id *name*: its future raises TerminalError."""
        self._attempt.check()
        self._vm.sys_complete_awakeable(name, Failure(failure_code, failure_message))

    @overload
    def signal(self, name: str) -> DurableFuture[Any]: ...

    @overload
    def signal(
        self, name: str, serde: Serde[T] | None = None, type_hint: type[T] | None = None
    ) -> DurableFuture[T]: ...

    def signal(self, name: str, serde: Serde[T] | None = None, type_hint: type[T] | None = None) -> DurableFuture[T]:
        """The next signal *name* somebody sends to this invocation."""
        self._attempt.check()
        leaf = self._vm.sys_signal(name)
        return DurableFuture(self._attempt, leaf, value_of(serde or serde_for(type_hint)))

    def resolve_signal(self, invocation_id: str, name: str, value: I, serde: Serde[I] | None = None) -> None:
        """Send the signal *name* with a value to another invocation."""
        self._attempt.check()
        data = (serde or serde_for(type(value))).serialize(value)
        self._vm.sys_send_signal(invocation_id, name, self._attempt.encode(data))

    def reject_signal(self, invocation_id: str, name: str, failure_message: str, failure_code: int = 500) -> None:
        """Send the signal *name* with a failure to another invocation."""
        self._attempt.check()
        self._vm.sys_send_signal(invocation_id, name, Failure(failure_code, failure_message))


class ObjectSharedContext(Context):
    """A handler of a key that reads its state."""

    def key(self) -> str:
        """The key of this object or workflow."""
        return self._vm.key

    @overload
    def get(self, name: str, *, entry_name: str | None = None) -> DurableFuture[Any]: ...

    @overload
    def get(
        self, name: str, serde: Serde[T] | None = None, type_hint: type[T] | None = None, entry_name: str | None = None
    ) -> DurableFuture[T | None]: ...

    def get(
        self,
        name: str,
        serde: Serde[T] | None = None,
        type_hint: type[T] | None = None,
        entry_name: str | None = None,
    ) -> DurableFuture[T | None]:
        """The value of *name*, None when it has none."""
        self._attempt.check()
        leaf = self._vm.sys_get_state(name.encode(), entry_name or "")
        return DurableFuture(self._attempt, leaf, value_of(serde or serde_for(type_hint)))

    def state_keys(self, entry_name: str | None = None) -> DurableFuture[list[str]]:
        """The names that have a value, sorted."""
        self._attempt.check()
        return DurableFuture(self._attempt, self._vm.sys_get_state_keys(entry_name or ""), _as_state_keys)


class ObjectContext(ObjectSharedContext):
    """An exclusive handler of a key: it may write the key's state."""

    def set(self, name: str, value: T, serde: Serde[T] | None = None, entry_name: str | None = None) -> None:
        """Give *name* the value *value*."""
        self._attempt.check()
        data = (serde or serde_for(type(value))).serialize(value)
        self._vm.sys_set_state(name.encode(), self._attempt.encode(data), entry_name or "")

    def clear(self, name: str, entry_name: str | None = None) -> None:
        """Take the value of *name* away."""
        self._attempt.check()
        self._vm.sys_clear_state(name.encode(), entry_name or "")

    def clear_all(self, entry_name: str | None = None) -> None:
        """Take the values of all names away."""
        self._attempt.check()
        self._vm.sys_clear_all_state(entry_name or "")


class DurablePromise(typing.Generic[T]):
    """A value of a workflow that one handler completes and others wait for."""

    __slots__ = ("_attempt", "_name", "_serde", "_value")

    def __init__(self, attempt: Attempt, name: str, serde: Serde[T]) -> None:
        self._attempt = attempt
        self._name = name
        self._serde = serde
        self._value: DurableFuture[T] | None = None

    def value(self) -> DurableFuture[T]:
        """The promised value, when there is one.  Raises TerminalError when it was rejected."""
        if self._value is None:
            self._attempt.check()
            leaf = self._attempt.vm.sys_get_promise(self._name)
            self._value = DurableFuture(self._attempt, leaf, value_of(self._serde))
        return self._value

    def __await__(self) -> typing.Generator[Any, Any, T]:
        return self.value().__await__()

    def peek(self) -> DurableFuture[T | None]:
        """The value if there is one already, else None."""
        self._attempt.check()
        leaf = self._attempt.vm.sys_peek_promise(self._name)
        return DurableFuture(self._attempt, leaf, value_of(self._serde))

    def resolve(self, value: T) -> DurableFuture[None]:
        """Complete the promise.  Awaiting raises TerminalError 409 when somebody already has."""
        return self._complete(self._attempt.encode(self._serde.serialize(value)))

    def reject(self, message: str, code: int = 500) -> DurableFuture[None]:
        """Fail the promise.  Awaiting raises TerminalError 409 when it is complete already."""
        return self._complete(Failure(code, message))

    def _complete(self, result: bytes | Failure) -> DurableFuture[None]:
        self._attempt.check()
        leaf = self._attempt.vm.sys_complete_promise(self._name, result)
        return DurableFuture(self._attempt, leaf, as_nothing)


class WorkflowSharedContext(ObjectSharedContext):
    """A handler beside a workflow's main one: it reads state and deals in promises."""

    @overload
    def promise(self, name: str) -> DurablePromise[Any]: ...

    @overload
    def promise(
        self, name: str, serde: Serde[T] | None = None, type_hint: type[T] | None = None
    ) -> DurablePromise[T]: ...

    def promise(self, name: str, serde: Serde[T] | None = None, type_hint: type[T] | None = None) -> DurablePromise[T]:
        """The promise *name* of this workflow."""
        return DurablePromise(self._attempt, name, serde or serde_for(type_hint))


class WorkflowContext(WorkflowSharedContext, ObjectContext):
    """A workflow's main handler."""


def value_of(serde: Serde[Any]) -> Callable[[Result], Any]:
    """Turns a result into what *serde* makes of its bytes; void is None.  Raises UnfitResult for any other kind."""
    deserialize = serde.deserialize

    def convert(result: Result) -> Any:
        kind, data = result
        if kind == "value":
            return deserialize(data)  # type: ignore[arg-type]
        if kind != "void":
            raise UnfitResult("value or void")
        return None

    return convert


def _as_state_keys(result: Result) -> list[str]:
    kind, keys = result
    if kind != "state_keys":
        raise UnfitResult("state_keys")
    assert isinstance(keys, tuple), kind
    return [key.decode() for key in keys]


def _return_hint(action: Callable[..., Any]) -> Any:
    """What *action* says it returns, None when it does not say (or says it in words that mean nothing here)."""
    hint = getattr(action, "__annotations__", None)
    hint = hint.get("return") if hint else None
    if not isinstance(hint, str):
        return hint
    if hint in _PLAIN_HINTS:
        return None
    try:
        return typing.get_type_hints(action).get("return")
    except (NameError, TypeError, AttributeError):
        return None


__all__ = [
    "Context",
    "ContextMisuse",
    "DurablePromise",
    "ObjectContext",
    "ObjectSharedContext",
    "Request",
    "ScopedContext",
    "WorkflowContext",
    "WorkflowSharedContext",
    "as_invocation_id",
]
