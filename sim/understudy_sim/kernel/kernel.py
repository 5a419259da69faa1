"""A deterministic world for any trio program: processes, time, network and disks, from one source of choices.

    with Kernel(SeededChoices(7)) as kernel:
        outcome = kernel.run(scenario, kernel)

`run` calls the scenario as the main task of a process of its own and ends when it does.  The verdict is taken
after `run` and before the `with` block ends: only then are the dead reaped, and what their `finally` blocks
do is seen by nobody.
"""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

import attrs
import outcome

from understudy_sim.kernel.choices import Choices
from understudy_sim.kernel.clock import EPOCH_NS
from understudy_sim.kernel.disk import DiskErrors, Medium, PlainDiskErrors
from understudy_sim.kernel.loop import Budget, Ending, Loop, ProcessRunner, Timer
from understudy_sim.kernel.network import Network
from understudy_sim.kernel.policies import Policy, RandomPick
from understudy_sim.kernel.process import Process
from understudy_sim.kernel.reaper import reap
from understudy_sim.kernel.sockets import AddressBook, SimSockets
from understudy_sim.kernel.trace import Trace
from understudy_sim.kernel.trio_parts import refuse_nested_run, set_sockets
from understudy_sim.kernel.waiters import Waiter

MAIN = "main"


@attrs.frozen
class KernelOutcome:
    """How a run ended.

    `result` is the main task's Outcome (None if it was cut off); `waiters` say who waited for what.
    """

    ending: Ending
    result: outcome.Outcome[Any] | None
    steps: int
    time_ns: int
    digest: str
    waiters: tuple[Waiter, ...] = ()
    failed_process: str | None = None

    def value(self) -> Any:
        """What the main task returned.

        Raises what it raised, or RunCutOff when it did not come to an end.
        """
        if self.result is None:
            waiting = "".join(f"\n  {waiter}" for waiter in self.waiters)
            raise RunCutOff(f"the main task did not end: {self.ending.value}{waiting}")
        return self.result.unwrap()


class RunCutOff(Exception):
    """The run ended before its main task did: a deadlock or a budget.  The text says who waits for whom."""


