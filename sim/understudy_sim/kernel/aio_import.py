"""Imports trio-asyncio without letting it take over asyncio.

Its import replaces asyncio's event loop policy and a dozen of asyncio's functions for the whole interpreter, so that
every later `asyncio.run`, of a test of somebody else's for example, runs on trio.  A simulated loop makes itself the
running one around its callbacks, and needs none of that: everything is put back.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import warnings
from asyncio import events, tasks
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final

_NAMES: Final = (
    "get_event_loop_policy",
    "set_event_loop_policy",
    "_get_running_loop",
    "get_running_loop",
    "get_event_loop",
    "set_event_loop",
    "new_event_loop",
)


def trio_asyncio() -> Any:
    """The package.  Raises ImportError, which says what to install."""
    found = sys.modules.get("trio_asyncio")
    if found is not None:
        return found  # Somebody wants it, with all it does.
    try:
        with _asyncio_kept():
            return importlib.import_module("trio_asyncio")
    except ImportError as missing:
        raise ImportError(
            "an asyncio application can only be rehearsed with trio-asyncio, which is not installed: "
            "pip install 'understudy[guests]'"
        ) from missing


@contextmanager
def _asyncio_kept() -> Iterator[None]:
    """Put asyncio's names and policy back as they were."""
    places: list[tuple[ModuleType, str]] = [(module, name) for module in (asyncio, events) for name in _NAMES]
    places += [(asyncio, "current_task"), (tasks, "current_task")]
    before = [(module, name, getattr(module, name)) for module, name in places]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Policies are going, in newer Pythons.
        policy = events.get_event_loop_policy()
        try:
            yield
        finally:
            for module, name, value in before:
                setattr(module, name, value)
            events.set_event_loop_policy(policy)
