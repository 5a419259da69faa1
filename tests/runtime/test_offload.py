"""A function moves to the loop's thread once it is known to be quick, and back for good when it blocks there."""

from functools import partial

import pytest
import trio
import trio.testing
from understudy_runtime.offload import NEVER, QUICK_NS, QUICK_RUNS, SLOW_NS, Offload, code_of
from understudy_runtime.real_world import thread_waits


class Bench:
    """A clock moved by hand, and a worker that counts what it was given."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.waits = 0
        self.in_workers = 0
        self.offload = Offload(lambda: self.now_ns, lambda: self.waits, self.run_in_worker)

    async def run_in_worker(self, function):
        self.in_workers += 1
        return function()

    def step(self, taken_ns: int, waits: int = 0):
        def work():
            self.now_ns += taken_ns
            self.waits += waits
            return taken_ns

        return work


async def test_a_quick_function_leaves_the_workers_after_enough_quick_runs():
    bench = Bench()
    for run in range(QUICK_RUNS + 5):
        assert await bench.offload.run(bench.step(QUICK_NS)) == QUICK_NS
        assert bench.in_workers == min(run + 1, QUICK_RUNS)


async def test_a_slow_run_in_a_worker_starts_the_count_again():
    bench = Bench()
    for _ in range(QUICK_RUNS - 1):
        await bench.offload.run(bench.step(1))
    await bench.offload.run(bench.step(QUICK_NS + 1))
    for _ in range(QUICK_RUNS):
        await bench.offload.run(bench.step(1))
    assert bench.in_workers == 2 * QUICK_RUNS
    await bench.offload.run(bench.step(1))
    assert bench.in_workers == 2 * QUICK_RUNS


async def test_a_function_that_stalls_the_loop_once_never_does_again():
    bench = Bench()
    for _ in range(QUICK_RUNS):
        await bench.offload.run(bench.step(1))
    await bench.offload.run(bench.step(SLOW_NS + 1, waits=1))
    for _ in range(QUICK_RUNS * 3):
        await bench.offload.run(bench.step(1))
    assert bench.in_workers == QUICK_RUNS * 4


async def test_a_function_whose_core_was_taken_away_proves_itself_again():
    bench = Bench()
    for _ in range(3):
        for _ in range(QUICK_RUNS):
            await bench.offload.run(bench.step(1))
        await bench.offload.run(bench.step(SLOW_NS + 1))
    assert bench.in_workers == QUICK_RUNS * 3


async def test_a_function_that_may_have_waited_for_workers_proves_itself_twice_as_long():
    bench = Bench()
    for _ in range(QUICK_RUNS):
        await bench.offload.run(bench.step(1))
    release = trio.Event()

    async def held(function):
        await release.wait()
        return function()

    quickly, bench.offload._run_in_thread = bench.offload._run_in_thread, held
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.offload.run, lambda: None)
        await trio.testing.wait_all_tasks_blocked()
        await bench.offload.run(bench.step(SLOW_NS + 1, waits=1))
        release.set()
    bench.offload._run_in_thread = quickly
    for _ in range(QUICK_RUNS * 3):
        await bench.offload.run(bench.step(1))
    assert bench.in_workers == QUICK_RUNS * 3


async def test_waits_of_this_thread_are_counted():
    waits = thread_waits()
    before = waits()
    await trio.to_thread.run_sync(lambda: None)
    assert waits() > before


async def test_what_a_function_raises_is_raised_wherever_it_runs():
    bench = Bench()

    def fails():
        raise LookupError("no seat")

    for _ in range(QUICK_RUNS * 2):
        with pytest.raises(LookupError, match="no seat"):
            await bench.offload.run(fails)
    assert bench.in_workers == QUICK_RUNS


async def test_what_has_no_code_always_goes_to_a_worker():
    bench = Bench()
    for _ in range(QUICK_RUNS * 2):
        await bench.offload.run(partial(len, "seat"))
    assert bench.in_workers == QUICK_RUNS * 2
    assert NEVER < 0


def test_code_is_found_through_partials_and_methods():
    bench = Bench()
    assert code_of(partial(partial(bench.step, 1))) is Bench.step.__code__
    assert code_of(len) is None


@pytest.mark.parametrize("times", [1, QUICK_RUNS + 2])
async def test_a_lambda_may_make_a_coroutine(times: int):
    """It is awaited in the loop, wherever the lambda ran."""

    async def ask() -> str:
        await trio.lowlevel.checkpoint()
        return "answer"

    offload = Offload(lambda: 0, lambda: 0, trio.to_thread.run_sync)
    for _ in range(times):
        found = await offload.run(lambda: ask())
        assert await found == "answer"
    assert await offload.run(partial(len, "abc")) == 3
