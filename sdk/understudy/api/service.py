"""Services, virtual objects and workflows, and the decorators that put handlers into them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, ClassVar, Literal, TypeVar

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

_JSON = "application/json"


class Definition:
    """What the three kinds of service have in common: a name, options and handlers."""

    kind: ClassVar[ServiceKind]

    def __init__(self, name: str, options: Options) -> None:
        if not name:
            raise ValueError("a service needs a name")
        self.name = name
        self.options = options
        self.handlers: dict[str, Handler] = {}

    def _add(
        self,
        function: F,
        *,
        name: str | None,
        kind: HandlerKind,
        accept: str,
        content_type: str,
        input_serde: Serde[Any],
        output_serde: Serde[Any],
        options: Options,
    ) -> F:
        managers = (*self.options.context_managers, *options.context_managers)
        handler = describe_handler(
            function,
            service=self.name,
            service_kind=self.kind,
            name=name,
            kind=kind,
            accept=accept,
            content_type=content_type,
            input_serde=input_serde,
            output_serde=output_serde,
            options=attrs.evolve(options, context_managers=managers),
        )
        if handler.name in self.handlers:
            raise ValueError(f"{self.name} has two handlers named {handler.name!r}")
        self.handlers[handler.name] = handler
        setattr(function, ATTRIBUTE, handler)
        return function

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {sorted(self.handlers)}>"


class Service(Definition):
    """Handlers without a key; any number of their invocations run at once."""

    kind: ClassVar[ServiceKind] = "SERVICE"

    def __init__(
        self,
        name: str,
        description: str | None = None,
        metadata: Mapping[str, str] | None = None,
        inactivity_timeout: timedelta | None = None,
        abort_timeout: timedelta | None = None,
        journal_retention: timedelta | None = None,
        idempotency_retention: timedelta | None = None,
        ingress_private: bool | None = None,
        invocation_retry_policy: InvocationRetryPolicy | None = None,
        invocation_context_managers: ContextManagers = (),
    ) -> None:
        super().__init__(
            name,
            Options(
                documentation=description,
                metadata=metadata,
                inactivity_timeout=inactivity_timeout,
                abort_timeout=abort_timeout,
                journal_retention=journal_retention,
                idempotency_retention=idempotency_retention,
                ingress_private=ingress_private,
                invocation_retry_policy=invocation_retry_policy,
                context_managers=invocation_context_managers,
            ),
        )

    def handler(
        self,
        name: str | None = None,
        accept: str = _JSON,
        content_type: str = _JSON,
        input_serde: Serde[Any] | None = None,
        output_serde: Serde[Any] | None = None,
        metadata: Mapping[str, str] | None = None,
        inactivity_timeout: timedelta | None = None,
        abort_timeout: timedelta | None = None,
        journal_retention: timedelta | None = None,
        idempotency_retention: timedelta | None = None,
        ingress_private: bool | None = None,
        invocation_retry_policy: InvocationRetryPolicy | None = None,
        invocation_context_managers: ContextManagers = (),
    ) -> Callable[[F], F]:
        """Decorate a handler of this service.  Raises ValueError for a second handler of the same name."""

        def decorate(function: F) -> F:
            return self._add(
                function,
                name=name,
                kind=None,
                accept=accept,
                content_type=content_type,
                input_serde=input_serde or DefaultSerde(),
                output_serde=output_serde or DefaultSerde(),
                options=Options(
                    documentation=_documentation(function),
                    metadata=metadata,
                    inactivity_timeout=inactivity_timeout,
                    abort_timeout=abort_timeout,
                    journal_retention=journal_retention,
                    idempotency_retention=idempotency_retention,
                    ingress_private=ingress_private,
                    invocation_retry_policy=invocation_retry_policy,
                    context_managers=invocation_context_managers,
                ),
            )

        return decorate


class _Keyed(Definition):
    """A service whose invocations have a key and state."""

    def __init__(
        self,
        name: str,
        description: str | None = None,
        metadata: Mapping[str, str] | None = None,
        inactivity_timeout: timedelta | None = None,
        abort_timeout: timedelta | None = None,
        journal_retention: timedelta | None = None,
        idempotency_retention: timedelta | None = None,
        enable_lazy_state: bool | None = None,
        ingress_private: bool | None = None,
        invocation_retry_policy: InvocationRetryPolicy | None = None,
        invocation_context_managers: ContextManagers = (),
        state_preload: bool | None = None,
    ) -> None:
        super().__init__(
            name,
            Options(
                documentation=description,
                metadata=metadata,
                inactivity_timeout=inactivity_timeout,
                abort_timeout=abort_timeout,
                journal_retention=journal_retention,
                idempotency_retention=idempotency_retention,
                enable_lazy_state=_lazy(enable_lazy_state, state_preload),
                ingress_private=ingress_private,
                invocation_retry_policy=invocation_retry_policy,
                context_managers=invocation_context_managers,
            ),
        )

    def _decorator(
        self,
        *,
        kind: HandlerKind,
        name: str | None = None,
        accept: str = _JSON,
        content_type: str = _JSON,
        input_serde: Serde[Any] | None = None,
        output_serde: Serde[Any] | None = None,
        metadata: Mapping[str, str] | None = None,
        inactivity_timeout: timedelta | None = None,
        abort_timeout: timedelta | None = None,
        journal_retention: timedelta | None = None,
        idempotency_retention: timedelta | None = None,
        workflow_retention: timedelta | None = None,
        enable_lazy_state: bool | None = None,
        ingress_private: bool | None = None,
        invocation_retry_policy: InvocationRetryPolicy | None = None,
        invocation_context_managers: ContextManagers = (),
        state_preload: bool | None = None,
    ) -> Callable[[F], F]:
        lazy = _lazy(enable_lazy_state, state_preload)

        def decorate(function: F) -> F:
            return self._add(
                function,
                name=name,
                kind=kind,
                accept=accept,
                content_type=content_type,
                input_serde=input_serde or DefaultSerde(),
                output_serde=output_serde or DefaultSerde(),
                options=Options(
                    documentation=_documentation(function),
                    metadata=metadata,
                    inactivity_timeout=inactivity_timeout,
                    abort_timeout=abort_timeout,
                    journal_retention=journal_retention,
                    idempotency_retention=idempotency_retention,
                    workflow_retention=workflow_retention,
                    enable_lazy_state=lazy,
                    ingress_private=ingress_private,
                    invocation_retry_policy=invocation_retry_policy,
                    context_managers=invocation_context_managers,
                ),
            )

        return decorate


class VirtualObject(_Keyed):
    """Handlers with a key and state of that key; exclusive handlers of one key run one at a time."""

    kind: ClassVar[ServiceKind] = "VIRTUAL_OBJECT"

    def handler(
        self,
        name: str | None = None,
        kind: Literal["exclusive", "shared"] = "exclusive",
        accept: str = _JSON,
        content_type: str = _JSON,
        input_serde: Serde[Any] | None = None,
        output_serde: Serde[Any] | None = None,
        **options: Any,
    ) -> Callable[[F], F]:
        """Decorate a handler of this object: exclusive (may write state) or shared (reads it, runs beside others).

        *options*: metadata, inactivity_timeout, abort_timeout, journal_retention, idempotency_retention,
        enable_lazy_state, ingress_private, invocation_retry_policy, invocation_context_managers,
        state_preload. Raises ValueError for a second handler of the same name, TypeError for an option there
        is not.
        """
        kinds: dict[str, HandlerKind] = {"exclusive": "EXCLUSIVE", "shared": "SHARED"}
        if kind not in kinds:
            raise ValueError(f"kind is {kind!r}, expected 'exclusive' or 'shared'")
        _refuse_options(options, "workflow_retention")
        return self._decorator(
            kind=kinds[kind],
            name=name,
            accept=accept,
            content_type=content_type,
            input_serde=input_serde,
            output_serde=output_serde,
            **options,
        )


class Workflow(_Keyed):
    """A main handler that runs once per key, and shared handlers that talk to it."""

    kind: ClassVar[ServiceKind] = "WORKFLOW"

    def main(
        self,
        name: str | None = None,
        accept: str = _JSON,
        content_type: str = _JSON,
        input_serde: Serde[Any] | None = None,
        output_serde: Serde[Any] | None = None,
        **options: Any,
    ) -> Callable[[F], F]:
        """Decorate the handler that is the workflow; *options* as for an object's, with workflow_retention instead of
        idempotency_retention."""
        _refuse_options(options, "idempotency_retention")
        return self._decorator(
            kind="WORKFLOW",
            name=name,
            accept=accept,
            content_type=content_type,
            input_serde=input_serde,
            output_serde=output_serde,
            **options,
        )

    def handler(
        self,
        name: str | None = None,
        accept: str = _JSON,
        content_type: str = _JSON,
        input_serde: Serde[Any] | None = None,
        output_serde: Serde[Any] | None = None,
        **options: Any,
    ) -> Callable[[F], F]:
        """Decorate a shared handler of this workflow; *options* as for an object's."""
        _refuse_options(options, "workflow_retention")
        return self._decorator(
            kind="SHARED",
            name=name,
            accept=accept,
            content_type=content_type,
            input_serde=input_serde,
            output_serde=output_serde,
            **options,
        )


def _refuse_options(options: Mapping[str, Any], *refused: str) -> None:
    for name in ("kind", *refused):
        if name in options:
            raise TypeError(f"this kind of handler has no option {name!r}")


def _lazy(enable_lazy_state: bool | None, state_preload: bool | None) -> bool | None:
    """Whether state is fetched on demand; *state_preload* is the newer way to say the opposite."""
    if state_preload is None:
        return enable_lazy_state
    if enable_lazy_state is not None:
        raise ValueError("give state_preload or enable_lazy_state, not both")
    return not state_preload


def _documentation(function: Callable[..., Any]) -> str | None:
    text = function.__doc__
    return text.strip() if text else None
