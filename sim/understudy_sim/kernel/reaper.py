"""Frees the dead after the verdict.  Their `finally` blocks may run here, unseen; nothing they do can reach a
run any more.

Each dead coroutine is closed, newest first and from the inside out, at most `_TRIES` times, with trio's context
set and a runner that ignores wakes: an await in a cleanup merely parks.  A cleanup that spins without awaiting is
broken off by a watchdog.  A coroutine that will not end (`while True` around an `except BaseException`) is kept for
ever: freeing it would run it again.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import CoroutineType, FrameType, GeneratorType
from typing import Any

from understudy_sim.kernel import trio_parts as parts
from understudy_sim.kernel.loop import ProcessRunner

_TRIES = 64
_WATCHDOG_S = 0.5
# The one exception to "no module-level state": nothing reads it, it only keeps the collector away.
_UNDEAD: list[object] = []


class Overdue(BaseException):
    """A dead task's cleanup ran for too long without awaiting."""


def reap(graveyard: list[ProcessRunner]) -> int:
    """Close every task of *graveyard* and empty it.

    Returns how many coroutines would not end and were left.
    """
    stubborn = 0
    with parts.trio_context(_nobody) as context, _muted(), _watchdog() as guard:
        while graveyard:
            runner = graveyard.pop()
            assert runner.dead, "only the dead are reaped"
            stubborn += _reap_runner(runner, context, guard)
    return stubborn


def close_inside_out(coroutine: Any) -> None:
    """Close *coroutine*, and before it whatever it awaits.  Raises RuntimeError when a cleanup awaits: try again.

    `coroutine.close()` alone would throw that error into the middle of the chain, and what is further inside would be
    forgotten while it is suspended, to complain when it is collected.
    """
    chain: list[CoroutineType[Any, Any, Any] | GeneratorType[Any, Any, Any]] = []
    inner = coroutine
    while isinstance(inner, CoroutineType | GeneratorType):
        chain.append(inner)
        inner = inner.cr_await if isinstance(inner, CoroutineType) else inner.gi_yieldfrom
    for one in reversed(chain):
        one.close()


class _Guard:
    """Whether a cleanup is under way: only then may the watchdog bark."""

    __slots__ = ("closing",)

    def __init__(self) -> None:
        self.closing = False


def _reap_runner(runner: ProcessRunner, context: dict[str, Any], guard: _Guard) -> int:
    stubborn = 0
    context["runner"] = runner
    tasks = sorted(runner.tasks, key=lambda task: -abs(task._counter))
    for task in tasks:
        for nursery in task._child_nurseries:
            nursery._children.clear()
        parts.PARKING_LOT_BREAKER.pop(task, None)
    for task in tasks:
        context["task"] = task
        if not _close(partial(task.context.run, close_inside_out, task.coro), guard):
            stubborn += 1
            _UNDEAD.append(task.coro)
    for take in runner.remains:
        for close in take():
            if not _close(close, guard):
                stubborn += 1
                _UNDEAD.append(close)
    for generator in runner.asyncgens.take_all():
        _close(partial(generator.aclose().send, None), guard)
    runner.tasks.clear()
    context.pop("task", None)
    return stubborn


def _close(close: Callable[[], object], guard: _Guard) -> bool:
    """Whether it ended."""
    for _ in range(_TRIES):
        try:
            guard.closing = True
            close()
        except BaseException:
            continue  # It awaited ("coroutine ignored GeneratorExit"), or ended with an error: who awaits it is next.
        finally:
            guard.closing = False
        return True
    return False


@contextlib.contextmanager
def _watchdog() -> Iterator[_Guard]:
    guard = _Guard()
    if threading.current_thread() is not threading.main_thread():
        yield guard  # Signals reach the main thread alone.
        return

    def bark(number: int, frame: FrameType | None) -> None:
        if guard.closing:
            raise Overdue

    before = signal.signal(signal.SIGALRM, bark)
    others = signal.setitimer(signal.ITIMER_REAL, _WATCHDOG_S, _WATCHDOG_S)
    try:
        yield guard
    finally:
        signal.setitimer(signal.ITIMER_REAL, *others)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _muted() -> Iterator[None]:
    """Coroutines that will not end complain when freed, and cleanups log: all of that is about the dead."""
    before, level = sys.unraisablehook, logging.root.manager.disable
    sys.unraisablehook = lambda unraisable: None
    logging.disable()
    try:
        yield
    finally:
        sys.unraisablehook = before
        logging.disable(level)


def _nobody(generator: object) -> None:
    """Generators first iterated in a dead cleanup are not kept."""
