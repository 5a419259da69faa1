"""A simulated process: a name that outlives its incarnations, each with a trio Runner of its own.

A *crash* is a power cut: nothing of the process runs again, no `finally`, no `except`; everything it holds at
a port is void from that instant.  Its tasks lie untouched in the graveyard until the verdict.  A process that
ends by itself ends in order.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any

import outcome

from understudy_sim.kernel.clock import EPOCH_NS, WallClock
from understudy_sim.kernel.loop import Loop, ProcessRunner, Timer


class State(enum.Enum):
    """The life of a process."""

    DOWN = "not running"
    RUNNING = "running"
    PAUSED = "stalled: its timers fire, its tasks do not run"


class Event(enum.Enum):
    """What happens to a process."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    CRASH = "crash"
    EXIT = "exit"


TRANSITIONS: Mapping[State, Mapping[Event, State]] = MappingProxyType(
    {
        State.DOWN: {Event.START: State.RUNNING},
        State.RUNNING: {Event.PAUSE: State.PAUSED, Event.CRASH: State.DOWN, Event.EXIT: State.DOWN},
        State.PAUSED: {Event.RESUME: State.RUNNING, Event.CRASH: State.DOWN},
    }
)

OnExit = Callable[["Process", "outcome.Outcome[Any]"], object]
OnStart = Callable[["Process", ProcessRunner], object]
OnDown = Callable[["Process", ProcessRunner, bool], object]


class IllegalTransition(RuntimeError):
    """The process is not in a state where that can happen to it."""


class Process:
    """One named process.

    Build it with `Kernel.process`; `incarnation` is 0 before the first start, then 1, 2, …
    """

    def __init__(self, loop: Loop, name: str, epoch_ns: int = EPOCH_NS) -> None:
        assert name, "a process has a name"
        self.name = name
        self.incarnation = 0
        self.state = State.DOWN
        self.wall = WallClock(loop, epoch_ns)
        self.failed_silently: Callable[[Process, BaseException], object] | None = None
        self._loop = loop
        self._runner: ProcessRunner | None = None
        self._on_exit: OnExit | None = None
        self._on_down: list[OnDown] = []
        self._on_start: list[OnStart] = []
        self._result: outcome.Outcome[Any] | None = None
        self._resume: Timer | None = None

    def __repr__(self) -> str:
        return f"<Process {self.name}.{self.incarnation} {self.state.name}>"

    @property
    def runner(self) -> ProcessRunner:
        """The runner of the current incarnation.  Ports keep it as the owner of what they hand out."""
        assert self._runner is not None, f"{self.name} is down"
        return self._runner

    @property
    def alive(self) -> bool:
        """Whether it is running or paused."""
        return self.state is not State.DOWN

    @property
    def task_count(self) -> int:
        """How many tasks of its own are alive: whether a crash or pause now would bite."""
        if self._runner is None:
            return 0
        return sum(1 for task in self._runner.tasks if task._counter > 0)

    def wall_ns(self) -> int:
        """This process's wall clock, epoch nanoseconds."""
        return self.wall.now_ns()

    def start(self, async_fn: Callable[..., Awaitable[object]], *args: Any, on_exit: OnExit | None = None) -> None:
        """Start the next incarnation with `async_fn(*args)` as its main task.

        *on_exit* is told when it ends by itself, with the Outcome of its main task; not when it crashes.
        Without *on_exit* an error ends the run, and so does one that *on_exit* raises.  Raises IllegalTransition when
        it is already running.
        """
        self._move(Event.START)
        self.incarnation += 1
        self._on_exit = on_exit
        self._result = None
        runner = self._runner = ProcessRunner(self._loop, self)
        self._loop.runners.append(runner)
        self._loop.trace.note("process.start", self.name, self.incarnation, self._loop.now_ns)
        for callback in self._on_start:
            callback(self, runner)
        runner.begin(async_fn, args)

    def crash(self, *, power: bool = True) -> None:
        """Cut the process off, now, even from inside its own step.

        Without *power* only it dies, not what the disk caches.
        """
        self._move(Event.CRASH)
        runner = self.runner
        self._loop.trace.note("process.crash", self.name, self.incarnation, self._loop.now_ns, int(power))
        self._go_down(runner, power)

    def pause(self, duration_ns: int) -> None:
        """Stall every task for *duration_ns*.  Time goes on; what comes due meanwhile is seen at the end."""
        assert duration_ns > 0, "a pause lasts"
        self._move(Event.PAUSE)
        runner = self.runner
        self._loop.trace.note("process.pause", self.name, self._loop.now_ns, duration_ns)
        runner.held = self._loop.take_ready_of(runner)
        self._resume = self._loop.call_at(self._loop.now_ns + duration_ns, _resume, self, runner)

    def resume(self) -> None:
        """End a pause early."""
        self._move(Event.RESUME)
        runner = self.runner
        held, runner.held = runner.held, None
        assert held is not None, "a paused process holds its tasks"
        if self._resume is not None:
            self._loop.cancel_timer(self._resume)
            self._resume = None
        self._loop.give_back(held)

    def on_start(self, callback: OnStart) -> None:
        """Call `callback(process, runner)` before an incarnation's first step."""
        self._on_start.append(callback)

    def on_down(self, callback: OnDown) -> None:
        """Call `callback(process, runner, power)` at every end of an incarnation;

        *power* tells a power cut.
        """
        self._on_down.append(callback)

    # What the runner tells

    def main_returned(self, result: outcome.Outcome[Any]) -> None:
        """The main task is over; the process still has to close down."""
        self._result = result

    def finished(self, runner: ProcessRunner) -> None:
        """The last task is over: the process has exited in order."""
        result = self._result if self._result is not None else runner.main_task_outcome
        assert result is not None, "a process that finished has a result"
        self._exit(runner, result)

    def broken(self, runner: ProcessRunner, error: BaseException) -> None:
        """A system task crashed: the process ends with *error*."""
        self._exit(runner, outcome.Error(error))

    def _exit(self, runner: ProcessRunner, result: outcome.Outcome[Any]) -> None:
        if runner.dead:
            return
        self._move(Event.EXIT)
        failed = isinstance(result, outcome.Error)
        self._loop.trace.note("process.exit", self.name, self.incarnation, self._loop.now_ns, int(failed))
        self._go_down(runner, False)
        if self._on_exit is not None:
            # Nobody above hears what is raised here: the run it ends in is over.
            result = outcome.capture(self._on_exit, self, result)
        if isinstance(result, outcome.Error):
            assert self.failed_silently is not None, "somebody must learn of a failed process"
            self.failed_silently(self, result.error)

    def _go_down(self, runner: ProcessRunner, power: bool) -> None:
        assert runner is self._runner, "only the current incarnation can end"
        self._runner = None
        if self._resume is not None:
            self._loop.cancel_timer(self._resume)
            self._resume = None
        runner.cut()
        for callback in self._on_down:
            callback(self, runner, power)

    def _move(self, event: Event) -> None:
        to = TRANSITIONS[self.state].get(event)
        if to is None:
            raise IllegalTransition(
                f"process {self.name!r} is {self.state.value}: {event.value} cannot happen to it now"
            )
        self.state = to


def _resume(process: Process) -> None:
    process._resume = None
    process.resume()
