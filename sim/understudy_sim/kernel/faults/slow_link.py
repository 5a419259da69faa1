"""A link of little bandwidth and long delay."""

from __future__ import annotations

from typing import ClassVar

from understudy_sim.kernel.faults.port import Arena, Shot
from understudy_sim.kernel.network import Slowness

_BYTES_PER_S = (1_000, 10_000, 100_000)


class SlowLink:
    """Both ways between the pair are slow: `strength_ns` more latency, and a drawn bandwidth."""

    kind: ClassVar[str] = "slow_link"
    budget: ClassVar[str] = "any pair, for a while"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when something had to travel over it."""
        network = arena.kernel.network
        here, there = shot.target
        slowness = Slowness(shot.strength_ns, _BYTES_PER_S[shot.detail % len(_BYTES_PER_S)])
        network.slow(here, there, slowness)
        network.slow(there, here, slowness)

        def undo() -> None:
            network.unslow(here, there)
            network.unslow(there, here)

        return arena.lasts(shot, lambda: network.touches("slow", f"{here}>{there}", f"{there}>{here}"), undo)
