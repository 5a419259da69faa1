"""Everything between two hosts is held for a while, and arrives at once."""

from __future__ import annotations

from typing import ClassVar

from understudy_sim.kernel.choices import Stream, stable_seed
from understudy_sim.kernel.faults.port import Arena, Shot
from understudy_sim.kernel.pipes import Pipe


class HeldTraffic:
    """Holds what is under way between a pair, and what is sent or asked for meanwhile; then all of it arrives in one
    instant.  Each connection keeps its order; which of them comes first is drawn.
    """

    kind: ClassVar[str] = "held_traffic"
    budget: ClassVar[str] = "any pair, for a while; within a connection nothing is reordered"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when something was held."""
        network = arena.kernel.network
        here, there = shot.target
        links = [link for link in ((here, there), (there, here)) if network.stop(*link)]
        if not links:
            return False
        stream = Stream(stable_seed("held", shot.detail))
        return arena.lasts(
            shot,
            lambda: network.touches("held", *(f"{a}>{b}" for a, b in links)),
            lambda: network.let_go(links, lambda pipes: _shuffled(pipes, stream)),
        )


def _shuffled(pipes: list[Pipe], stream: Stream) -> list[Pipe]:
    rest, order = list(pipes), []
    while rest:
        order.append(rest.pop(stream.integer(0, len(rest) - 1)))
    return order
