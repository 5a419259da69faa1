"""Where a blocking function runs: in a worker thread, until its code has shown that a thread costs more than it does.

A hop to a worker thread and back costs more than most steps of a handler do.  A function whose code ran QUICK_RUNS
times in a row in a worker, each time within QUICK_NS, runs in the loop's thread from then on.

A run there that takes longer than SLOW_NS is looked at.  If its thread waited, and nobody of ours could have held the
interpreter, the code blocks, and goes back to the workers for good.  If its thread waited while workers were running,
it may have waited for them only, so the code has to prove itself again, twice as long.  If it did not wait, the machine
gave its core to somebody else, or the code computes; it proves itself again.  So a function that blocks stalls the loop
at most once, and a function that does not is never sent away by a busy machine.

Functions are told apart by their code object: a lambda written in a handler is the same one at every call.  What has no
code (a builtin, a C extension) always goes to a worker.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from types import CodeType
from typing import Any, Final

import attrs

QUICK_RUNS: Final = 8
QUICK_NS: Final = 100_000
SLOW_NS: Final = 1_000_000
# Code that was made at run time may be new at every call; above this many the newcomers go to workers.
CODES_MAX: Final = 10_000

NEVER: Final = -1
RunInThread = Callable[[Callable[[], Any]], Awaitable[Any]]


@attrs.define
class Known:
    """What some code has shown: quick runs in a row (NEVER: it blocks), and how many take it out of the workers."""

    quick_runs: int = 0
    quick_runs_needed: int = QUICK_RUNS


class Offload:
    """Runs blocking functions.

    *monotonic_ns* must be callable from worker threads; *waits* says how often the calling thread has given up its core
    by itself.
    """

    def __init__(self, monotonic_ns: Callable[[], int], waits: Callable[[], int], run_in_thread: RunInThread) -> None:
        self._monotonic_ns = monotonic_ns
        self._waits = waits
        self._run_in_thread = run_in_thread
        self._known: dict[CodeType, Known] = {}
        self._in_workers = 0

    async def run(self, function: Callable[[], object]) -> object:
        """Run *function* where it belongs and return what it returns; what it raises is raised."""
        code = code_of(function)
        if code is None:
            return await self._run_in_worker(Known(), function)
        known = self._known.get(code)
        if known is None:
            known = Known()
            if len(self._known) < CODES_MAX:
                self._known[code] = known
        elif known.quick_runs >= known.quick_runs_needed:
            return self._run_here(known, function)
        return await self._run_in_worker(known, function)

    async def _run_in_worker(self, known: Known, function: Callable[[], object]) -> object:
        taken_ns = -1

        def timed() -> object:
            nonlocal taken_ns
            started_ns = self._monotonic_ns()
            try:
                # What a lambda makes may be a coroutine, to be awaited in the loop: bare, trio takes it for a mistake.
                return (function(),)
            finally:
                taken_ns = self._monotonic_ns() - started_ns

        self._in_workers += 1
        try:
            (value,) = await self._run_in_thread(timed)
            return value
        finally:
            self._in_workers -= 1
            if known.quick_runs != NEVER and taken_ns >= 0:
                # A slow run starts the count again: the first call of anything is slow.
                known.quick_runs = known.quick_runs + 1 if taken_ns <= QUICK_NS else 0

    def _run_here(self, known: Known, function: Callable[[], object]) -> object:
        waits, started_ns = self._waits(), self._monotonic_ns()
        try:
            return function()
        finally:
            if self._monotonic_ns() - started_ns > SLOW_NS:
                self._doubt(known, has_waited=self._waits() != waits)

    def _doubt(self, known: Known, *, has_waited: bool) -> None:
        """Code ran too long in the loop's thread."""
        if has_waited and not self._in_workers:
            known.quick_runs = NEVER
            return
        known.quick_runs = 0
        if has_waited:
            known.quick_runs_needed *= 2


def code_of(function: Callable[[], object]) -> CodeType | None:
    """The code *function* runs, through partials and methods; None for what has none.

    >>> code_of(partial(print, "x")) is None
    True
    """
    while isinstance(function, partial):
        function = function.func
    code = getattr(function, "__code__", None)
    return code if isinstance(code, CodeType) else None
