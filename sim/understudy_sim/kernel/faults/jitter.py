"""Messages are late, each by another time."""

from __future__ import annotations

from typing import ClassVar

from understudy_sim.kernel.choices import Stream, stable_seed
from understudy_sim.kernel.faults.port import Arena, Shot


class Jitter:
    """Each chunk takes up to `strength_ns` longer, as drawn for it: what was sent first on one connection may arrive
    after what was sent later on another.
    """

    kind: ClassVar[str] = "jitter"
    budget: ClassVar[str] = "every link, for a while; within a connection nothing is reordered"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when anything travelled meanwhile."""
        network = arena.kernel.network
        if network.jitter is not None:
            return False
        stream = Stream(stable_seed("jitter", shot.detail))
        network.jitter = lambda: stream.integer(0, shot.strength_ns)

        def undo() -> None:
            network.jitter = None

        return arena.lasts(shot, lambda: network.touches("jitter", ""), undo)
