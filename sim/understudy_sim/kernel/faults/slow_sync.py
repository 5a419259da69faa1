"""A disk whose syncs take long."""

from __future__ import annotations

from typing import ClassVar

from understudy_sim.kernel.faults.port import Arena, Shot


class SlowSync:
    """Every sync of the host's disk takes `strength_ns` longer for a while."""

    kind: ClassVar[str] = "slow_sync"
    budget: ClassVar[str] = "any disk, for a while"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when something was synced meanwhile."""
        medium = arena.kernel.medium(shot.target[0])
        medium.slow_ns += shot.strength_ns

        def undo() -> None:
            medium.slow_ns = max(0, medium.slow_ns - shot.strength_ns)

        return arena.lasts(shot, lambda: medium.slowed_syncs, undo)
