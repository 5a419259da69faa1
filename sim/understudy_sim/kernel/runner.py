"""trio's own Runner, fitted to the loop: one per incarnation of a process, its deadlines on the loop's heap.

A runner decides nothing: it tells the loop who became ready, and that its process is over.
"""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import trio

from understudy_sim.kernel import trio_parts as parts
from understudy_sim.kernel.clock import ProcessClock

if TYPE_CHECKING:
    from understudy_sim.kernel.loop import Loop
    from understudy_sim.kernel.process import Process

_NEVER_NS = 2**62


class Timer:
    """One event on the heap, which the loop lets happen once: `fn(argument)`.

    Not after `cancel`, nor once the process that owns it is dead.
    """

    __slots__ = ("argument", "fn", "owner")

    def __init__(self, fn: Callable[[Any], object], argument: Any, owner: ProcessRunner | None) -> None:
        self.fn: Callable[[Any], object] | None = fn
        self.argument = argument
        self.owner = owner

    @property
    def live(self) -> bool:
        """Whether it will still fire."""
        return self.fn is not None and (self.owner is None or not self.owner.dead)

    def cancel(self) -> None:
        """Never fire.  Cancelling twice, or after it fired, does nothing."""
        self.fn = None
        self.argument = None


class _Nothing:
    """The outcome of a plain wake-up.  Reusable, unlike `outcome.Value`."""

    __slots__ = ()

    def unwrap(self) -> None:
        """Nothing."""


_NOTHING = _Nothing()


class _NoInstruments(dict[str, Any]):
    """trio asks `"hook" in instruments` at every turn; a plain empty dict answers fastest."""

    def add_instrument(self, instrument: object) -> None:
        """Refuse: they would not be called."""
        raise RuntimeError("trio instruments are not called in the simulator; read Kernel.trace instead")


