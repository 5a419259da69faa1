"""The run loop: one scheduler over trio's unforked `Runner`s, one per simulated process, all on one virtual
clock.

One step runs one task to its next await.  One heap, ordered by `(time_ns, sequence)`, holds every timer,
network event and trio deadline.  When two or more tasks are ready a policy picks one; a lone ready task is no
decision.  trio's own system tasks run first, without a decision.  Tasks woken within one step join the ready
list in order of birth, because trio wakes some of them out of sets.

Idle is certain here: no ready task and an empty heap means that nobody can ever go on (`Ending.STUCK`).
This module knows no product, no network and no disk.
"""

from __future__ import annotations

import enum
import heapq
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import attrs
import outcome
import trio

from understudy_sim.kernel import trio_parts as parts
from understudy_sim.kernel.runner import ProcessRunner, Timer
from understudy_sim.kernel.spin import TICK_S, step_watchdog
from understudy_sim.kernel.trace import PICK_SHIFT, Trace
from understudy_sim.kernel.waiters import Waiter, waiters_of

if TYPE_CHECKING:
    from understudy_sim.kernel.policies import Policy

__all__ = ["Budget", "Ending", "Loop", "ProcessRunner", "Timer"]

_COMPACT_AT = 256
_push, _pop = heapq.heappush, heapq.heappop
_WaitTaskRescheduled = parts.WaitTaskRescheduled
_CancelShieldedCheckpoint = parts.CancelShieldedCheckpoint


class Ending(enum.Enum):
    """Why a run ended."""

    DONE = "the main task returned or raised"
    STUCK = "no task is ready and no event is due: nobody can ever go on"
    STEPS_EXHAUSTED = "the step budget is used up"
    TIME_EXHAUSTED = "the virtual time budget is used up"
    PROCESS_FAILED = "a process ended with an error that nobody was to be told of"
    SPINS = "it spins: steps are taken and nothing comes of them"


@attrs.define
class Budget:
    """How far a run may go: steps, and virtual time in ns."""

    steps_max: int = 5_000_000
    time_max_ns: int = 30 * 24 * 3600 * 1_000_000_000


