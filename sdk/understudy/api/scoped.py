"""Calls within a scope: the same six as a context's, with a limit key.

Scopes belong to protocol version 7. The versions spoken here end the attempt with error 573 at the call, so that the
invocation goes on when it meets a server and an SDK that know them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from understudy.api.futures import CallFuture, SendHandle
from understudy.api.handler import HandlerFunction

if TYPE_CHECKING:
    from understudy.api.context import Context

I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741


class ScopedContext:
    """A context's calls and sends within one scope.  Made by `Context.scope`."""

    __slots__ = ("_context", "_scope")

    def __init__(self, context: Context, scope: str) -> None:
        self._context = context
        self._scope = scope

    def service_call(
        self,
        tpe: HandlerFunction[I, O],
        arg: I,
        limit_key: str | None = None,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> CallFuture[O]:
        """Call a handler of a service; the future is its result."""
        return self._context._call(tpe, "", arg, idempotency_key, headers, self._scope, limit_key)

    def service_send(
        self,
        tpe: HandlerFunction[I, O],
        arg: I,
        send_delay: timedelta | None = None,
        limit_key: str | None = None,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> SendHandle:
        """Call a handler of a service and do not wait, now or after *send_delay*."""
        return self._context._send(tpe, "", arg, send_delay, idempotency_key, headers, self._scope, limit_key)

    def object_call(
        self,
        tpe: HandlerFunction[I, O],
        key: str,
        arg: I,
        limit_key: str | None = None,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> CallFuture[O]:
        """Call a handler of the object or workflow *key*; the future is its result."""
        return self._context._call(tpe, key, arg, idempotency_key, headers, self._scope, limit_key)

    def object_send(
        self,
        tpe: HandlerFunction[I, O],
        key: str,
        arg: I,
        send_delay: timedelta | None = None,
        limit_key: str | None = None,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> SendHandle:
        """Call a handler of the object or workflow *key* and do not wait, now or after *send_delay*."""
        return self._context._send(tpe, key, arg, send_delay, idempotency_key, headers, self._scope, limit_key)

    # A workflow is called as an object is.
    workflow_call = object_call
    workflow_send = object_send


__all__ = ["ScopedContext"]
