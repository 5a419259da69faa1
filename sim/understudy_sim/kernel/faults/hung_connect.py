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
        network.hang(host)
        return arena.lasts(shot, lambda: network.touches("hung", host), lambda: network.unhang(host))
