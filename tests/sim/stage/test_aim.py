"""Aiming: some faults wait for a place that seldom begins, and come right after it."""

from __future__ import annotations

import trio
from understudy_sim.kernel.choices import SeededChoices
from understudy_sim.kernel.clock import NS_PER_MS
from understudy_sim.kernel.faults.port import Planned, Shot
from understudy_sim.kernel.faults.table import FAULTS
from understudy_sim.kernel.kernel import Kernel
from understudy_sim.stage.aim import LATER_NS, RARE_ONE_IN, UNAIMED_ONE_IN, Aims, Moments

JUMP = Planned("clock_jump", FAULTS["clock_jump"], (("server",),))
# Aimed, and late by the most there is, where it does not wait for the rare place.
DETAIL = UNAIMED_ONE_IN * (len(LATER_NS) - 1) + 1


def _aimed(detail: int, *begun: str) -> int:
    """When a jump with *detail* comes after places have *begun*, in ns; -1: it does not."""
    happened: list[int] = []

    async def main(kernel: Kernel) -> int:
        moments = Moments()
        shot = Shot(label="clock_jump", target=("server",), lasts_ns=0, strength_ns=1, detail=detail)
        aims = Aims(kernel, moments, {"clock_jump": "server, timer"})

        def happen() -> bool:
            happened.append(kernel.now_ns)
            return True

        assert aims(JUMP, shot, happen)
        assert moments.awaits(begun[0]) or begun[0] == "elsewhere"
        for place in begun:
            moments.begins(place)
        await trio.sleep(5)
        return happened[0] if happened else -1

    with Kernel(SeededChoices(1)) as kernel:
        at_ns: int = kernel.run(main, kernel).value()
        return at_ns


def test_a_fault_with_a_rare_place_waits_there_and_comes_right_after() -> None:
    assert DETAIL // 64 % RARE_ONE_IN == 0
    assert 0 < _aimed(DETAIL, "server, timer") <= 2 * NS_PER_MS
    assert _aimed(DETAIL, "elsewhere", "server") == -1


def test_others_of_its_kind_wait_for_the_usual_place() -> None:
    assert _aimed(DETAIL + 64, "server") >= LATER_NS[-1]
    assert _aimed(DETAIL + 64, "elsewhere", "server, timer") == -1
