"""A host refuses new connections for a while."""

from __future__ import annotations

from typing import ClassVar

from understudy_sim.kernel.faults.port import Arena, Shot


class RefuseConnect:
    """New connections to the host are refused; live ones go on."""

    kind: ClassVar[str] = "refuse_connect"
    budget: ClassVar[str] = "any host, for a while"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when somebody was refused."""
        host = shot.target[-1]
        network = arena.kernel.network
        network.refuse(host)
        return arena.lasts(shot, lambda: network.touches("refused", host), lambda: network.unrefuse(host))
