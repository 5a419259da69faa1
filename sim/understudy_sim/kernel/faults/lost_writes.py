"""What a power cut may do to unsynced writes: lose them, tear them."""

from __future__ import annotations

from typing import ClassVar

from understudy_sim.kernel.faults.port import Arena, Shot
from understudy_sim.kernel.inodes import CutReport


class LostWrites:
    """Switched on for a whole run:

    at each power cut unsynced writes and names may be lost.  Injected by the crash itself.
    """

    kind: ClassVar[str] = "lost_writes"
    budget: ClassVar[str] = "unsynced writes and names only"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Never by itself."""
        return False

    def switch(self, arena: Arena, host: str, on: bool) -> None:
        """Allow or forbid it on *host*'s disk."""
        arena.kernel.medium(host).profile.lose_writes = on

    def bites(self, report: CutReport) -> bool:
        """Whether a cut lost something written."""
        return report.lost_writes + report.lost_names > 0


class TornTail:
    """Switched on for a whole run: at each power cut an unsynced write may be torn at a sector."""

    kind: ClassVar[str] = "torn_tail"
    budget: ClassVar[str] = "unsynced writes only, at 512-byte sectors"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Never by itself."""
        return False

    def switch(self, arena: Arena, host: str, on: bool) -> None:
        """Allow or forbid it on *host*'s disk."""
        arena.kernel.medium(host).profile.tear_writes = on

    def bites(self, report: CutReport) -> bool:
        """Whether a cut tore a write."""
        return report.torn_writes > 0
