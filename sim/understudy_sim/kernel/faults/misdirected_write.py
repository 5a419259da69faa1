"""A write lands elsewhere: must be noticed, never answered from.  No run has this unasked."""

from __future__ import annotations

from typing import ClassVar

from understudy_sim.kernel.damage import misdirected
from understudy_sim.kernel.faults.port import Arena, Shot


class MisdirectedWrite:
    """The next write that is synced lands on another sector, of this file or another, and not where it should be.

    It is lost at its own place only once something later in the same file is durable: see `kernel/damage.py`.
    """

    kind: ClassVar[str] = "misdirected_write"
    budget: ClassVar[str] = "any write but the last of a file; the process may refuse to start"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when a write went elsewhere."""
        medium = arena.kernel.medium(shot.target[0])
        if medium.on_commit is not None:
            return False
        state = misdirected(shot.detail)
        medium.on_commit = lambda inode, writes: state.commit(medium, inode, writes)

        def undo() -> None:
            medium.on_commit = None

        return arena.lasts(shot, lambda: state.landed + state.lost, undo)