class Loop:
    """See the module.  `now_ns` is virtual monotonic time from 0; every step costs `step_ns` of it."""

    def __init__(self, trace: Trace, pick: Policy, budget: Budget, step_ns: int) -> None:
        assert step_ns >= 0, "time does not go back"
        self.trace = trace
        self.pick = pick
        self.names = getattr(pick, "names", None)  # told of every birth, where the policy wants names
        self.budget = budget
        self.step_ns = step_ns
        self.now_ns = 0
        self.steps = 0
        self.dead_wakes = 0
        self.foreign_wakes: dict[tuple[str, str], int] = {}
        self.ready: list[Any] = []
        self.system: deque[Any] = deque()
        self.woken: list[Any] = []
        self.runners: list[ProcessRunner] = []
        self.graveyard: list[ProcessRunner] = []
        self.idle_waiters: list[tuple[int, int, Any]] = []
        self.ending: Ending | None = None
        self.stop_error: Callable[[], BaseException | None] = lambda: None
        self.patience_s = TICK_S
        self.spun: Callable[[str], object] = lambda place: None  # told where a step that never ends was broken off
        self.look: Callable[[], object] = lambda: None  # called now and then, between two steps
        self._heap: list[tuple[int, int, Timer]] = []
        self._cancelled = 0
        self._sequence = 0
        self._ordinal = 0
        self._context: dict[str, Any] = {}

    # Time

    def call_at(
        self, time_ns: int, fn: Callable[[Any], object], argument: Any = None, owner: ProcessRunner | None = None
    ) -> Timer:
        """Call `fn(argument)` at *time_ns*, not before everything due earlier;

        never if *owner* is dead by then.
        """
        assert time_ns >= self.now_ns, "nothing happens in the past"
        timer = Timer(fn, argument, owner)
        sequence = self._sequence = self._sequence + 1
        _push(self._heap, (time_ns, sequence, timer))
        return timer

    def cancel_timer(self, timer: Timer) -> None:
        """Cancel *timer* and now and then throw cancelled ones away."""
        timer.cancel()
        self._cancelled += 1
        if self._cancelled > _COMPACT_AT and 2 * self._cancelled > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].live]
            heapq.heapify(self._heap)
            self._cancelled = 0

    async def sleep_until_ns(self, time_ns: int) -> None:
        """Park the current task on the heap until *time_ns* (a fifth of what trio.sleep costs)."""
        task = self._context["task"]
        runner = task._runner
        timer = self.call_at(max(time_ns, self.now_ns), runner.reschedule, task, runner)

        def abort(_: object) -> trio.lowlevel.Abort:
            self.cancel_timer(timer)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def after_each_step(self, look: Callable[[], object] | None) -> None:
        """Call *look* after every step from now on (None: no more).  Free of charge while nobody looks.

        It may wake tasks and must change nothing else.
        """
        self.__dict__.pop("_step", None)
        if look is None:
            return
        step = self._step

        def looked_at(task: Any) -> None:
            step(task)
            look()

        self._step = looked_at  # type: ignore[method-assign]

    # What runners tell the loop

    @property
    def current_runner(self) -> ProcessRunner | None:
        """The runner whose task is running; None between steps."""
        return self._context["runner"] if "task" in self._context else None

    def take_ordinal(self, system_task: bool) -> int:
        """Number a new task.  System tasks are negative: they never take part in a decision."""
        self._ordinal += 1
        return -self._ordinal if system_task else self._ordinal

    def note_foreign_wake(self, waker: ProcessRunner, woken: ProcessRunner) -> None:
        """A task of one process woke or started one of another:

        legal between scenario and processes, else shared memory.
        """
        if self.current_runner is not None:
            pair = (waker.process.name, woken.process.name)
            self.foreign_wakes[pair] = self.foreign_wakes.get(pair, 0) + 1

    def forget_foreign_deadline(self, scope: Any) -> None:
        """A task of another process ended or moved *scope*'s deadline."""
        found = any(runner.deadlines.discard(scope) for runner in self.runners)
        assert found or any(runner.deadlines.discard(scope) for runner in self.graveyard), "whose deadline is it?"

    def bury(self, runner: ProcessRunner) -> None:
        """Take a dead runner's tasks out of every queue and keep them, untouched, for the reaper."""
        assert runner.dead, "the living are not buried"
        self.runners.remove(runner)
        self.graveyard.append(runner)
        for queue in (self.ready, self.woken):
            queue[:] = [task for task in queue if task._runner is not runner]
        if self.system:
            self.system = deque(task for task in self.system if task._runner is not runner)
        self.idle_waiters = [entry for entry in self.idle_waiters if entry[2]._runner is not runner]

    def take_ready_of(self, runner: ProcessRunner) -> list[Any]:
        """Take *runner*'s ready tasks out of every queue."""
        self.flush_woken()
        taken = [task for queue in (self.system, self.ready) for task in queue if task._runner is runner]
        self.system = deque(task for task in self.system if task._runner is not runner)
        self.ready[:] = [task for task in self.ready if task._runner is not runner]
        return taken

    def give_back(self, tasks: Sequence[Any]) -> None:
        """Make *tasks* ready again."""
        for task in tasks:
            (self.woken if task._counter > 0 else self.system).append(task)

    def stop(self, ending: Ending) -> None:
        """End the run after the current step.  The first reason counts."""
        if self.ending is None:
            self.ending = ending

    def flush_woken(self) -> None:
        """Let the tasks woken since the last flush join the ready list, in order of birth."""
        woken = self.woken
        if len(woken) > 1:
            woken.sort(key=_birth)
        self.ready.extend(woken)
        woken.clear()

    # Running

    def run(self) -> Ending:
        """Run until somebody stops it, a budget is used up, or nobody can go on.

        Errors of events are raised.
        """
        with parts.trio_context(self._first_iteration) as self._context, self._watchdog():
            ready, woken = self.ready, self.woken
            self.flush_woken()
            while self.ending is None:
                heap = self._heap
                if heap and heap[0][0] <= self.now_ns:
                    self._fire_due()
                elif self.system:
                    self._step(self.system.popleft())
                elif ready:
                    self._take(ready)
                elif not self.idle_waiters or not self._idle():
                    self._advance()
                if woken:
                    if len(woken) > 1:
                        woken.sort(key=_birth)
                    ready += woken
                    woken.clear()
            self._check_stop_error()
        assert self.ending is not None, "a run ends for a reason"
        return self.ending

    def _watchdog(self) -> AbstractContextManager[None]:
        return step_watchdog(self, self._step_never_ends, self.patience_s)

    def _step_never_ends(self, place: str) -> None:
        self.spun(place)
        self.stop(Ending.SPINS)

    def _take(self, ready: list[Any]) -> None:
        """Let one of *ready* take its step."""
        if len(ready) == 1:
            task = ready.pop()
            word = task._counter
        else:
            index = self.pick(ready)
            task = ready.pop(index)
            word = ((index + 1) << PICK_SHIFT) | task._counter
        append = self.trace.append
        append(word)
        append(self.now_ns)
        self.steps += 1
        if not self.steps & 0xFF:
            self._check_stop_error()  # Somebody may have swallowed it.
            self.look()
        if self.steps >= self.budget.steps_max:
            self.stop(Ending.STEPS_EXHAUSTED)
        self._step(task)

    def _step(self, task: Any) -> None:
        runner = task._runner
        context = self._context
        context["runner"] = runner
        context["task"] = task
        send_fn, send = task._next_send_fn, task._next_send
        task._next_send_fn = task._next_send = None
        result: outcome.Outcome[Any] | None = None
        message: Any = None
        try:
            message = task.context.run(send_fn, send)
        except StopIteration as stop:
            result = outcome.Value(stop.value)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) or error is self.stop_error():
                raise
            result = outcome.Error(parts.trimmed(error))
        self.now_ns += self.step_ns
        if runner.dead:
            return  # It was cut within this step: neither its result nor its wait counts.
        if result is not None:
            self._exit(runner, task, result)
        elif message is _CancelShieldedCheckpoint:
            task._schedule_points += 1
            runner.reschedule(task)
        elif type(message) is _WaitTaskRescheduled:
            task._schedule_points += 1
            task._cancel_points += 1
            task._abort_func = message.abort_func
            if task._cancel_status.effectively_cancelled:
                task._attempt_delivery_of_any_pending_cancel()
        else:
            self._odd_yield(runner, task, message)

    def _exit(self, runner: ProcessRunner, task: Any, result: outcome.Outcome[Any]) -> None:
        try:
            runner.task_exited(task, result)
        except BaseException as error:  # trio lets the init task's own crash out: that process is broken.
            runner.process.broken(runner, error)

    def _odd_yield(self, runner: ProcessRunner, task: Any, message: Any) -> None:
        if type(message) is parts.PermanentlyDetachCoroutineObject:
            self._exit(runner, task, message.final_outcome)
            return
        error = TypeError(
            f"a task of process {runner.process.name!r} awaited something that is not trio's "
            f"({type(message).__name__}). A library written for another event loop needs a shim to run here."
        )
        runner.reschedule(task, error)
        task._next_send_fn = task.coro.throw

    def _fire_due(self) -> None:
        context = self._context
        context.pop("task", None)
        heap, now_ns, woken = self._heap, self.now_ns, self.woken
        while heap and heap[0][0] <= now_ns and self.ending is None:
            timer = _pop(heap)[2]
            fn, owner = timer.fn, timer.owner
            if fn is not None and (owner is None or not owner.dead):
                if owner is not None:
                    context["runner"] = owner
                argument = timer.argument
                timer.fn = timer.argument = None  # It fires once.
                fn(argument)
                if woken:
                    self.flush_woken()
            elif self._cancelled:
                self._cancelled -= 1
            if heap is not self._heap:
                return  # Compacted under us.

    def _idle(self) -> bool:
        """Nothing is ready: wake those who wait for just that.  Whether anybody was."""
        assert self.idle_waiters, "somebody asked"
        self._drop_stale()
        cushion_ns = min(entry[0] for entry in self.idle_waiters)
        if self._heap and self._heap[0][0] <= self.now_ns + cushion_ns:
            return False
        self.now_ns += cushion_ns
        due = sorted(entry[:2] for entry in self.idle_waiters if entry[0] == cushion_ns)
        waiting = {entry[:2]: entry for entry in self.idle_waiters}
        self._context.pop("task", None)
        for key in due:
            entry = waiting[key]
            self.idle_waiters.remove(entry)
            entry[2]._runner.reschedule(entry[2])
        return True

    def _drop_stale(self) -> None:
        heap = self._heap
        while heap and not heap[0][2].live:
            heapq.heappop(heap)
            if self._cancelled:
                self._cancelled -= 1

    def _advance(self) -> None:
        """Jump to the next event and let it happen."""
        if self._heap and not self._heap[0][2].live:
            self._drop_stale()
        if not self._heap:
            self.stop(Ending.STUCK)
            return
        next_ns = self._heap[0][0]
        assert next_ns >= self.now_ns, "time does not go back"
        if next_ns > self.budget.time_max_ns:
            self.stop(Ending.TIME_EXHAUSTED)
            return
        self.now_ns = next_ns
        self._fire_due()

    def _check_stop_error(self) -> None:
        error = self.stop_error()
        if error is not None:
            raise error

    def _first_iteration(self, generator: Any) -> None:
        if "task" in self._context:
            self._context["runner"].asyncgens.add(generator)

    def waiters(self) -> tuple[Waiter, ...]:
        """Who waits where: every task of every living process, in order of birth."""
        return waiters_of([(runner.process.name, _by_birth(runner)) for runner in self.runners])


def _birth(task: Any) -> int:
    ordinal: int = task._counter
    return ordinal


def _by_birth(runner: ProcessRunner) -> Sequence[Any]:
    return sorted((task for task in runner.tasks if task._counter > 0), key=_birth)
