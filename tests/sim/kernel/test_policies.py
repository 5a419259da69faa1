"""Policies: what they promise of the bugs they find, that they starve nobody, and that a survey lists all schedules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

import pytest
import trio
from understudy_sim.kernel.choices import SeededChoices
from understudy_sim.kernel.deviations import Deviating, Passed
from understudy_sim.kernel.kernel import Kernel
from understudy_sim.kernel.loop import Budget, Ending
from understudy_sim.kernel.policies import (
    STARVED_MAX,
    Delays,
    FirstReady,
    Policy,
    Priorities,
    RandomPick,
    Surveyed,
    Turn,
)

RUNS = 600
STEPS_OF_OTHER = 24


def run(main: Callable[..., Any], policy: Policy, **options: Any) -> Any:
    with Kernel(SeededChoices(1), policy=policy, **options) as kernel:
        return kernel.run(main, kernel).value()


async def race(kernel: Kernel) -> bool:
    """A bug of depth 2: one task must begin before the other, which must then overtake it and go all its way."""
    is_inside = False
    met = False

    async def window() -> None:
        nonlocal is_inside
        for _ in range(4):
            await trio.lowlevel.checkpoint()
        is_inside = True
        await trio.lowlevel.checkpoint()
        is_inside = False

    async def other() -> None:
        nonlocal met
        began_inside = is_inside
        for _ in range(STEPS_OF_OTHER):
            await trio.lowlevel.checkpoint()
        met = began_inside and is_inside

    async def noise() -> None:
        for _ in range(10):
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for task in (window, other, noise):
            nursery.start_soon(task)
    return met


def decisions(main: Callable[..., Any]) -> int:
    """What a run is measured by."""
    measured = Priorities(0, 0, 1)
    run(main, measured)
    return measured.decisions


def test_priorities_find_a_bug_of_depth_2_as_often_as_promised_and_a_random_walk_does_not() -> None:
    horizon, tasks = decisions(race), 4  # window, other, noise and the one that waits for them
    found = sum(run(race, Priorities(seed, 1, horizon)) for seed in range(RUNS))
    assert found >= RUNS / (tasks * horizon), "the bound of the paper"
    assert not any(run(race, RandomPick(SeededChoices(seed))) for seed in range(RUNS // 4))


def test_without_change_points_no_running_task_is_overtaken() -> None:
    assert not any(run(race, Priorities(seed, 0, 100)) for seed in range(RUNS // 6))


def test_a_task_that_spins_does_not_starve_the_one_it_waits_for() -> None:
    async def main(kernel: Kernel) -> None:
        done = False

        async def other() -> None:
            nonlocal done
            await trio.lowlevel.checkpoint()
            done = True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            while not done:
                await trio.lowlevel.checkpoint()

    for seed in range(6):
        with Kernel(
            SeededChoices(1), policy=Priorities(seed, 0, 1), budget=Budget(steps_max=5 * STARVED_MAX)
        ) as kernel:
            assert kernel.run(main, kernel).ending is Ending.DONE


async def order_of_three(kernel: Kernel) -> str:
    """Which order three tasks of one step each come in."""
    order = ""

    async def one(name: str) -> None:
        nonlocal order
        order += name

    async with trio.open_nursery() as nursery:
        for name in "abc":
            nursery.start_soon(one, name)
    return order


def test_delays_pass_the_head_over_at_their_decisions_only() -> None:
    assert run(order_of_three, FirstReady()) == "abc"
    assert run(order_of_three, Delays({1: 1})) == "bac"
    assert run(order_of_three, Delays({1: 9})) == "cab", "no more places than there are"
    assert run(order_of_three, Delays({7: 1})) == "abc", "there is no such decision"


def surveyed(main: Callable[..., Any], passed: Sequence[Passed]) -> tuple[str, list[Turn]]:
    policy = Surveyed(passed)
    return run(main, policy), policy.turns


def test_a_survey_names_every_decision_as_deviations_do() -> None:
    order, turns = surveyed(order_of_three, ())
    assert order == "abc"
    assert [turn.ready for turn in turns] == [3, 2]
    for turn in turns:
        for by in range(1, turn.ready):
            passed = Passed(turn.task, turn.nth, by)
            assert run(order_of_three, Deviating([passed])) == surveyed(order_of_three, [passed])[0]


def test_following_surveys_to_the_end_gives_every_order_once() -> None:
    orders = []
    waiting: list[tuple[Passed, ...]] = [()]
    while waiting:
        passed = waiting.pop()
        order, turns = surveyed(order_of_three, passed)
        orders.append(order)
        names = [(turn.task, turn.nth) for turn in turns]
        first = names.index(passed[-1][:2]) + 1 if passed else 0
        waiting += [(*passed, Passed(t.task, t.nth, by)) for t in turns[first:] for by in range(1, t.ready)]
    assert sorted(orders) == sorted("".join(order) for order in permutations("abc"))


@pytest.mark.parametrize("policy", [RandomPick(SeededChoices(1)), Priorities(1, 1, 10), Delays({}), FirstReady()])
def test_one_ready_task_is_no_decision(policy: Policy) -> None:
    with pytest.raises((AssertionError, ValueError)):
        policy([object()])
