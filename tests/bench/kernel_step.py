"""What one simulated step costs, as a ratio to a bare trio checkpoint in the same process.

    python tests/bench/kernel_step.py [TASKS …]

Interleaves both, takes medians, and prints a line per number of ready tasks.  Aim: at most 1.5.
"""

from __future__ import annotations

import statistics
import sys
import time

import trio
from understudy_sim.kernel.choices import SeededChoices
from understudy_sim.kernel.kernel import Kernel

CHECKPOINTS = 20_000
ROUNDS = 7


async def work(tasks: int) -> None:
    each = CHECKPOINTS // tasks

    async def spin() -> None:
        for _ in range(each):
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for _ in range(tasks):
            nursery.start_soon(spin)


def bare(tasks: int) -> float:
    """Seconds under trio.run."""
    began = time.perf_counter()
    trio.run(work, tasks)
    return time.perf_counter() - began


def simulated(tasks: int) -> float:
    """Seconds in the kernel, set-up and reaping included."""
    began = time.perf_counter()
    with Kernel(SeededChoices(tasks)) as kernel:
        kernel.run(work, tasks).value()
    return time.perf_counter() - began


def ratio(tasks: int) -> tuple[float, float, float]:
    """(ratio, µs per simulated step, µs per bare checkpoint), medians of interleaved rounds."""
    pairs = [(simulated(tasks), bare(tasks)) for _ in range(ROUNDS)]
    step = statistics.median(one for one, _ in pairs) / CHECKPOINTS
    checkpoint = statistics.median(other for _, other in pairs) / CHECKPOINTS
    return statistics.median(one / other for one, other in pairs), step * 1e6, checkpoint * 1e6


if __name__ == "__main__":
    for count in [int(argument) for argument in sys.argv[1:]] or [1, 10, 100]:
        found, step_us, checkpoint_us = ratio(count)
        print(f"{count:4d} ready: {found:.2f} x a bare checkpoint ({step_us:.2f} µs against {checkpoint_us:.2f} µs)")
