"""Where a blocking function runs: in a worker thread, until its code has shown that a thread costs more than it does.

A hop to a worker thread and back costs more than most steps of a handler do.  A function whose code ran QUICK_RUNS
times in a row in a worker, each time within QUICK_NS, runs in the loop's thread from then on.  One run there that takes
longer than SLOW_NS sends its code back to the workers for good, so one function stalls the loop at most once.

Functions are told apart by their code object: a lambda written in a handler is the same one at every call.  What has no
code (a builtin, a C extension) always goes to a worker.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from types import CodeType
from typing import Final

QUICK_RUNS: Final = 8
QUICK_NS: Final = 100_000
SLOW_NS: Final = 1_000_000
# Code that was made at run time may be new at every call; above this many the newcomers go to workers.
CODES_MAX: Final = 10_000

NEVER: Final = -1
RunInThread = Callable[[Callable[[], object]], Awaitable[object]]


class Offload:
    """Runs blocking functions.  *monotonic_ns* must be callable from worker threads."""

    def __init__(self, monotonic_ns: Callable[[], int], run_in_thread: RunInThread) -> None:
        self._monotonic_ns = monotonic_ns
        self._run_in_thread = run_in_thread
        self._quick_runs: dict[CodeType, int] = {}  # NEVER: this code blocks.

    async def run(self, function: Callable[[], object]) -> object:
        """Run *function* where it belongs and return what it returns; what it raises is raised."""
        code = code_of(function)
        if code is None:
            return await self._run_in_thread(function)
        quick_runs = self._quick_runs.get(code, 0)
        if quick_runs >= QUICK_RUNS:
            return self._run_here(code, function)
        taken_ns = NEVER

        def timed() -> object:
            nonlocal taken_ns
            started_ns = self._monotonic_ns()
            try:
                return function()
            finally:
                taken_ns = self._monotonic_ns() - started_ns

        try:
            return await self._run_in_thread(timed)
        finally:
            self._learn(code, taken_ns)

    def _run_here(self, code: CodeType, function: Callable[[], object]) -> object:
        started_ns = self._monotonic_ns()
        try:
            return function()
        finally:
            if self._monotonic_ns() - started_ns > SLOW_NS:
                self._quick_runs[code] = NEVER

    def _learn(self, code: CodeType, taken_ns: int) -> None:
        """Count a run in a worker.  A slow one starts the count again: the first call of anything is slow."""
        known = self._quick_runs.get(code)
        if known == NEVER or taken_ns < 0 or (known is None and len(self._quick_runs) >= CODES_MAX):
            return
        self._quick_runs[code] = (known or 0) + 1 if taken_ns <= QUICK_NS else 0


def code_of(function: Callable[[], object]) -> CodeType | None:
    """The code *function* runs, through partials and methods; None for what has none.

    >>> code_of(partial(print, "x")) is None
    True
    """
    while isinstance(function, partial):
        function = function.func
    code = getattr(function, "__code__", None)
    return code if isinstance(code, CodeType) else None
