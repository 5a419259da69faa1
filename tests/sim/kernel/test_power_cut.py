"""Nothing of the dead runs before the verdict, whatever they were doing when the power went."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import outcome
import pytest
import trio
from understudy_sim.kernel.choices import SeededChoices
from understudy_sim.kernel.kernel import Kernel, KernelOutcome
from understudy_sim.kernel.loop import Ending
from understudy_sim.kernel.process import TRANSITIONS, Event, IllegalTransition, State

Note = Callable[[str], None]


async def shielded_cleanup(note: Note) -> None:
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            note("shielded cleanup")
            await trio.sleep(1)
            note("shielded cleanup ended")


async def retry_for_ever(note: Note) -> None:
    with trio.CancelScope(shield=True):
        while True:
            try:
                await trio.sleep_forever()
            except BaseException:
                note("retry")


@contextlib.asynccontextmanager
async def managed(note: Note) -> AsyncIterator[None]:
    try:
        yield
    finally:
        note("context manager left")
        await trio.lowlevel.checkpoint()


async def in_context_manager(note: Note) -> None:
    async with managed(note):
        await trio.sleep_forever()


async def starting(note: Note) -> None:
    async def never_started(task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        try:
            await trio.sleep_forever()
        finally:
            note("start left")

    async with trio.open_nursery() as nursery:
        await nursery.start(never_started)


async def generator(note: Note, wait_inside: bool) -> AsyncIterator[int]:
    try:
        yield 1
        if wait_inside:
            await trio.sleep_forever()
        yield 2
    finally:
        note("generator left")


async def generator_at_yield(note: Note) -> None:
    async for _ in generator(note, wait_inside=False):
        await trio.sleep_forever()


async def generator_in_await(note: Note) -> None:
    async for _ in generator(note, wait_inside=True):
        pass


class Finalized:
    def __init__(self, note: Note) -> None:
        self._note = note

    def __del__(self) -> None:
        self._note("__del__")


async def with_finalizer(note: Note) -> None:
    kept = Finalized(note)
    await trio.sleep_forever()
    assert kept


async def ticking(note: Note) -> None:
    while True:
        await trio.sleep(0.3)
        note("tick")


async def with_timeout(note: Note) -> None:
    with trio.move_on_after(2):
        await trio.sleep_forever()
    note("timeout seen")


async def never_run(note: Note) -> None:
    note("a task spawned in the last instant ran")


VICTIMS = (
    shielded_cleanup,
    retry_for_ever,
    in_context_manager,
    starting,
    generator_at_yield,
    generator_in_await,
    with_finalizer,
    ticking,
    with_timeout,
)


async def doomed(note: Note) -> None:
    async with trio.open_nursery() as nursery:
        for victim in VICTIMS:
            nursery.start_soon(victim, note)
        await trio.sleep(1)
        nursery.start_soon(never_run, note)
        await trio.sleep_forever()


def run(main: Callable[..., Any], seed: int = 1) -> tuple[KernelOutcome, Kernel]:
    with Kernel(SeededChoices(seed)) as kernel:
        return kernel.run(main, kernel), kernel


@pytest.mark.parametrize("seed", range(5))
def test_nothing_of_the_dead_runs_before_the_verdict(seed: int) -> None:
    notes: list[tuple[str, str]] = []
    lives: list[str] = []

    async def life(name: str) -> None:
        await doomed(lambda what: notes.append((name, what)))

    async def main(kernel: Kernel) -> None:
        process = kernel.process("victim")
        for number in range(3):
            name = f"life {number}"
            lives.append(name)
            process.start(life, name)
            await kernel.sleep_ns(1_000_000_000 + kernel.choices.integer("cut", 0, 10_000))
            process.crash()
            before = len(notes)
            await kernel.sleep_ns(10_000_000_000)
            assert len(notes) == before, f"the dead did {notes[before:]}"

    with Kernel(SeededChoices(seed)) as kernel:
        kernel.run(main, kernel).value()
        alive = {"tick", "a task spawned in the last instant ran"}
        assert {what for _, what in notes} <= alive, "only what ran before the cut was seen at the verdict"
        assert kernel.loop.graveyard, "the dead lie in the graveyard"
    assert not kernel.loop.graveyard, "and are reaped after the verdict"


def test_a_process_that_cuts_itself_does_nothing_after() -> None:
    done: list[str] = []

    async def suicidal(kernel: Kernel) -> None:
        process = kernel.current_process
        assert process is not None
        disk = kernel.medium("victim").mount(process)
        file = disk.open("ledger", create=True)
        exchange = await kernel.network.dial_exchange(process, "main", 9)
        process.crash()
        exchange.send("from the grave")
        file.pwrite(0, b"from the grave")
        disk.open("another", create=True)
        with contextlib.suppress(FileNotFoundError):
            disk.unlink("ledger")
        await trio.lowlevel.checkpoint()
        done.append("went on")

    async def main(kernel: Kernel) -> Any:
        main_process = kernel.current_process
        assert main_process is not None
        listener = kernel.network.listen(main_process, 9, exchanges=True)
        kernel.network.profile.silent_crash_thousandths = 0
        kernel.medium("victim").profile.lose_writes = kernel.medium("victim").profile.tear_writes = False
        victim = kernel.process("victim")
        victim.start(suicidal, kernel)
        exchange = await listener.accept()
        with pytest.raises(trio.BrokenResourceError):
            await exchange.receive()
        await kernel.sleep_ns(10**9)
        assert victim.state is State.DOWN
        return kernel.medium("victim").durable_bytes("ledger"), kernel.medium("victim").durable_bytes("another")

    result, _ = run(main)
    assert result.value() == (b"", None)
    assert not done


def test_the_result_of_the_last_step_is_dropped() -> None:
    exits: list[Any] = []

    async def last_words(kernel: Kernel) -> str:
        kernel.process("victim").crash()
        return "last words"

    async def last_error(kernel: Kernel) -> None:
        kernel.process("victim").crash()
        raise ValueError("last words")

    async def main(kernel: Kernel) -> None:
        victim = kernel.process("victim")
        for function in (last_words, last_error):
            victim.start(function, kernel, on_exit=lambda process, result: exits.append(result))
            await kernel.sleep_ns(1_000_000)
            assert victim.state is State.DOWN

    run(main)[0].value()
    assert exits == []


def test_what_is_sent_to_a_dead_receiver_is_lost() -> None:
    async def main(kernel: Kernel) -> int:
        send, receive = trio.open_memory_channel[int](0)

        async def reader() -> None:
            await receive.receive()
            raise AssertionError("the dead received")

        kernel.process("victim").start(reader)
        await kernel.sleep_ns(1_000_000)
        kernel.process("victim").crash()
        await send.send(1)  # The parked dead receiver takes it, as a cut in mid-read would.
        return kernel.loop.dead_wakes

    assert run(main)[0].value() == 1


def test_an_endless_cleanup_does_not_hang_the_reaper() -> None:
    async def spin() -> None:
        try:
            await trio.sleep_forever()
        finally:
            while True:
                pass

    async def main(kernel: Kernel) -> None:
        kernel.process("victim").start(spin)
        await kernel.sleep_ns(1_000_000)
        kernel.process("victim").crash()

    run(main)[0].value()


def test_a_cleanup_that_awaits_is_closed_whole() -> None:
    class Slow(trio.abc.AsyncResource):
        async def aclose(self) -> None:
            closing.append(current_coroutine())
            await trio.lowlevel.checkpoint()

    def current_coroutine() -> Any:
        inner: Any = trio.lowlevel.current_task().coro
        while inner.cr_await is not None:
            inner = inner.cr_await
        return inner

    async def closes() -> None:
        try:
            await trio.sleep_forever()
        finally:
            await trio.aclose_forcefully(Slow())

    async def holder() -> None:
        try:
            await closes()
        except BaseException as error:
            kept.append(error)  # Its traceback keeps frames, and they what they await.
            raise

    async def main(kernel: Kernel) -> None:
        kernel.process("holder").start(holder)
        await trio.sleep(1)
        kernel.process("holder").crash()

    kept: list[BaseException] = []
    closing: list[Any] = []
    run(main)
    assert [type(error) for error in kept] == [GeneratorExit]
    assert [inspect.getcoroutinestate(one) for one in closing] == [inspect.CORO_CLOSED]


def test_an_error_nobody_is_told_of_ends_the_run() -> None:
    async def broken() -> None:
        raise ValueError("nobody expects this")

    async def main(kernel: Kernel) -> None:
        kernel.process("broken").start(broken)
        await trio.sleep_forever()

    result, _ = run(main)
    assert result.ending is Ending.PROCESS_FAILED
    assert result.failed_process == "broken"
    with pytest.raises(ValueError, match="nobody expects this"):
        result.value()


def test_an_exit_is_told_with_its_outcome() -> None:
    exits: list[tuple[str, outcome.Outcome[Any]]] = []

    async def returns() -> int:
        await trio.sleep(1)
        return 7

    async def raises() -> None:
        await trio.sleep(1)
        raise OSError("stopped")

    async def main(kernel: Kernel) -> None:
        for function in (returns, raises):
            process = kernel.process(function.__name__)
            process.start(function, on_exit=lambda process, result: exits.append((process.name, result)))
        await trio.sleep(2)
        assert not kernel.process("raises").alive

    run(main)[0].value()
    results = dict(exits)
    assert results["returns"].unwrap() == 7
    with pytest.raises(OSError, match="stopped"):
        results["raises"].unwrap()


def test_a_pause_stalls_tasks_and_not_time() -> None:
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            await trio.sleep(1)
            ticks.append(round(trio.current_time(), 2))

    async def main(kernel: Kernel) -> None:
        process = kernel.process("ticker")
        process.start(tick)
        await trio.sleep(1.5)
        process.pause(5_000_000_000)
        await trio.sleep(3)
        assert process.state is State.PAUSED
        assert ticks == [1.0]
        await trio.sleep(3.5)

    run(main)[0].value()
    assert ticks == [1.0, 6.5, 7.5]


def test_the_life_of_a_process_is_the_table() -> None:
    async def idle() -> None:
        await trio.sleep_forever()

    async def main(kernel: Kernel) -> None:
        for state in State:
            for event in (Event.START, Event.PAUSE, Event.RESUME, Event.CRASH):
                process = kernel.process(f"{state.name} {event.name}")
                if state is not State.DOWN:
                    process.start(idle)
                    await trio.lowlevel.checkpoint()
                if state is State.PAUSED:
                    process.pause(10**9)
                act: Callable[[], object] = {
                    Event.START: lambda process=process: process.start(idle),
                    Event.PAUSE: lambda process=process: process.pause(10**9),
                    Event.RESUME: process.resume,
                    Event.CRASH: process.crash,
                }[event]
                target = TRANSITIONS[state].get(event)
                if target is None:
                    with pytest.raises(IllegalTransition, match=event.value):
                        act()
                else:
                    act()
                    assert process.state is target

    run(main)[0].value()


def test_stuck_names_who_waits_where() -> None:
    async def waits_for_ever() -> None:
        await trio.Event().wait()

    async def main(kernel: Kernel) -> None:
        kernel.process("other").start(waits_for_ever)
        await trio.sleep_forever()

    result, _ = run(main)
    assert result.ending is Ending.STUCK
    assert result.result is None
    found = {(waiter.process, waiter.function.rpartition(".")[2]) for waiter in result.waiters}
    assert ("other", "waits_for_ever") in found
    assert ("main", "main") in found
    assert all(waiter.filename.endswith("test_power_cut.py") for waiter in result.waiters)


def test_run_locals_and_system_tasks_die_with_their_process() -> None:
    local: trio.lowlevel.RunVar[int] = trio.lowlevel.RunVar("local")
    seen: list[int | None] = []

    async def life(value: int) -> None:
        seen.append(local.get(None))  # type: ignore[arg-type]
        local.set(value)

        async def system() -> None:
            await trio.sleep(5)
            seen.append(-1)

        trio.lowlevel.spawn_system_task(system)
        await trio.sleep_forever()

    async def main(kernel: Kernel) -> None:
        process = kernel.process("victim")
        for value in range(3):
            process.start(life, value)
            await trio.sleep(1)
            process.crash()
        await trio.sleep(10)

    run(main)[0].value()
    assert seen == [None, None, None]


def test_a_run_inside_a_run_is_refused() -> None:
    async def main(kernel: Kernel) -> None:
        with Kernel(SeededChoices(1)) as inner, pytest.raises(RuntimeError, match="inside a trio run"):
            inner.run(main, inner)

    with Kernel(SeededChoices(1)) as kernel:
        outcome_ = kernel.run(main, kernel)
        with contextlib.suppress(RuntimeError):
            outcome_.value()
