"""Finds what spins: steps without end in hardly any time, and one step that never ends.

`Pace` is asked every few hundred steps and compares steps with virtual time since the owner last saw something happen.
`step_watchdog` runs by the CPU time of this process, as nothing else does in the kernel: it barks only where a run
would hang for ever, so it changes no run that ends.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import trio

from understudy_sim.kernel.trace import ORDINAL_MASK, Step
from understudy_sim.kernel.waiters import is_library, waiters_of

if TYPE_CHECKING:
    from understudy_sim.kernel.loop import Loop
    from understudy_sim.kernel.runner import ProcessRunner

WINDOW_NS: Final = 1_000_000_000
TICK_S: Final = 4.0
SUSPECTS_MAX: Final = 3
# Who took less of the latest steps is none.
SHARE_MIN: Final = 0.2
TAIL_ENTRIES: Final = 4_000
TASKS_GONE: Final = "tasks that have ended since"


class StepNeverEnds(BaseException):
    """A single step has run for so long that it never will end."""


class Pace:
    """More than *steps_max* steps within a second of virtual time, and nothing came of them.

    `mark` says that something did.
    """

    def __init__(self, loop: Loop, steps_max: int) -> None:
        assert steps_max >= 1, "a bound"
        self._loop = loop
        self._steps_max = steps_max
        self._steps = 0
        self._since_ns = 0

    def mark(self) -> None:
        """Something happened: the window begins anew."""
        self._steps, self._since_ns = self._loop.steps, self._loop.now_ns

    def look(self) -> bool:
        """Whether somebody spins."""
        if self._loop.now_ns - self._since_ns > WINDOW_NS:
            self.mark()
        return self._loop.steps - self._steps > self._steps_max


def busiest(loop: Loop, about: Callable[[Any], str] = lambda task: "") -> list[str]:
    """Who took a good part of the latest steps, and where each stands now: alike tasks as one, the busiest always.

    *about* says more of a task.
    """
    counted = Counter(entry.ordinal for entry in _tail(loop))
    tasks = {task._counter & ORDINAL_MASK: (runner, task) for runner in loop.runners for task in runner.tasks}
    alike: dict[str, list[int]] = {}
    for ordinal, count in counted.items():
        alike.setdefault(_named(*tasks[ordinal], about) if ordinal in tasks else TASKS_GONE, []).append(count)
    total = sum(counted.values())
    lines: list[str] = []
    for who, counts in sorted(alike.items(), key=lambda pair: -sum(pair[1]))[:SUSPECTS_MAX]:
        if not lines or sum(counts) >= SHARE_MIN * total:
            many = f", of {len(counts)} tasks" if len(counts) > 1 else ""
            lines.append(f"{100 * sum(counts) // total} % of the steps{many}: {who}")
    return lines


def _named(runner: ProcessRunner, task: Any, about: Callable[[Any], str]) -> str:
    found = waiters_of([(runner.process.name, [task])])[0]
    more = about(task)
    return f"{found}\n    {more}" if more else str(found)


def _tail(loop: Loop) -> list[Step]:
    steps = [entry for entry in loop.trace.entries() if isinstance(entry, Step)]
    return steps[-TAIL_ENTRIES:]


@contextlib.contextmanager
def step_watchdog(loop: Loop, found: Callable[[str], object], tick_s: float) -> Iterator[None]:
    """While open, a step that takes more than two ticks of CPU time is broken off, and *found* is told where it was."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Signals reach the main thread alone.
        return
    seen = [-1]

    def bark(number: int, frame: FrameType | None) -> None:
        if seen[0] != loop.steps:
            seen[0] = loop.steps
            return
        found(f"{_place(frame)}{_who(loop)}")
        raise StepNeverEnds

    before = signal.signal(signal.SIGVTALRM, bark)
    signal.setitimer(signal.ITIMER_VIRTUAL, tick_s, tick_s)
    try:
        yield
    except StepNeverEnds:
        return  # It was between two steps; *found* has been told.
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _who(loop: Loop) -> str:
    """Whose step it is; empty between two steps."""
    runner = loop.current_runner
    return "" if runner is None else f", by {runner.process.name}: {trio.lowlevel.current_task().name}"


def _place(frame: FrameType | None) -> str:
    """The innermost place that is not a library's."""
    stack = traceback.extract_stack(frame) if frame is not None else []
    for entry in reversed(stack):
        if not is_library(entry.filename):
            return f"{entry.name} ({entry.filename}:{entry.lineno})"
    return "?"
