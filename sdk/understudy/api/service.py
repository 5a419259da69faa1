"""Services, virtual objects and workflows, and the decorators that put handlers into them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any, ClassVar, Final, Literal, TypedDict, TypeVar, Unpack

import attrs

from understudy.api.handler import (
    ATTRIBUTE,
    ContextManagers,
    Handler,
    HandlerKind,
    Options,
    ServiceKind,
    describe_handler,
)
from understudy.api.options import InvocationRetryPolicy
from understudy.api.serde import DefaultSerde, Serde

F = TypeVar("F", bound=Callable[..., Any])

_JSON: Final = "application/json"


class CommonOptions(TypedDict, total=False):
    """What every service and every handler can be told; a handler's options replace its service's."""

    metadata: Mapping[str, str] | None
    inactivity_timeout: timedelta | None
    abort_timeout: timedelta | None
    journal_retention: timedelta | None
    ingress_private: bool | None
    invocation_retry_policy: InvocationRetryPolicy | None
    invocation_context_managers: ContextManagers


class ServiceOptions(CommonOptions, total=False):
    """The options of services without state, and of their handlers."""

    idempotency_retention: timedelta | None


class _StateOptions(CommonOptions, total=False):
    state_preload: bool | Sequence[str] | None
    enable_lazy_state: bool | None


class KeyedOptions(_StateOptions, total=False):
    """The options of services with state, and of their handlers.

    *state_preload*: which state comes along with each attempt, all of it (True), none (False) or that of the keys
    listed, for which the server has to know manifest version 5. *enable_lazy_state* is its older opposite.
    """

    idempotency_retention: timedelta | None


class MainOptions(_StateOptions, total=False):
    """The options of a workflow's main handler."""

    workflow_retention: timedelta | None


class _Payloads(TypedDict, total=False):
    accept: str
    content_type: str
    input_serde: Serde[Any] | None
    output_serde: Serde[Any] | None


class ServiceHandlerOptions(_Payloads, ServiceOptions, total=False):
    """The options of a service's handler."""


class KeyedHandlerOptions(_Payloads, KeyedOptions, total=False):
    """The options of an object's handler, and of one beside a workflow's main one."""


class MainHandlerOptions(_Payloads, MainOptions, total=False):
    """The options of a workflow's main handler, and how its values cross."""


class Definition:
    """What the three kinds of service have in common: a name, options and handlers."""

    kind: ClassVar[ServiceKind]

    def __init__(self, name: str, options: Options) -> None:
        if not name:
            raise ValueError("a service needs a name")
        self.name = name
        self.options = options
        self.handlers: dict[str, Handler] = {}

    def _decorator(
        self, name: str | None, kind: HandlerKind, given: Mapping[str, Any], known: type
    ) -> Callable[[F], F]:
        payloads = {key: given[key] for key in _Payloads.__optional_keys__ if key in given}
        options = _options({key: value for key, value in given.items() if key not in payloads}, known)

        def decorate(function: F) -> F:
            handler = describe_handler(
                function,
                service=self.name,
                service_kind=self.kind,
                name=name,
                kind=kind,
                accept=payloads.get("accept", _JSON),
                content_type=payloads.get("content_type", _JSON),
                input_serde=payloads.get("input_serde") or DefaultSerde(),
                output_serde=payloads.get("output_serde") or DefaultSerde(),
                options=attrs.evolve(
                    options,
                    documentation=_documentation(function),
                    context_managers=(*self.options.context_managers, *options.context_managers),
                ),
            )
            if handler.name in self.handlers:
                raise ValueError(f"{self.name} has two handlers named {handler.name!r}")
            self.handlers[handler.name] = handler
            setattr(function, ATTRIBUTE, handler)
            return function

        return decorate

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {sorted(self.handlers)}>"


