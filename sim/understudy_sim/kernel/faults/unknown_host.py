"""A host's name cannot be resolved."""

from __future__ import annotations

from typing import ClassVar

from understudy_sim.kernel.faults.port import Arena, Shot


class UnknownHost:
    """Nobody finds the host by its name; live connections go on."""

    kind: ClassVar[str] = "unknown_host"
    budget: ClassVar[str] = "any name, for a while"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when somebody looked for it."""
        host = shot.target[-1]
        network = arena.kernel.network
        network.forget(host)
        return arena.lasts(shot, lambda: network.touches("unknown", host), lambda: network.remember(host))
