"""What the SDK knows of a handler: its names, its kind, its serdes, its options.  Values without behaviour.

A decorated function carries its descriptor as an attribute, so that `ctx.object_call(fn, ...)` finds it;
nothing is registered anywhere else.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any, Literal, TypeVar

import attrs

from understudy.api.options import InvocationRetryPolicy
from understudy.api.serde import DefaultSerde, Serde, serde_for

ServiceKind = Literal["SERVICE", "VIRTUAL_OBJECT", "WORKFLOW"]
HandlerKind = Literal["EXCLUSIVE", "SHARED", "WORKFLOW"] | None
ContextManagers = Sequence[Callable[[], AbstractAsyncContextManager[Any]]]

I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741

HandlerFunction = Callable[[Any, I], Awaitable[O]] | Callable[[Any], Awaitable[O]]
"""What a decorated handler is to type checkers, and what calls and sends take."""

ATTRIBUTE = "__understudy_handler__"


@attrs.frozen
class Options:
    """The options a service and a handler share; a handler's replace its service's."""

    documentation: str | None = None
    metadata: Mapping[str, str] | None = None
    inactivity_timeout: timedelta | None = None
    abort_timeout: timedelta | None = None
    journal_retention: timedelta | None = None
    idempotency_retention: timedelta | None = None
    workflow_retention: timedelta | None = None
    enable_lazy_state: bool | None = None
    preloaded_keys: tuple[str, ...] | None = None
    ingress_private: bool | None = None
    invocation_retry_policy: InvocationRetryPolicy | None = None
    context_managers: ContextManagers = ()


@attrs.frozen
class Payload:
    """One side of a handler: how its value crosses, and how the manifest describes it."""

    content_type: str
    serde: Serde[Any]
    type_hint: Any
    is_void: bool


@attrs.frozen(eq=False)
class Handler:
    """One handler of one service."""

    service: str
    service_kind: ServiceKind
    name: str
    kind: HandlerKind
    function: Callable[..., Awaitable[Any]]
    takes_argument: bool
    input: Payload
    output: Payload
    options: Options

    @property
    def is_keyed(self) -> bool:
        """Whether its invocations have a key."""
        return self.service_kind != "SERVICE"


def describe_handler(
    function: Callable[..., Awaitable[Any]],
    *,
    service: str,
    service_kind: ServiceKind,
    name: str | None,
    kind: HandlerKind,
    accept: str,
    content_type: str,
    input_serde: Serde[Any],
    output_serde: Serde[Any],
    options: Options,
) -> Handler:
    """The descriptor of *function*.  Raises ValueError or TypeError when it cannot be a handler."""
    handler_name = name or function.__name__
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"handler {service}/{handler_name} has to be an `async def` function, found {function!r}")
    parameters = list(inspect.signature(function).parameters.values())
    if not 1 <= len(parameters) <= 2:
        raise ValueError(
            f"handler {service}/{handler_name} takes {len(parameters)} parameters, expected (ctx) or (ctx, argument)"
        )
    hints = _hints(function)
    argument = parameters[1] if len(parameters) == 2 else None
    input_hint = hints.get(argument.name) if argument is not None else None
    output_hint = hints.get("return")
    return Handler(
        service=service,
        service_kind=service_kind,
        name=handler_name,
        kind=kind,
        function=function,
        takes_argument=argument is not None,
        input=Payload(accept, _hinted(input_serde, input_hint), input_hint, argument is None),
        output=Payload(
            content_type, _hinted(output_serde, output_hint), output_hint, output_hint in (None, type(None))
        ),
        options=options,
    )


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        # A hint that names something imported for type checkers only: the raw annotations that are types still serve.
        raw = inspect.get_annotations(function)
        return {name: hint for name, hint in raw.items() if not isinstance(hint, str)}


def _hinted(serde: Serde[Any], type_hint: Any) -> Serde[Any]:
    """*serde*, steered by *type_hint* if it is a default serde without a hint of its own."""
    if isinstance(serde, DefaultSerde):
        return serde.with_maybe_type(type_hint)
    return serde


def handler_of(function: Any) -> Handler:
    """The descriptor *function* carries.  Raises ValueError when it was never decorated."""
    handler = getattr(function, ATTRIBUTE, None)
    if not isinstance(handler, Handler):
        raise ValueError(
            f"{function!r} is not a handler: decorate it with @service.handler() or use generic_call / generic_send"
        )
    return handler


__all__ = [
    "ATTRIBUTE",
    "Handler",
    "HandlerFunction",
    "Options",
    "Payload",
    "describe_handler",
    "handler_of",
    "serde_for",
]