class Service(Definition):
    """Handlers without a key; any number of their invocations run at once."""

    kind: ClassVar[ServiceKind] = "SERVICE"

    def __init__(self, name: str, description: str | None = None, **options: Unpack[ServiceOptions]) -> None:
        """Raises ValueError without a name, TypeError for an option there is not."""
        super().__init__(name, _options(options, ServiceOptions, description))

    def handler(self, name: str | None = None, **options: Unpack[ServiceHandlerOptions]) -> Callable[[F], F]:
        """Decorate a handler of this service.

        Raises ValueError for a second handler of the same name, TypeError for an option there is not.
        """
        return self._decorator(name, None, options, ServiceHandlerOptions)


class _Keyed(Definition):
    """A service whose invocations have a key and state."""

    def __init__(self, name: str, description: str | None = None, **options: Unpack[KeyedOptions]) -> None:
        """Raises ValueError without a name, TypeError for an option there is not."""
        super().__init__(name, _options(options, KeyedOptions, description))


class VirtualObject(_Keyed):
    """Handlers with a key and state of that key; exclusive handlers of one key run one at a time."""

    kind: ClassVar[ServiceKind] = "VIRTUAL_OBJECT"

    def handler(
        self,
        name: str | None = None,
        kind: Literal["exclusive", "shared"] = "exclusive",
        **options: Unpack[KeyedHandlerOptions],
    ) -> Callable[[F], F]:
        """Decorate a handler of this object: exclusive (may write state) or shared (reads it, runs beside others).

        Raises ValueError for a second handler of the same name, TypeError for an option there is not.
        """
        if kind not in _KINDS:
            raise ValueError(f"kind is {kind!r}, expected 'exclusive' or 'shared'")
        return self._decorator(name, _KINDS[kind], options, KeyedHandlerOptions)


class Workflow(_Keyed):
    """A main handler that runs once per key, and shared handlers that talk to it."""

    kind: ClassVar[ServiceKind] = "WORKFLOW"

    def main(self, name: str | None = None, **options: Unpack[MainHandlerOptions]) -> Callable[[F], F]:
        """Decorate the handler that is the workflow; *options* as for an object's, with workflow_retention instead of
        idempotency_retention."""
        return self._decorator(name, "WORKFLOW", options, MainHandlerOptions)

    def handler(self, name: str | None = None, **options: Unpack[KeyedHandlerOptions]) -> Callable[[F], F]:
        """Decorate a shared handler of this workflow; *options* as for an object's."""
        return self._decorator(name, "SHARED", options, KeyedHandlerOptions)


_KINDS: Final[Mapping[str, HandlerKind]] = MappingProxyType({"exclusive": "EXCLUSIVE", "shared": "SHARED"})


def _options(given: Mapping[str, Any], known: Any, documentation: str | None = None) -> Options:
    """The options *given*.  Raises TypeError for one that is not among *known*."""
    for name in given:
        if name not in known.__optional_keys__:
            raise TypeError(f"there is no option {name!r} here, only {', '.join(sorted(known.__optional_keys__))}")
    fields = dict(given)
    context_managers = fields.pop("invocation_context_managers", ())
    lazy, preload = _preloaded(fields.pop("enable_lazy_state", None), fields.pop("state_preload", None))
    return Options(
        documentation=documentation,
        enable_lazy_state=lazy,
        preloaded_keys=preload,
        context_managers=context_managers,
        **fields,
    )


def _preloaded(
    enable_lazy_state: bool | None, state_preload: bool | Sequence[str] | None
) -> tuple[bool | None, tuple[str, ...] | None]:
    """Whether state is fetched on demand, and which of it comes along all the same."""
    if state_preload is None:
        return enable_lazy_state, None
    if enable_lazy_state is not None:
        raise ValueError("give state_preload or enable_lazy_state, not both")
    if isinstance(state_preload, bool):
        return not state_preload, None
    if isinstance(state_preload, str):
        raise TypeError(f"state_preload is {state_preload!r}, expected True, False or a list of keys")
    return True, tuple(state_preload) or None


def _documentation(function: Callable[..., Any]) -> str | None:
    text = function.__doc__
    return text.strip() if text else None
