"""P10, no leaks: when all is quiet, everything that counts up has counted down again.

Waiters for replies, running attempts, queued commands, retries, rows: each count a server keeps must be back at the
baseline.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from understudy_sim.stage.watch import Handler, Property


class Leaks(Property):
    number: ClassVar[str] = "P10"
    claim: ClassVar[str] = "nothing is left over when all is quiet"

    def handlers(self) -> Mapping[type, Handler]:
        return {}

    def check(self, counts: Mapping[str, int]) -> None:
        """*counts*: what the last server still holds, by name.  All must be 0."""
        for name, count in counts.items():
            self.hit(name)
            if count:
                self.broken(f"{count} {name} left when all is quiet")
