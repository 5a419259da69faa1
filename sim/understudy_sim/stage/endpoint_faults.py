"""What only endpoints can do wrong: have no room, and come back speaking otherwise than they did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from understudy_sim.kernel.faults.port import Arena, Shot

if TYPE_CHECKING:
    from understudy_sim.stage.cluster import Cluster
    from understudy_sim.stage.endpoint import EndpointProcess


class Busy:
    """Refuses every attempt for a while, as a proxy does before an endpoint without room: 503.  What runs goes on."""

    kind: ClassVar[str] = "busy"
    budget: ClassVar[str] = "any endpoint, for a while"

    def __init__(self, endpoints: Sequence[EndpointProcess]) -> None:
        self._endpoints = {one.process.name: one for one in endpoints}

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when an attempt was refused."""
        endpoint = self._endpoints[shot.target[0]]
        if not endpoint.process.alive or endpoint.is_full:
            return False
        endpoint.is_full = True

        def undo() -> None:
            endpoint.is_full = False

        return arena.lasts(shot, lambda: endpoint.refused, undo)


class Swap:
    """Replaces the endpoint by one that says other things of itself, and kills the server, which is told at its start.

    Another newest version of the protocol, or request and response instead of both at once, or back.  What has begun
    under one of them goes on under it, or is replayed.
    """

    kind: ClassVar[str] = "swap"
    budget: ClassVar[str] = "an endpoint that is given to the server, not registered; it still reads what it wrote"

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when an attempt was running."""
        cluster = self._cluster
        endpoint, server = cluster.endpoint.process, cluster.server.process
        if cluster.plan.hops.registered or not (endpoint.alive and server.alive):
            return False
        busy = arena.busy(endpoint.name)
        cluster.swap(bidi=bool(shot.detail & 1), older=bool(shot.detail & 2))
        endpoint.crash(power=False)
        server.crash(power=False)
        if busy:
            arena.bite(shot.label)
        arena.until(max(1, shot.lasts_ns // 10), lambda: arena.restart(endpoint.name))
        arena.until(max(1, shot.lasts_ns // 10), lambda: arena.restart(server.name))
        return True
