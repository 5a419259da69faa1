"""A connection dies without anybody being told."""

from __future__ import annotations

from typing import ClassVar

from understudy_sim.kernel.faults.port import Arena, Shot, label_on
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
        chosen.half_open()
        return arena.lasts(shot, lambda: chosen.swallowed, lambda: _notice(chosen), label_on(chosen, shot))


def _notice(connection: Connection) -> None:
    if not connection.finished:
        connection.reset()
