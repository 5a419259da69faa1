"""A connection breaks at both ends."""

from __future__ import annotations

from typing import ClassVar

from understudy_sim.kernel.faults.port import Arena, Shot, label_on


class StreamReset:
    """Resets one live connection between the pair; what was unread is lost.

    On an exchange, which has no bytes, it counts as `<label>.exchange`.
    """

    kind: ClassVar[str] = "stream_reset"
    budget: ClassVar[str] = "any connection, at any byte"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when bytes were in flight or unread, or the server end was working for the client."""
        connections = arena.kernel.network.between(*shot.target)
        if not connections:
            return False
        busy = [one for one in connections if one.busy]
        chosen = (busy or connections)[shot.detail % len(busy or connections)]
        if chosen.busy or arena.busy(chosen.link[1]):
            arena.bite(label_on(chosen, shot))
        chosen.reset()
        return True
