"""A pair of hosts, or one direction between them, is cut."""

from __future__ import annotations

from typing import ClassVar

from understudy_sim.kernel.faults.port import Arena, Shot


class Partition:
    """Holds everything between the pair;

    *one_way* holds one direction, as drawn.  Held bytes arrive after the healing.
    """

    kind: ClassVar[str] = "partition"
    budget: ClassVar[str] = "any pair; a connection that cannot deliver for long is reset"

    def __init__(self, *, one_way: bool = False) -> None:
        self.one_way = one_way

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when something was held or a connect was lost."""
        network = arena.kernel.network
        here, there = shot.target
        ways = [(here, there), (there, here)]
        if self.one_way:
            ways = [ways[shot.detail % 2]]
        for source, target in ways:
            network.block(source, target)

        def undo() -> None:
            for source, target in ways:
                network.unblock(source, target)

        return arena.lasts(shot, lambda: network.touches("held", *(f"{a}>{b}" for a, b in ways)), undo)