class Kernel:
    """One run.  Use it as a context manager; `run` may be called once."""

    def __init__(
        self,
        choices: Choices,
        *,
        policy: Policy | None = None,
        budget: Budget | None = None,
        epoch_ns: int = EPOCH_NS,
        step_ns: int = 1_000,
        disk_errors: DiskErrors | type[PlainDiskErrors] = PlainDiskErrors,
    ) -> None:
        self.choices = choices
        self.trace = Trace()
        self.processes: dict[str, Process] = {}
        self.media: dict[str, Medium] = {}
        self._disk_errors = disk_errors
        self._book = AddressBook()
        self._epoch_ns = epoch_ns
        pick = policy if policy is not None else RandomPick(choices)
        self.loop = Loop(self.trace, pick, budget if budget is not None else Budget(), step_ns)
        self.loop.stop_error = lambda: choices.abort
        self.network = Network(self.loop, choices, self.processes)
        self._result: outcome.Outcome[Any] | None = None
        self._failed: tuple[str, BaseException] | None = None
        self._ran = False
        self._entered = False

    def __enter__(self) -> Kernel:
        assert not self._entered, "a kernel is one run"
        self._entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._cut_the_living()
        if self.loop.graveyard:
            reap(self.loop.graveyard)

    # Time

    @property
    def now_ns(self) -> int:
        """Virtual monotonic time, from 0."""
        return self.loop.now_ns

    def call_at(
        self, time_ns: int, fn: Callable[[Any], object], argument: Any = None, owner: ProcessRunner | None = None
    ) -> Timer:
        """Call `fn(argument)` at *time_ns*;

        never if *owner* is dead by then.  Plain code: it may not await.
        """
        return self.loop.call_at(time_ns, fn, argument, owner)

    def call_later(self, delay_ns: int, fn: Callable[[Any], object], argument: Any = None) -> Timer:
        """Call `fn(argument)` after *delay_ns*."""
        return self.loop.call_at(self.loop.now_ns + delay_ns, fn, argument)

    def cancel(self, timer: Timer) -> None:
        """Cancel what `call_at` gave."""
        self.loop.cancel_timer(timer)

    async def sleep_ns(self, duration_ns: int) -> None:
        """Wait; a fifth of what trio.sleep costs."""
        await self.loop.sleep_until_ns(self.loop.now_ns + duration_ns)

    # Processes

    def process(self, name: str) -> Process:
        """The process called *name*, made when first asked for."""
        process = self.processes.get(name)
        if process is None:
            process = self.processes[name] = Process(self.loop, name, self._epoch_ns)
            process.failed_silently = self._process_failed
            process.on_start(self._give_sockets)
            process.on_down(self.network.process_down)
        return process

    def sockets(self, process: Process) -> SimSockets:
        """How *process* names hosts and opens sockets."""
        return SimSockets(self.network, self._book, process)

    def _give_sockets(self, process: Process, runner: ProcessRunner) -> None:
        sockets = self.sockets(process)
        set_sockets(runner, sockets, sockets)

    def medium(self, name: str) -> Medium:
        """The disk of process *name*;

        it survives its incarnations.  Mount it with `medium.mount(process)`.
        """
        medium = self.media.get(name)
        if medium is None:
            medium = self.media[name] = Medium(self.loop, self.choices, name, self._disk_errors)
            self.process(name).on_down(medium.process_down)
        return medium

    @property
    def current_process(self) -> Process | None:
        """The process whose task is running; None in an event or outside the run."""
        runner = self.loop.current_runner
        return runner.process if runner is not None else None

    def _process_failed(self, process: Process, error: BaseException) -> None:
        if self._failed is None:
            self._failed = (process.name, error)
            self.loop.stop(Ending.PROCESS_FAILED)

    # The run

    def run(self, main: Callable[..., Awaitable[object]], *args: Any) -> KernelOutcome:
        """Run `main(*args)` as the process "main" until it ends, a budget is used up or nobody can go on.

        What processes raise is in the outcome; KeyboardInterrupt, Hypothesis's stop and errors of events are
        raised.
        """
        assert self._entered, "use the kernel as a context manager: the dead must be reaped"
        assert not self._ran, "a kernel is one run"
        refuse_nested_run()
        self._ran = True
        process = self.process(MAIN)
        process.start(self._main, main, args, on_exit=_ignore_exit)
        collecting = gc.isenabled()
        gc.disable()
        try:
            ending = self.loop.run()
        finally:
            if collecting:
                gc.enable()
        return self._conclude(ending)

    async def _main(self, main: Callable[..., Awaitable[object]], args: tuple[Any, ...]) -> None:
        result: outcome.Outcome[Any]
        try:
            result = outcome.Value(await main(*args))
        except BaseException as error:
            result = outcome.Error(error)
        self._result = result
        self.loop.stop(Ending.DONE)

    def _conclude(self, ending: Ending) -> KernelOutcome:
        result = self._result
        if ending is Ending.PROCESS_FAILED and self._failed is not None:
            result = outcome.Error(self._failed[1])
        waiters = self.loop.waiters() if self._result is None else ()
        self.trace.note("end", ending.name, self.loop.now_ns, self.loop.steps)
        return KernelOutcome(
            ending=ending,
            result=result,
            steps=self.loop.steps,
            time_ns=self.loop.now_ns,
            digest=self.trace.seal(),
            waiters=waiters,
            failed_process=self._failed[0] if self._failed is not None else None,
        )

    def _cut_the_living(self) -> None:
        for runner in list(self.loop.runners):
            runner.cut()


def _ignore_exit(process: Process, result: outcome.Outcome[Any]) -> None:
    """The main task's result was taken when it ended."""