class HeapDeadlines:
    """trio's deadlines of one process, kept on the loop's heap:

    equal deadlines expire in order of registration.
    """

    def __init__(self, loop: Loop, runner: ProcessRunner) -> None:
        self._loop = loop
        self._runner = runner
        self._timers: dict[Any, Timer | None] = {}

    def add(self, deadline: float, scope: Any) -> None:
        """trio: *scope* wants to be cancelled at *deadline* (seconds)."""
        assert scope not in self._timers, "a scope has one deadline"
        at_ns = _NEVER_NS if deadline > _NEVER_NS / 1e9 else -int(-deadline * 1_000_000_000 // 1)
        timer = None
        if at_ns < _NEVER_NS:
            timer = self._loop.call_at(max(at_ns, self._loop.now_ns), self._expire, scope, self._runner)
        self._timers[scope] = timer

    def remove(self, deadline: float, scope: Any) -> None:
        """trio: *scope* ended or moved its deadline."""
        if scope not in self._timers:
            self._loop.forget_foreign_deadline(scope)
            return
        timer = self._timers.pop(scope)
        if timer is not None:
            self._loop.cancel_timer(timer)

    def discard(self, scope: Any) -> bool:
        """Forget *scope*'s deadline if it is one of ours; whether it was."""
        if scope not in self._timers:
            return False
        self.remove(0.0, scope)
        return True

    def next_deadline(self) -> float:
        """The heap knows; trio asks only for statistics."""
        return float("inf")

    def _expire(self, scope: Any) -> None:
        parts.cancel_by_deadline(scope)


class ProcessRunner(parts.Runner):  # type: ignore[misc]
    """trio's Runner for one incarnation of one process.  `dead`: cut, nothing of it ever runs again."""

    init_task: Any  # trio's, as are main_task and tasks.

    def __init__(self, loop: Loop, process: Process) -> None:
        super().__init__(
            clock=ProcessClock(loop),
            instruments=_NoInstruments(),
            io_manager=parts.NullIOManager(),
            ki_manager=None,
            strict_exception_groups=True,
            system_context=contextvars.Context(),
            entry_queue=parts.new_entry_queue(),
            deadlines=HeapDeadlines(loop, self),
            asyncgens=parts.OrderedAsyncGenerators(),
        )
        self.loop = loop
        self.process = process
        self.incarnation = process.incarnation
        self.dead = False
        # What else is to be reaped: each gives what closes it, newest first.
        self.remains: list[Callable[[], Sequence[Callable[[], object]]]] = []
        self.held: list[Any] | None = None  # Tasks that became ready while the process is paused.
        self._frozen: dict[Any, list[Any]] = {}  # Tasks that stand still, each with itself once it could go on.
        self._ices: dict[Any, int] = {}  # How often each of them was frozen.
        self._spawning_system = False

    def begin(self, async_fn: Callable[..., Awaitable[object]], args: tuple[Any, ...]) -> None:
        """Give the process its init and main task; they run when the loop gets to them."""
        assert self.init_task is None, "a runner begins once"
        self.init_task = self.spawn_impl(self.init, (async_fn, args), None, "<init>", system_task=True)

    def reschedule(self, task: Any, next_send: Any = parts.NO_SEND) -> None:
        """trio: *task* may go on.  A wake of a dead task is dropped."""
        runner = task._runner
        if runner is not self:
            self.loop.note_foreign_wake(self, runner)
            runner.reschedule(task, next_send)
            return
        if self.dead:
            self.loop.dead_wakes += 1
            return
        if next_send is None:  # The very first send: this is the task's birth.
            task._counter = self.loop.take_ordinal(self._spawning_system)
            if self.loop.names is not None:
                self.loop.names.born(task)
        elif next_send is parts.NO_SEND:
            next_send = _NOTHING
        assert task._next_send_fn is None, "a task is rescheduled once per wait"
        task._next_send_fn = task.coro.send
        task._next_send = next_send
        task._abort_func = None
        task.custom_sleep_data = None
        if self.held is not None:
            self.held.append(task)
        elif task._counter < 0:
            self.loop.system.append(task)
        else:
            self.loop.woken.append(task)

    def freeze(self, task: Any) -> None:
        """Let *task*, whose step it is, finish the step; whatever wakes it after that, it goes on after `thaw` only.

        Twice frozen wants thawing twice.
        """
        assert task._runner is self, "a runner freezes its own"
        self._frozen.setdefault(task, [])
        self._ices[task] = self._ices.get(task, 0) + 1
        self.reschedule = self._reschedule_the_warm  # Costs nothing while nobody is.

    def thaw(self, task: Any) -> None:
        """Let *task* go on."""
        assert self._ices[task] > 0, "who thaws was frozen"
        self._ices[task] -= 1
        if self._ices[task]:
            return
        del self._ices[task]
        ready = self._frozen.pop(task)
        if not self._frozen:
            del self.reschedule
        if ready and not self.dead:
            self.loop.give_back(ready) if self.held is None else self.held.extend(ready)

    def _reschedule_the_warm(self, task: Any, next_send: Any = parts.NO_SEND) -> None:
        ice = self._frozen.get(task) if task._runner is self else None
        if ice is None:
            ProcessRunner.reschedule(self, task, next_send)
            return
        held, self.held = self.held, ice
        ProcessRunner.reschedule(self, task, next_send)
        self.held = held

    def spawn_impl(
        self,
        async_fn: Callable[..., Awaitable[object]],
        args: tuple[Any, ...],
        nursery: Any,
        name: object,
        *,
        system_task: bool = False,
        context: contextvars.Context | None = None,
    ) -> Any:
        """trio: start a task.  It belongs to the process of its nursery, whoever asks."""
        if nursery is not None:
            runner = nursery._parent_task._runner
            if runner is not self:
                self.loop.note_foreign_wake(self, runner)
                return runner.spawn_impl(async_fn, args, nursery, name, system_task=system_task, context=context)
        before, self._spawning_system = self._spawning_system, system_task
        try:
            return super().spawn_impl(async_fn, args, nursery, name, system_task=system_task, context=context)
        finally:
            self._spawning_system = before

    def task_exited(self, task: Any, result: Any) -> None:
        """trio: *task* is over.  The end of the main task is the end of what the process has to say."""
        assert not self.dead, "the results of the dead are dropped"
        is_main = task is self.main_task
        super().task_exited(task, result)
        if is_main:
            self.process.main_returned(result)
        elif task is self.init_task:
            self.process.finished(self)

    async def wait_all_tasks_blocked(self, cushion: float = 0.0) -> None:
        """trio.testing: wait until nothing is ready anywhere and nothing happens for *cushion* seconds."""
        task = trio.lowlevel.current_task()
        entry = (int(cushion * 1_000_000_000), task._counter, task)
        self.loop.idle_waiters.append(entry)

        def abort(_: object) -> trio.lowlevel.Abort:
            self.loop.idle_waiters.remove(entry)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def cut(self) -> None:
        """Power off:

        nothing of this runner runs from now on, not even what is left of the current step's effects.
        """
        assert not self.dead, "a process dies once per incarnation"
        self.dead = True
        self.held = None
        self.loop.bury(self)
