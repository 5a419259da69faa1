"""A connection breaks in the middle of what is being said."""

from __future__ import annotations

from typing import ClassVar, Final

from understudy_sim.kernel.faults.port import Arena, Shot, label_on
from understudy_sim.kernel.pipes import Connection

# So many bytes arrive yet.  The first two fall into a head, the others into a body.
BYTES: Final = (1, 30, 90, 200, 600, 3_000)
# The items of an exchange are whole messages.
ITEMS: Final = 3


class CutStream:
    """Lets so many more bytes arrive at one end of a connection, then resets it; what arrived may still be read.

    On an exchange, which has no bytes, so many messages; it counts as `<label>.exchange` then.
    """

    kind: ClassVar[str] = "cut_stream"
    budget: ClassVar[str] = "any connection, at any byte"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when it came to that."""
        connections = arena.kernel.network.between(*shot.target)
        connections = [one for one in connections if one.forward.breaks_after is one.backward.breaks_after is None]
        if not connections:
            return False
        busy = [one for one in connections if one.busy]
        chosen = (busy or connections)[(shot.detail >> 4) % len(busy or connections)]
        pipe = chosen.backward if shot.detail & 1 else chosen.forward
        choice = shot.detail >> 1
        pipe.breaks_after = choice % ITEMS if chosen.exchange else BYTES[choice % len(BYTES)]
        return arena.lasts(shot, lambda: chosen.broken_in_the_middle, lambda: _spare(chosen), label_on(chosen, shot))


def _spare(connection: Connection) -> None:
    connection.forward.breaks_after = connection.backward.breaks_after = None
