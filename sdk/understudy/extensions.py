"""For libraries that work inside handlers without being handed a context: the current one, and data tied to it.

The data live as long as the attempt and are not journaled: another attempt begins without them.
"""

from __future__ import annotations

from typing import Any

from understudy.api.context import Context
from understudy.api.regions import CURRENT


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


__all__ = ["clear_extension_data", "current_context", "get_extension_data", "set_extension_data"]
