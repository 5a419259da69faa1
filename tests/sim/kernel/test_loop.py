"""The loop: time, budgets, idleness, what trio and its friends expect of a run, and the trace."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import anyio
import pytest
import sniffio
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from understudy_sim.kernel.choices import DrawnChoices, SeededChoices
from understudy_sim.kernel.kernel import Kernel, KernelOutcome, RunCutOff
from understudy_sim.kernel.loop import Budget, Ending
from understudy_sim.kernel.trace import Note, Step, Trace

S = 1_000_000_000


def run(main: Callable[..., Any], seed: int = 1, **options: Any) -> KernelOutcome:
    with Kernel(SeededChoices(seed), **options) as kernel:
        return kernel.run(main, kernel)


def test_time_is_virtual_and_starts_at_0() -> None:
    async def main(kernel: Kernel) -> tuple[float, float, int]:
        began = trio.current_time()
        await trio.sleep(86_400)
        await kernel.sleep_ns(5 * S)
        return began, trio.current_time(), kernel.process("main").wall_ns()

    began, ended, wall_ns = run(main, epoch_ns=7 * S).value()
    assert began < 0.001
    assert ended == pytest.approx(86_405, abs=0.01)
    assert wall_ns == pytest.approx((86_405 + 7) * S, abs=10**7)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=12), st.integers(0, 100))
def test_events_fire_in_order_of_time_then_of_asking(delays: list[int], cancelled: int) -> None:
    fired: list[int] = []

    async def main(kernel: Kernel) -> None:
        now_ns = kernel.now_ns
        timers = [kernel.call_at(now_ns + delay * S, fired.append, index) for index, delay in enumerate(delays)]
        kernel.cancel(timers[cancelled % len(timers)])
        kernel.cancel(timers[cancelled % len(timers)])
        await kernel.sleep_ns(60 * S)

    run(main).value()
    expected = [index for _, index in sorted((delay, index) for index, delay in enumerate(delays))]
    expected.remove(cancelled % len(delays))
    assert fired == expected


def test_many_cancelled_timers_are_thrown_away() -> None:
    async def main(kernel: Kernel) -> int:
        for _ in range(2_000):
            with trio.fail_after(3_600):
                await trio.lowlevel.checkpoint()
        return len(kernel.loop._heap)

    assert run(main).value() < 1_000


def test_cancelled_timers_do_not_move_the_clock() -> None:
    async def main(kernel: Kernel) -> None:
        with trio.move_on_after(3_600):
            await trio.lowlevel.checkpoint()
        await trio.sleep_forever()

    result = run(main)
    assert result.ending is Ending.STUCK
    assert result.time_ns < S


@pytest.mark.parametrize(
    ("budget", "ending"),
    [
        (Budget(steps_max=100), Ending.STEPS_EXHAUSTED),
        (Budget(time_max_ns=10 * S), Ending.TIME_EXHAUSTED),
    ],
)
def test_budgets_end_a_run_by_name(budget: Budget, ending: Ending) -> None:
    async def main(kernel: Kernel) -> None:
        while True:
            await kernel.sleep_ns(S)

    if ending is Ending.STEPS_EXHAUSTED:

        async def main(kernel: Kernel) -> None:
            while True:
                await trio.lowlevel.checkpoint()

    result = run(main, budget=budget)
    assert result.ending is ending
    with pytest.raises(RunCutOff, match="budget is used up"):
        result.value()


def test_a_loop_that_polls_the_clock_gets_somewhere() -> None:
    async def main(kernel: Kernel) -> None:
        deadline = trio.current_time() + 0.01
        while trio.current_time() < deadline:
            await trio.lowlevel.checkpoint()

    assert run(main).ending is Ending.DONE


def test_waiting_for_idleness() -> None:
    order: list[str] = []

    async def busy() -> None:
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        order.append("busy")
        await trio.sleep(1)
        order.append("later")

    async def main(kernel: Kernel) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(busy)
            await trio.testing.wait_all_tasks_blocked()
            order.append("idle")
            await trio.testing.wait_all_tasks_blocked(0.5)
            order.append("idle for long")
            with trio.move_on_after(0) as scope:
                await trio.testing.wait_all_tasks_blocked(5)
            assert scope.cancelled_caught

    run(main).value()
    assert order == ["busy", "idle", "idle for long", "later"]


def test_libraries_see_a_trio_run() -> None:
    async def main(kernel: Kernel) -> tuple[str, int]:
        assert trio.lowlevel.in_trio_task()
        async with anyio.create_task_group() as group:
            event = anyio.Event()
            group.start_soon(event.wait)
            event.set()
        with anyio.move_on_after(5):
            await anyio.sleep_forever()
        statistics = trio.lowlevel.current_statistics()
        token = trio.lowlevel.current_trio_token()
        called = trio.Event()
        token.run_sync_soon(called.set)
        await called.wait()
        return sniffio.current_async_library(), statistics.tasks_living

    library, living = run(main).value()
    assert library == "trio"
    assert living == 3
    with pytest.raises(sniffio.AsyncLibraryNotFoundError):
        sniffio.current_async_library()
    assert not trio.lowlevel.in_trio_run()


def test_a_foreign_await_is_an_error_at_the_await() -> None:
    class Foreign:
        def __await__(self) -> Any:
            yield "not trio's"

    async def main(kernel: Kernel) -> None:
        with pytest.raises(TypeError, match="awaited something that is not trio's"):
            await Foreign()

    run(main).value()


def test_errors_keep_their_traceback_and_groups() -> None:
    async def fail(error: Exception) -> None:
        raise error

    async def main(kernel: Kernel) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, ValueError("one"))
            nursery.start_soon(fail, KeyError("two"))

    with pytest.raises(ExceptionGroup) as caught:
        run(main).value()
    assert {type(error) for error in caught.value.exceptions} == {ValueError, KeyError}
    for error in caught.value.exceptions:
        assert error.__traceback__ is not None
        assert error.__traceback__.tb_frame.f_code.co_name == "fail"


def test_an_interrupt_ends_the_run_at_once() -> None:
    async def interrupted() -> None:
        raise KeyboardInterrupt

    async def main(kernel: Kernel) -> None:
        kernel.process("other").start(interrupted)
        await trio.sleep(1)

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert not trio.lowlevel.in_trio_run()


def test_an_interrupt_in_the_main_task_gets_out_too() -> None:
    async def main(kernel: Kernel) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(main).value()


def test_a_choice_that_ends_the_run_cannot_be_swallowed() -> None:
    class Stop(BaseException):
        pass

    class Data:
        def draw(self, strategy: object, label: str) -> int:
            raise Stop

    async def stubborn(kernel: Kernel) -> None:
        while True:
            try:
                kernel.choices.integer("x", 0, 1)
            except BaseException:
                await kernel.sleep_ns(1)

    with pytest.raises(Stop), Kernel(DrawnChoices(Data()), policy=lambda ready: 0) as kernel:  # type: ignore[arg-type]
        kernel.run(stubborn, kernel)


def test_shared_memory_between_processes_is_counted() -> None:
    async def waiter(event: trio.Event) -> None:
        await event.wait()

    async def setter(event: trio.Event) -> None:
        event.set()

    async def main(kernel: Kernel) -> dict[tuple[str, str], int]:
        event = trio.Event()
        kernel.process("waiter").start(waiter, event)
        await kernel.sleep_ns(1_000_000)
        kernel.process("setter").start(setter, event)
        await kernel.sleep_ns(1_000_000)
        assert not kernel.process("waiter").alive, "the wake went to the right process"
        return kernel.loop.foreign_wakes

    assert run(main).value() == {("setter", "waiter"): 1}


def test_a_scope_of_another_process_can_be_cancelled() -> None:
    scopes: list[trio.CancelScope] = []

    async def sleeper() -> float:
        with trio.move_on_after(100) as scope:
            scopes.append(scope)
            await trio.sleep_forever()
        return trio.current_time()

    async def main(kernel: Kernel) -> float:
        ends: list[Any] = []
        kernel.process("sleeper").start(sleeper, on_exit=lambda _, result: ends.append(result))
        await trio.sleep(1)
        scopes[0].cancel()
        await trio.sleep(1)
        value: float = ends[0].unwrap()
        return value

    assert run(main).value() == pytest.approx(1, abs=0.01)


def test_an_error_that_is_not_taken_at_the_exit_ends_the_run() -> None:
    async def broken() -> None:
        await trio.sleep(1)
        raise ValueError("broken")

    async def main(kernel: Kernel) -> None:
        kernel.process("broken").start(broken, on_exit=lambda _, result: result.unwrap())
        await trio.sleep(2)

    result = run(main)
    assert result.failed_process == "broken"
    with pytest.raises(ValueError, match="broken"):
        result.value()


def test_a_deadline_of_infinity_or_the_past() -> None:
    async def main(kernel: Kernel) -> None:
        with trio.CancelScope(deadline=-math.inf) as past:
            await trio.sleep(1)
        assert past.cancelled_caught
        with trio.CancelScope(deadline=1e300) as far:
            await trio.sleep(1)
            far.deadline = trio.current_time() + 1
            await trio.sleep_forever()
        assert far.cancelled_caught
        with trio.move_on_after(5) as scope:
            scope.deadline = math.inf
            await trio.sleep(100)
        assert not scope.cancelled_caught

    run(main).value()


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "a longer kind"]), st.lists(st.integers(-(2**63), 2**63 - 1)))))
def test_a_trace_reads_back_what_was_written(notes: list[tuple[str, list[int]]]) -> None:
    trace, other = Trace(), Trace()
    for kind, words in notes:
        trace.note(kind, *words)
        trace.append(len(words) + 1)
        trace.append(5)
        other.note(kind, *words)
        other.append(len(words) + 1)
        other.append(5)
        assert trace.running() == other.running()
    entries = list(trace.entries())
    assert [entry for entry in entries if isinstance(entry, Note)] == [
        Note(kind, tuple(words)) for kind, words in notes
    ]
    assert all(entry == Step(None, entry.ordinal, 5) for entry in entries if isinstance(entry, Step))
    sealed = trace.seal()
    trace.note("after", 1)
    assert trace.seal() == sealed == other.seal()
    other_kind = Trace()
    other_kind.note("another kind", 1)
    assert other_kind.seal() != sealed
