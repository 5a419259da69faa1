"""Was the loop blocked, for how long, and who blocked it?  Decided from looks at a running process, taken by a thread.

A *step* is what the loop does between two waits for the outside.  Each look says which step is under way, if any; the
same step at every look for STALL_MS is a stall.  Its stack is taken while it lasts, and it is told once it has ended,
or after TOLD_MS if it has not.

Pure: no clock, no thread.  The looks are `real_world.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final

import attrs

STALL_MS: Final = 100
TOLD_MS: Final = 1_000
LOOK_MS: Final = 20
# Looks that far apart: something kept the looking thread from its core, or from the interpreter.
GAP_MS: Final = 100
# The share of a stall that its thread had a core: from here on the step computed, on a busy machine; below, it waited.
COMPUTING_SHARE: Final = 0.1
# Below so much, after a gap, the whole process stood still: the machine's doing, not the step's.
STOOD_STILL_SHARE: Final = 0.05


@attrs.frozen
class Place:
    """A line of code that is being run."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


Stack = Sequence[Place]  # The innermost place last.


@attrs.frozen
class Look:
    """What a look found.  `step` None: the loop waits.  `cpu_ms`: CPU time of the loop's thread; None if unknown."""

    now_ms: float
    step: int | None
    cpu_ms: float | None


@attrs.frozen
class Stall:
    """The loop was blocked for `ms` so far; `is_over` once it goes on.

    `at` is the innermost line that is neither Python's, nor a library's, nor ours; `inside` the innermost of all.
    """

    ms: int
    at: Place
    inside: Place
    computing: bool | None
    is_over: bool


class Phase(Enum):
    """How much is known about the step under way."""

    QUIET = 0  # It has not been long.
    HELD = 1  # It is a stall; its stack is taken.
    TOLD = 2  # It was told, and goes on.


class StallCore:
    """The state between looks.  *is_foreign* says of a file whether its lines are not to blame."""

    def __init__(self, is_foreign: Callable[[str], bool]) -> None:
        self._is_foreign = is_foreign
        self._phase = Phase.QUIET
        self._first: Look | None = None
        self._last: Look | None = None
        self._stack: Stack = ()

    def look(self, look: Look, stack_now: Callable[[], Stack]) -> Stall | None:
        """Take in *look*; *stack_now* is called when the stack is wanted.  What is to be told, if anything."""
        first, last, self._last = self._first, self._last, look
        if first is None or first.step != look.step:
            ended = self._ended(first, last, look)
            self._first = first = began(last, look)
            self._phase = Phase.QUIET
            if ended is not None or first is None or first is look:
                return ended
        assert last is not None, "the first look came before"
        if self._phase is Phase.QUIET and stood_still(last, look):
            self._first = look
            return None
        lasting_ms = look.now_ms - first.now_ms
        if self._phase is Phase.QUIET and lasting_ms >= STALL_MS - LOOK_MS:
            self._stack = stack_now()
            self._phase = Phase.HELD if self._stack else Phase.QUIET
        if self._phase is Phase.HELD and lasting_ms >= TOLD_MS:
            self._phase = Phase.TOLD
            return self._stall(first, look, is_over=False)
        return None

    def _ended(self, first: Look | None, last: Look | None, look: Look) -> Stall | None:
        """The step has changed: what is to be told of the one before."""
        if self._phase is Phase.QUIET:
            return None
        assert first is not None, "a stall has a first look"
        assert last is not None, "a stall has a last look"
        return self._stall(first, attrs.evolve(look, cpu_ms=last.cpu_ms), is_over=True)

    def _stall(self, first: Look, until: Look, *, is_over: bool) -> Stall:
        ms = until.now_ms - first.now_ms
        computing = None
        if first.cpu_ms is not None and until.cpu_ms is not None:
            computing = until.cpu_ms - first.cpu_ms >= COMPUTING_SHARE * (ms - LOOK_MS)
        return Stall(round(ms), to_blame(self._stack, self._is_foreign), self._stack[-1], computing, is_over)


def began(last: Look | None, look: Look) -> Look | None:
    """When the step under way at *look*, and not before, began; None when there is none.

    After a gap in which the process was busy: right after the look before.  Somebody held the interpreter, and whoever
    lets go of it is looked at first.
    """
    if look.step is None:
        return None
    if last is None or look.now_ms - last.now_ms < GAP_MS or stood_still(last, look):
        return look
    return attrs.evolve(last, step=look.step)


def stood_still(last: Look, look: Look) -> bool:
    """Whether the whole process got no time between two looks."""
    gap_ms = look.now_ms - last.now_ms
    if gap_ms < GAP_MS or last.cpu_ms is None or look.cpu_ms is None:
        return False
    return look.cpu_ms - last.cpu_ms < STOOD_STILL_SHARE * gap_ms


def to_blame(stack: Stack, is_foreign: Callable[[str], bool]) -> Place:
    """The innermost place in a file that is not foreign; the innermost of all when there is none.

    >>> str(to_blame([Place("a.py", 1, "f"), Place("time.py", 2, "g")], lambda file: file == "time.py"))
    'a.py:1'
    """
    assert stack, "somebody ran"
    return next((place for place in reversed(stack) if not is_foreign(place.file)), stack[-1])
