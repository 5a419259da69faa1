"""Schedules as data to policies of the kernel, and what a seed draws.

A drawn schedule is a portfolio in one integer: the seed itself decides which policy its run uses, so that a seed alone
names the run.  First come, first served is the tame answer.
"""

from __future__ import annotations

from typing import Final

import attrs

from understudy_sim.kernel.choices import Choices, Stream, stable_seed
from understudy_sim.kernel.deviations import Deviating, Passed
from understudy_sim.kernel.policies import Delays, FirstReady, Policy, Priorities, RandomPick, Surveyed, Turn
from understudy_sim.stage.variation import Schedule

WORD_MAX: Final = 2**64 - 1
# Of a hundred seeds: so many with each policy, in this order; the rest is random.
FIFO_PERCENT: Final = 5
DELAYS_PERCENT: Final = 15
PCT_PERCENT: Final = 30
# A drawn schedule knows no measured horizon: a power of two is drawn, which costs the bound of PCT this many times.
HORIZON_BITS: Final = (6, 14)
PCT_CHANGES_MAX: Final = 3
DELAYS_MAX: Final = 6
DELAYS_BY_MAX: Final = 3


@attrs.frozen
class Decided:
    """What a run's schedule was, for its report: in words, how many decisions it had (0: not counted), and all of them
    where they were surveyed."""

    words: str
    decisions: int = 0
    turns: tuple[Turn, ...] | None = None


UNSAID: Final = Decided("not said")


def policy_of(choices: Choices, schedule: Schedule | None) -> Policy:
    """The policy that *schedule* names; None is what the seed draws."""
    kind = "drawn" if schedule is None else schedule.kind
    if schedule is None or kind == "drawn":
        return _drawn(choices)
    if kind == "fifo":
        passed = [Passed(one.task, one.nth, one.by) for one in schedule.deviations]
        if schedule.surveyed:
            return Surveyed(passed)
        return Deviating(passed) if passed else FirstReady()
    if kind == "pct":
        return _priorities(choices, schedule.changes, schedule.horizon)
    assert kind == "random", f"{kind} has no policy"
    return RandomPick(choices)


def _drawn(choices: Choices) -> Policy:
    lot = choices.integer("schedule/kind", 0, 99)
    if lot < FIFO_PERCENT:
        return FirstReady()
    lot -= FIFO_PERCENT
    if lot < DELAYS_PERCENT:
        return _delays(choices)
    lot -= DELAYS_PERCENT
    if lot < PCT_PERCENT:
        return _priorities(choices, choices.integer("schedule/changes", 1, PCT_CHANGES_MAX), 0)
    return RandomPick(choices)


def _priorities(choices: Choices, changes: int, horizon: int) -> Priorities:
    horizon = horizon or 1 << choices.integer("schedule/horizon", *HORIZON_BITS)
    return Priorities(stable_seed("schedule", choices.integer("schedule", 0, WORD_MAX)), changes, horizon)


def _delays(choices: Choices) -> Delays:
    """A few delays within a horizon."""
    count = choices.integer("schedule/delays", 1, DELAYS_MAX)
    horizon = 1 << choices.integer("schedule/horizon", *HORIZON_BITS)
    stream = Stream(stable_seed("delays", choices.integer("schedule", 0, WORD_MAX)))
    return Delays({stream.integer(1, horizon): stream.integer(1, DELAYS_BY_MAX) for _ in range(count)})


def decided(policy: Policy) -> Decided:
    """What *policy* has decided in a run that is over."""
    match policy:
        case Priorities():
            words = f"priorities, {policy.changes} changes in {policy.horizon:,} decisions"
            return Decided(words, policy.decisions)
        case Delays():
            return Decided(f"first come first served, {len(policy.places)} delays")
        case Surveyed():
            return Decided("first come first served, surveyed", len(policy.turns), tuple(policy.turns))
        case Deviating():
            return Decided(f"first come first served, {policy.met} deviations")
        case FirstReady():
            return Decided("first come first served")
        case RandomPick():
            return Decided("random")
    return Decided(type(policy).__name__)
