"""A single task that stands still: it finishes its step, whatever wakes it, and everybody else goes on."""

from __future__ import annotations

import trio
from trio.lowlevel import current_task
from understudy_sim.kernel.choices import SeededChoices
from understudy_sim.kernel.kernel import Kernel

MS = 1_000_000


def test_a_frozen_task_ends_its_step_and_stands_until_it_is_thawed() -> None:
    log: list[tuple[int, str]] = []

    async def main(kernel: Kernel) -> None:
        process = kernel.process("host")
        tasks = []

        async def stands() -> None:
            tasks.append(current_task())
            process.runner.freeze(current_task())
            process.runner.freeze(current_task())
            log.append((kernel.now_ns // MS, "the rest of its step"))
            await kernel.sleep_ns(2 * MS)
            log.append((kernel.now_ns // MS, "thawed"))

        async def goes_on() -> None:
            await kernel.sleep_ns(5 * MS)
            log.append((kernel.now_ns // MS, "another of its process"))

        async def life() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stands)
                nursery.start_soon(goes_on)

        process.start(life)
        await kernel.sleep_ns(10 * MS)
        process.runner.thaw(tasks[0])
        await kernel.sleep_ns(10 * MS)
        process.runner.thaw(tasks[0])
        await kernel.sleep_ns(1 * MS)
        assert not process.alive

    with Kernel(SeededChoices(1)) as kernel:
        kernel.run(main, kernel).value()
    assert log == [(0, "the rest of its step"), (5, "another of its process"), (20, "thawed")]


def test_a_task_thawed_before_it_waits_never_stands() -> None:
    async def main(kernel: Kernel) -> int:
        runner = kernel.process("main").runner
        runner.freeze(current_task())
        runner.thaw(current_task())
        await kernel.sleep_ns(MS)
        return kernel.now_ns // MS

    with Kernel(SeededChoices(1)) as kernel:
        assert kernel.run(main, kernel).value() == 1


def test_a_cancellation_moves_nobody_who_is_frozen_and_a_cut_takes_it_along() -> None:
    seen: list[str] = []

    async def main(kernel: Kernel) -> None:
        process = kernel.process("host")
        tasks = []

        async def life() -> None:
            with trio.move_on_after(0.001):
                tasks.append(current_task())
                process.runner.freeze(current_task())
                try:
                    await trio.sleep_forever()
                finally:
                    seen.append("moved")

        process.start(life)
        await kernel.sleep_ns(50 * MS)
        assert not seen
        runner = process.runner
        process.crash()
        runner.thaw(tasks[0])
        await kernel.sleep_ns(50 * MS)
        assert not seen, "the dead do nothing"

    with Kernel(SeededChoices(1)) as kernel:
        kernel.run(main, kernel).value()


def test_whoever_looks_after_each_step_sees_them_all_and_costs_nothing_later() -> None:
    async def main(kernel: Kernel) -> int:
        steps: list[int] = []
        kernel.loop.after_each_step(lambda: steps.append(kernel.loop.steps))
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        kernel.loop.after_each_step(None)
        assert "_step" not in vars(kernel.loop)
        await trio.lowlevel.checkpoint()
        return len(steps)

    with Kernel(SeededChoices(1)) as kernel:
        assert kernel.run(main, kernel).value() == 3
