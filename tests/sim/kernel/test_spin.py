"""What spins is found and named: tasks that take step after step for nothing, and a step that never ends."""

from __future__ import annotations

import types
from collections.abc import Coroutine, Generator
from typing import Any

import trio
from understudy_sim.kernel.choices import SeededChoices
from understudy_sim.kernel.kernel import Kernel
from understudy_sim.kernel.loop import Ending
from understudy_sim.kernel.spin import Pace, busiest, step_watchdog


async def spin_on() -> None:
    while True:
        await trio.lowlevel.checkpoint()


def test_who_takes_steps_without_end_is_named() -> None:
    named: list[str] = []
    with Kernel(SeededChoices(1)) as kernel:
        pace = Pace(kernel.loop, 2_000)

        def look() -> None:
            if pace.look():
                named.extend(busiest(kernel.loop))
                kernel.loop.stop(Ending.SPINS)

        kernel.loop.look = look

        async def main() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                nursery.start_soon(spin_on)

        ended = kernel.run(main)
    assert ended.ending is Ending.SPINS
    assert ended.steps < 5_000
    assert len(named) == 1
    assert "spin_on" in named[0]


def spinners(main: Any) -> list[str]:
    """Who is named when *main* has spun for a while."""
    with Kernel(SeededChoices(1)) as kernel:
        named: list[str] = []

        def look() -> None:
            if kernel.loop.steps > 3_000:
                named.extend(busiest(kernel.loop, lambda task: "" if task.name == "main" else f"about {task.name}"))
                kernel.loop.stop(Ending.SPINS)

        kernel.loop.look = look
        kernel.run(main)
    return named


def test_alike_tasks_are_one_and_those_that_ended_are_told() -> None:
    async def crowd() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(spin_on)

    (line,) = spinners(crowd)
    assert " % of the steps, of 20 tasks: main: " in line
    assert "waits in spin_on" in line
    assert line.endswith("\n    about tests.sim.kernel.test_spin.spin_on")

    async def generations() -> None:
        async with trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(trio.lowlevel.checkpoint)
                await trio.lowlevel.checkpoint()

    lines = spinners(generations)
    assert any("tasks that have ended since" in line for line in lines)
    assert any("generations" in line for line in lines)


def test_who_is_driven_by_hand_is_looked_into() -> None:
    @types.coroutine
    def drive(coroutine: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
        trap = coroutine.send(None)
        while True:
            answer = yield trap
            trap = coroutine.send(answer)

    async def by_hand() -> None:
        await drive(spin_on())

    (line,) = spinners(by_hand)
    assert "waits in spin_on" in line


def test_many_steps_in_much_time_or_with_something_to_show_are_no_spin() -> None:
    found: list[bool] = []
    with Kernel(SeededChoices(1)) as kernel:
        pace = Pace(kernel.loop, 1_000)
        kernel.loop.look = lambda: found.append(pace.look())

        async def main() -> None:
            for _ in range(4_000):
                await trio.sleep(0.01)
            for _ in range(20):
                for _ in range(500):
                    await trio.lowlevel.checkpoint()
                pace.mark()

        kernel.run(main)
    assert len(found) > 40
    assert not any(found)


def test_a_step_that_never_ends_is_broken_off_and_its_place_told() -> None:
    places: list[str] = []
    with Kernel(SeededChoices(1)) as kernel:
        kernel.loop.spun = places.append
        kernel.loop.patience_s = 0.1

        async def main() -> None:
            await trio.lowlevel.checkpoint()
            while True:
                pass

        ended = kernel.run(main)
    assert ended.ending is Ending.SPINS
    assert len(places) == 1
    assert "main" in places[0]
    assert ", by main: " in places[0]


def test_a_step_in_which_the_error_is_swallowed_is_broken_off_again_and_a_spin_between_steps_too() -> None:
    with Kernel(SeededChoices(1)) as kernel:
        told: list[str] = []
        tries = 0
        with step_watchdog(kernel.loop, told.append, tick_s=0.05):
            while tries < 2:
                try:
                    while True:
                        pass
                except BaseException:
                    tries += 1
        with step_watchdog(kernel.loop, told.append, tick_s=0.05):
            while True:
                pass
    assert len(told) == 3
