"""`leads_to`: then or later, in time, and what is owed at the end."""

from __future__ import annotations

import attrs
import pytest
from understudy_sim.kernel.clock import NS_PER_S
from understudy_sim.stage.temporal import Lead


@attrs.define
class World:
    cause: bool = False
    effect: bool = False
    now_s: int = 0
    healed_s: int | None = 0

    def lead(self, within_s: int | None = None) -> Lead:
        return Lead(
            lambda: self.cause,
            lambda: self.effect,
            None if within_s is None else within_s * NS_PER_S,
            lambda: self.now_s * NS_PER_S,
            lambda: None if self.healed_s is None else self.healed_s * NS_PER_S,
        )


def test_what_never_began_owes_nothing():
    lead = World().lead()
    assert lead.look() == ""
    assert lead.end() == ""
    assert lead.times == 0


def test_it_may_hold_at_once_or_later():
    world = World(cause=True, effect=True)
    lead = world.lead()
    assert lead.look() == ""
    world.effect = False
    assert lead.look() == ""
    world.cause, world.effect = False, True
    assert lead.end() == ""
    assert lead.times == 2


def test_what_is_owed_at_the_end_is_told():
    world = World(cause=True, now_s=5)
    lead = world.lead()
    lead.look()
    world.cause = False
    assert lead.end() == "what began to hold at 5 s never led to it"


@pytest.mark.parametrize(
    ("healed_s", "came_s", "said"), [(0, 12, "it came 2 s late"), (0, 10, ""), (4, 12, ""), (None, 99, "")]
)
def test_in_time_counts_from_the_healing(healed_s, came_s, said):
    world = World(cause=True, healed_s=healed_s)
    lead = world.lead(within_s=10)
    lead.look()
    world.now_s, world.effect = came_s, True
    assert lead.look() == said
