"""A bit of what was synced is flipped: must be noticed, never answered from.  No run has this unasked."""

from __future__ import annotations

from typing import ClassVar

from understudy_sim.kernel.damage import rot
from understudy_sim.kernel.faults.port import Arena, Shot


class BitRot:
    """Flips one bit of what the host's disk holds as synced."""

    kind: ClassVar[str] = "bit_rot"
    budget: ClassVar[str] = "any bit; there is no second copy, so the process may refuse to start"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites always: the bit is another."""
        if not rot(arena.kernel.medium(shot.target[0]), shot.detail):
            return False
        arena.bite(shot.label)
        return True
