"""Nobody answers who asks for a new connection."""

from __future__ import annotations

from typing import ClassVar

from understudy_sim.kernel.faults.port import Arena, Shot


class HungConnect:
    """What asks the host for a new connection is lost until the caller's patience ends; live ones go on."""

    kind: ClassVar[str] = "hung_connect"
    budget: ClassVar[str] = "any host, for a while"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when somebody got no answer."""
        host = shot.target[-1]
        network = arena.kernel.network
        key = f"hung {host}"
        before = network.touched.get(key, 0)
        network.hang(host)

        def undo() -> None:
            network.unhang(host)
            if network.touched.get(key, 0) > before:
                arena.bite(shot.label)

        arena.until(shot.lasts_ns, undo)
        return True
