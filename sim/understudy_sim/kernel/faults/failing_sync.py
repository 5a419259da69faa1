"""A sync fails."""

from __future__ import annotations

from typing import ClassVar

from understudy_sim.kernel.faults.port import Arena, Shot


class FailingSync:
    """The next sync of the host's disk fails, once; what it covered is in doubt and the process must stop."""

    kind: ClassVar[str] = "failing_sync"
    budget: ClassVar[str] = "any sync; what was synced before is intact"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when a sync met it."""
        medium = arena.kernel.medium(shot.target[0])
        if medium.fail_syncs:
            return False
        medium.fail_syncs, medium.fail_detail = 1, shot.detail

        def undo() -> None:
            medium.fail_syncs = 0

        return arena.lasts(shot, lambda: medium.failed_syncs, undo)
