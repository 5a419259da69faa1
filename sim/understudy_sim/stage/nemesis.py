"""The nemesis of one seed: which kernel faults hit whom, how often and how long, from the seed's plan.

The kernel injects and counts; this only names the targets.  What bites an exchange is counted apart: a
stream fault counts as one only where there are streams.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import MappingProxyType
from typing import Final

from understudy_sim.kernel.faults.nemesis import Nemesis as KernelNemesis
from understudy_sim.kernel.faults.port import Fault, Intensity, Planned, Shot, Target
from understudy_sim.kernel.faults.table import FAULTS
from understudy_sim.kernel.kernel import Kernel
from understudy_sim.stage.aim import Aims
from understudy_sim.stage.cluster import DELIVERY, SNAPSHOT, Cluster
from understudy_sim.stage.draining import Drain
from understudy_sim.stage.endpoint import ENDPOINT
from understudy_sim.stage.operator import OPERATOR
from understudy_sim.stage.plan import NS_PER_MS, NS_PER_S, Plan
from understudy_sim.stage.server import SERVER
from understudy_sim.stage.strikes import Waiting, check_strikes, shot_of
from understudy_sim.stage.tally import Firing, Tally
from understudy_sim.stage.variation import Strike

# How the stage's kinds are called in the kernel.
KERNEL_KINDS: Final = MappingProxyType(
    {
        "server_crash": "crash",
        "endpoint_crash": "crash",
        "provider_down": "crash",
        "server_drain": "drain",
        "endpoint_drain": "drain",
        "stream_reset": "stream_reset",
        "refused_connect": "refuse_connect",
        "half_open": "half_open",
        "partition": "partition",
        "one_way_partition": "partition_one_way",
        "slow_link": "slow_link",
        "clock_jump": "clock_jump",
        "pause": "pause",
        "lost_write": "lost_writes",
        "torn_write": "torn_tail",
        "slow_sync": "slow_sync",
        "failing_sync": "failing_sync",
    }
)
SNAPSHOTS_BELOW = 1024 * 1024
# Of the seeds that have both, those with so many partitions have snapshots hurt rather than messages.
SNAPSHOTS_RATHER = 2
# What a power cut may do to a disk is switched on for the whole run: it happens with the crash.
OF_POWER_CUTS = ("lost_write", "torn_write")


def every_ns(plan: Plan, kind: str) -> int:
    """How often *kind* is to strike in this seed, on average, while there is trouble."""
    return max(1, plan.hurts[0][1] // ((6 if kind == "stream_reset" else 2) * plan.intensity[kind]))


class Nemesis:
    """One seed's trouble, drawn; or exactly *strikes*, when they are given."""

    def __init__(
        self, kernel: Kernel, plan: Plan, cluster: Cluster, tally: Tally, strikes: Sequence[Strike] | None = None
    ) -> None:
        self._plan = plan
        self._cluster = cluster
        self._tally = tally
        self._kernel = kernel
        self._strikes = strikes
        self._draining = {"server_drain": cluster.server.drain, "endpoint_drain": cluster.endpoint.drain}
        if strikes is not None:
            check_strikes(strikes, cluster)
            waiting = Waiting(strikes)
            for external in cluster.externals:
                external.strikes = waiting
        self._nemesis = KernelNemesis(
            kernel,
            list(self._planned() if strikes is None else self._given()),
            restart=cluster.restart,
            busy=cluster.busy,
            aim=Aims(kernel, cluster.moments, self._rare),
            on_fault=self._on_fault,
            shots=None if strikes is None else [shot_of(one) for one in strikes if one.kind in KERNEL_KINDS],
            # Where a power cut is the point, it may do what it can.
            disks=() if cluster.crash_at is not None else (SERVER,),
        )

    async def hurt(self) -> None:
        """Run the hurt phase to its end; between its parts nothing new is drawn."""
        for begin_ns, lasts_ns in self._phases():
            await self._kernel.loop.sleep_until_ns(begin_ns)
            self._cluster.moments.clear()
            self._nemesis.start()
            await self._kernel.sleep_ns(lasts_ns)
            self._cluster.moments.clear()
            self._nemesis.heal()

    def heal(self) -> None:
        """Faults are over: read the tally."""
        for label, counted in self._nemesis.tally.items():
            fired = counted.fired if label in OF_POWER_CUTS else 0
            if fired or counted.bit:
                self._tally.counted(label, fired, counted.bit)

    def _phases(self) -> list[tuple[int, int]]:
        """When it hurts.  A strike after the last phase makes that longer."""
        phases = list(self._plan.hurts)
        end_ns = sum(phases[-1])
        late_ns = [one.at_ns + one.lasts_ns for one in self._strikes or () if one.at_ns >= end_ns]
        if late_ns:
            phases[-1] = (phases[-1][0], max(late_ns) - phases[-1][0])
        return phases

    def _on_fault(self, shot: Shot, in_flight: bool) -> None:
        if in_flight:
            self._tally.noted(f"hurt {self._hop(shot.target)}")
        if shot.label not in OF_POWER_CUTS:
            self._tally.counted(shot.label, 1, 0)
        at_ns = self._kernel.now_ns
        strike = Strike(
            kind=shot.label,
            on=shot.target,
            at_ns=at_ns,
            lasts_ns=shot.lasts_ns,
            strength_ns=shot.strength_ns,
            detail=shot.detail,
        )
        self._tally.firing(Firing(shot.label, " > ".join(shot.target), at_ns, shot.switch, strike, shot.lasts_ns))

    def _fault(self, kind: str) -> Fault:
        return FAULTS[KERNEL_KINDS[kind]] if kind not in self._draining else Drain(self._draining[kind])

    @property
    def _rare(self) -> tuple[str, str]:
        """Some power cuts are to fall into a snapshot, or between a message's arrival at another partition and the
        record that its sender may forget it: in seeds that have the one or the other.
        """
        writes_snapshots = self._plan.limits.snapshot_log_bytes < SNAPSHOTS_BELOW
        count = self._plan.partition_count
        if count > 1 and not (writes_snapshots and count == SNAPSHOTS_RATHER):
            return "server_crash", DELIVERY
        return ("server_crash", SNAPSHOT) if writes_snapshots else ("", "")

    def _hop(self, target: Target) -> str:
        """What the link between two hosts carries."""
        hops = self._plan.hops
        if target == (SERVER, ENDPOINT):
            return f"endpoint {hops.endpoint.value}"
        if target == (OPERATOR, SERVER):
            return "operator h1"
        return f"client {hops.client.value}" if target[-1] == SERVER else "service"

    def _planned(self) -> Iterator[Planned]:
        for kind in KERNEL_KINDS:
            bite = self._plan.intensity.get(kind)
            if bite is not None:
                yield Planned(kind, self._fault(kind), tuple(self._targets(kind)), self._intensity(kind, bite))

    def _given(self) -> Iterator[Planned]:
        for kind in KERNEL_KINDS:
            yield Planned(kind, self._fault(kind), ((SERVER,),) if kind in OF_POWER_CUTS else ())

    def _intensity(self, kind: str, bite: int) -> Intensity:
        strength_ms = self._plan.clock_jump_ms_max if kind == "clock_jump" else 2_000
        return Intensity(
            every_ns=every_ns(self._plan, kind),
            lasts_low_ns=10 * NS_PER_MS,
            lasts_high_ns=5 * NS_PER_S,
            strength_ns=strength_ms * NS_PER_MS,
            count_max=6,
        )

    def _targets(self, kind: str) -> Iterable[Target]:
        externals = [one.external.name for one in self._cluster.externals]
        clients = self._cluster.client_names
        streams = [(ENDPOINT, name) for name in externals]
        endpoints = [one.process.name for one in self._cluster.endpoints]
        hops = [*((SERVER, name) for name in endpoints), *((name, SERVER) for name in clients)]
        if self._cluster.operator is not None:
            hops.append((OPERATOR, SERVER))
        match kind:
            case "server_crash" | "server_drain" | "lost_write" | "torn_write" | "slow_sync" | "failing_sync":
                return [(SERVER,)]
            case "endpoint_crash":
                return [(name,) for name in endpoints]
            case "endpoint_drain":
                return [(ENDPOINT,)]
            case "provider_down":
                return [(name,) for name in externals]
            case "refused_connect":
                return [(name,) for name in (SERVER, ENDPOINT, *externals)]
            case "clock_jump":
                return [(SERVER,), (SERVER,), (ENDPOINT,)]
            case "pause":
                return [(name,) for name in (SERVER, ENDPOINT, *externals)]
            case "stream_reset" | "half_open":
                # As often at the services' streams as at the hops, which are streams in byte mode only.
                return [*hops, *(streams * len(hops))]
            case _:
                return [*hops, *streams]
