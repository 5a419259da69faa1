"""The nemesis: hurts the cluster while the operations run, with the kinds of fault the seed's plan has, then heals it."""

from __future__ import annotations

from understudy_sim.kernel.kernel import Kernel
from understudy_sim.stage.cluster import Cluster
from understudy_sim.stage.plan import Plan


class Nemesis:
    """One seed's trouble."""

    def __init__(self, kernel: Kernel, plan: Plan, cluster: Cluster) -> None:
        self._kernel = kernel
        self._plan = plan
        self._cluster = cluster

    async def hurt(self) -> None:
        """Run the hurt phase to its end."""
        await self._kernel.sleep_ns(self._plan.hurt_ns)

    def heal(self) -> None:
        """End every fault that lasts."""
        self._kernel.network.heal()
