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
        key = f"unknown {host}"
        before = network.touched.get(key, 0)
        network.forget(host)

        def undo() -> None:
            network.remember(host)
            if network.touched.get(key, 0) > before:
                arena.bite(shot.label)

        arena.until(shot.lasts_ns, undo)
        return True
