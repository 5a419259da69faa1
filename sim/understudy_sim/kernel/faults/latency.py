"""The whole network is late for a while."""

from __future__ import annotations

from typing import ClassVar

from understudy_sim.kernel.faults.port import Arena, Shot


class Latency:
    """Everything takes `strength_ns` longer."""

    kind: ClassVar[str] = "latency"
    budget: ClassVar[str] = "every link, for a while"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when anything travelled meanwhile."""
        network = arena.kernel.network
        network.extra_latency_ns += shot.strength_ns

        def undo() -> None:
            network.extra_latency_ns = max(0, network.extra_latency_ns - shot.strength_ns)

        return arena.lasts(shot, lambda: network.touches("late", ""), undo)
