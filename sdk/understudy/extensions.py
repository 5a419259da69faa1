"""For libraries that work inside handlers without being handed a context: the current one, and data tied to it.

The data live as long as the attempt and are not journaled: another attempt begins without them. A value that has a
method `__close__` (sync or async) is closed when the handler has ended.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from typing import Any, Generic, ParamSpec, TypeVar

from understudy.api.context import Context
from understudy.api.regions import CURRENT

P = ParamSpec("P")
T = TypeVar("T")

_NOTHING: Any = object()


class contextvar(Generic[P, T]):  # noqa: N801
    """Decorates a function that makes async context managers: what they yield is kept in `value` meanwhile.

    For ``invocation_context_managers``, whose values nobody receives:

        @contextvar
        @asynccontextmanager
        async def connection(): yield await connect()

        Service("Mail", invocation_context_managers=[connection])    # in a handler: connection.value
    """

    def __init__(self, func: Callable[P, AbstractAsyncContextManager[T]]) -> None:
        self._function = func
        self._value: ContextVar[T] = ContextVar(getattr(func, "__name__", "value"))

    @property
    def value(self) -> T:
        """What the manager that was entered last yields.  Raises LookupError where none is entered."""
        value: T = self._value.get(_NOTHING)
        if value is _NOTHING:
            raise LookupError(f"{self._value.name} has a value only inside its context manager")
        return value

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> AbstractAsyncContextManager[None]:
        """A manager to enter."""
        return self._kept(self._function(*args, **kwargs))

    @asynccontextmanager
    async def _kept(self, manager: AbstractAsyncContextManager[T]) -> AsyncIterator[None]:
        async with manager as value:
            outer = self._value.get(_NOTHING)
            self._value.set(value)
            try:
                yield
            finally:
                # Not by token: a generator that is thrown away is closed in another context.
                self._value.set(outer)


def current_context() -> Context | None:
    """The context of the handler that runs here, or of whose `ctx.run` this is; None outside of handlers.

    That a step is taken from the wrong task, or inside `ctx.run`, stays an error.
    """
    current = CURRENT.get()
    return None if current is None else current()


def set_extension_data(ctx: Context, key: str, value: Any) -> None:
    """Keep *value* under *key* until the attempt of *ctx* is over."""
    if ctx._extension_data is None:
        ctx._extension_data = {}
    ctx._extension_data[key] = value


def get_extension_data(ctx: Context, key: str) -> Any:
    """What is kept under *key*, None when nothing is."""
    return None if ctx._extension_data is None else ctx._extension_data.get(key)


def clear_extension_data(ctx: Context, key: str) -> None:
    """Keep nothing under *key* any more."""
    if ctx._extension_data is not None:
        ctx._extension_data.pop(key, None)


__all__ = ["clear_extension_data", "contextvar", "current_context", "get_extension_data", "set_extension_data"]
