"""Schedules as data to policies of the kernel."""

from __future__ import annotations

from understudy_sim.kernel.choices import Choices
from understudy_sim.kernel.deviations import Deviating, Passed
from understudy_sim.kernel.policies import FirstReady, Policy, RandomPick
from understudy_sim.stage.variation import Schedule


def policy_of(choices: Choices, schedule: Schedule | None) -> Policy:
    """The policy that *schedule* names; None is what the seed draws."""
    if schedule is not None and schedule.kind == "fifo":
        passed = [Passed(one.task, one.nth, one.by) for one in schedule.deviations]
        return Deviating(passed) if passed else FirstReady()
    return RandomPick(choices)
