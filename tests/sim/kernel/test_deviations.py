"""A recorded schedule, written as its deviations from first come, first served, is the same run again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from understudy_sim.kernel.choices import SeededChoices
from understudy_sim.kernel.deviations import Deviating, Passed, Recording, short
from understudy_sim.kernel.kernel import Kernel
from understudy_sim.kernel.policies import FirstReady, Policy, RandomPick

S = 1_000_000_000


async def crowd(kernel: Kernel) -> list[str]:
    """Three processes of a few tasks each; one of them dies and starts again."""
    order: list[str] = []

    async def one(name: str, turns: int) -> None:
        for turn in range(turns):
            await trio.lowlevel.checkpoint()
            order.append(f"{name}{turn}")

    async def main(name: str) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(one, f"{name}{number}.", 4)
            await trio.sleep(1)

    for name in ("a", "b", "c"):
        kernel.process(name).start(main, name, on_exit=lambda *_: None)
    await kernel.sleep_ns(S // 2)
    kernel.process("b").crash()
    kernel.process("b").start(main, "b", on_exit=lambda *_: None)
    await kernel.sleep_ns(3 * S)
    return order


def run(seed: int, policy: Callable[[SeededChoices], Policy]) -> tuple[str, list[str], Policy]:
    choices = SeededChoices(seed)
    choices.integer("schedule", 0, 2**64 - 1)
    used = policy(SeededChoices(seed))
    with Kernel(choices, policy=used) as kernel:
        ended = kernel.run(crowd, kernel)
        return ended.digest, ended.value(), used


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_a_random_run_written_as_deviations_is_the_same_run(seed: int) -> None:
    digest, order, recording = run(seed, lambda choices: Recording(RandomPick(choices)))
    assert isinstance(recording, Recording)
    assert recording.passed, "a crowd is not served in order by chance"
    again, same, deviating = run(0, lambda _: Deviating(recording.passed))
    assert isinstance(deviating, Deviating)
    assert (again, same) == (digest, order)
    assert deviating.met == len(recording.passed)


def test_recording_changes_nothing_and_fifo_has_no_deviations() -> None:
    plain = run(7, RandomPick)
    assert run(7, lambda choices: Recording(RandomPick(choices)))[:2] == plain[:2]
    _, _, recording = run(7, lambda _: Recording(FirstReady()))
    assert isinstance(recording, Recording)
    assert recording.passed == []


def test_names_are_of_process_incarnation_and_parent_and_do_not_move_when_another_process_is_left_out() -> None:
    _, _, recording = run(3, lambda choices: Recording(RandomPick(choices)))
    assert isinstance(recording, Recording)
    names = {one.task for one in recording.passed}
    assert {name.split("/")[0] for name in names} >= {"a.1", "b.1", "b.2", "c.1"}
    assert any(name.startswith("b.2/main/one#") for name in names)
    alone = Passed("c.1/main/one#2", 1, 1)
    _, with_all, _ = run(0, lambda _: Deviating([alone]))
    _, fifo, _ = run(0, lambda _: FirstReady())
    assert with_all != fifo
    assert [one for one in with_all if one[0] != "c"] == [one for one in fifo if one[0] != "c"]


def test_a_normal_run_names_nobody() -> None:
    with Kernel(SeededChoices(1)) as kernel:
        assert kernel.loop.names is None


def test_what_trio_calls_a_task_gets_short_and_keeps_no_address() -> None:
    def named(_: Any = None) -> None: ...

    assert short("understudy_runtime.partition.Partition.run") == "run"
    assert short(f"{named.__module__}.{named.__qualname__}") == "named"
    assert short("<functools.partial object at 0x7f001122aabb>") == "partial_object"
    assert short("<>") == "task"
