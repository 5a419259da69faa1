"""A connection dies without anybody being told."""

from __future__ import annotations

from typing import ClassVar

from understudy_sim.kernel.faults.port import Arena, Shot
from understudy_sim.kernel.pipes import Connection


class HalfOpen:
    """Loses everything sent on one connection from now on; its ends learn of it by time-outs alone.

    On an exchange, which has no bytes, it counts as `<label>.exchange`.
    """

    kind: ClassVar[str] = "half_open"
    budget: ClassVar[str] = "any connection; keep-alive notices after a while"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when something was lost in it."""
        connections = arena.kernel.network.between(*shot.target)
        if not connections:
            return False
        chosen = connections[shot.detail % len(connections)]
        before = chosen.swallowed
        chosen.half_open()
        arena.until(shot.lasts_ns, lambda: _notice(arena, shot.label, chosen, before))
        return True


def _notice(arena: Arena, label: str, connection: Connection, before: int) -> None:
    if connection.swallowed > before:
        arena.bite(f"{label}.exchange" if connection.exchange else label)
    if not connection.finished:
        connection.reset()
