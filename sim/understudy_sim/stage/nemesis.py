"""The nemesis of one seed: which kernel faults hit whom, how often and how long, from the seed's plan.

The kernel injects and counts; this only names the targets.  What bites an exchange is counted apart: a
stream fault counts as one only where there are streams.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from understudy_sim.kernel.clock import NS_PER_MS, NS_PER_S
from understudy_sim.kernel.faults.nemesis import Nemesis as KernelNemesis
from understudy_sim.kernel.faults.port import Fault, Intensity, Planned, Shot, Target
from understudy_sim.kernel.faults.port import Tally as Counted
from understudy_sim.kernel.faults.table import FAULTS
from understudy_sim.kernel.kernel import Kernel
from understudy_sim.stage.aim import Aims
from understudy_sim.stage.cluster import DELIVERY, SNAPSHOT, TIMER, Cluster
from understudy_sim.stage.draining import Drain
from understudy_sim.stage.endpoint import ENDPOINT
from understudy_sim.stage.endpoint_faults import Busy, Swap
from understudy_sim.stage.faults import DAMAGE
from understudy_sim.stage.operator import OPERATOR
from understudy_sim.stage.plan import Plan
from understudy_sim.stage.rotten_store import RottenStore
from understudy_sim.stage.server import SERVER
from understudy_sim.stage.strikes import EVERYWHERE, OF_CALLS, Waiting, check_strikes, shot_of
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
        "power_failure": "group_crash",
        "endpoint_swap": "swap",
        "endpoint_busy": "busy",
        "cut_stream": "cut_stream",
        "hung_connect": "hung_connect",
        "unknown_host": "unknown_host",
        "held_traffic": "held_traffic",
        "jitter": "jitter",
        "clock_offset": "clock_offset",
        "clock_drift": "clock_drift",
        "clock_freeze": "clock_freeze",
        "clock_slew": "clock_slew",
        "slow_disk": "slow_disk",
        "full_disk": "full_disk",
        "bit_rot": "bit_rot",
        "misdirected_write": "misdirected_write",
        "rotten_store": "rotten_store",
    }
)
SNAPSHOTS_BELOW = 1024 * 1024
CLOCKS: Final = ("clock_jump", "clock_offset", "clock_drift", "clock_freeze", "clock_slew")
OF_STREAMS: Final = ("stream_reset", "cut_stream")
OF_SERVER: Final = (
    "server_crash",
    "server_drain",
    "lost_write",
    "torn_write",
    "slow_sync",
    "slow_disk",
    "failing_sync",
    "full_disk",
    "bit_rot",
    "misdirected_write",
    "rotten_store",
)
# Some last longer than others: nobody makes room on a disk in a moment.
LASTS_S_MAX: Final = MappingProxyType({"full_disk": 20, "rotten_store": 60, "misdirected_write": 60})
# Kinds that may happen less often than others: what they cost is another start of everything.
COUNT_MAX: Final = MappingProxyType(
    {
        "power_failure": 3,
        "endpoint_swap": 3,
        "full_disk": 4,
        "slow_disk": 3,
        **dict.fromkeys(DAMAGE, 1),
    }
)
# Of the seeds that have both, those with so many partitions have snapshots hurt rather than messages.
SNAPSHOTS_RATHER = 2
# What a power cut may do to a disk is switched on for the whole run: it happens with the crash.
OF_POWER_CUTS = ("lost_write", "torn_write")


def every_ns(plan: Plan, kind: str) -> int:
    """How often *kind* is to strike in this seed, on average, while there is trouble."""
    return max(1, plan.hurts[0][1] // ((6 if kind in OF_STREAMS else 2) * plan.intensity[kind]))


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
        self._own: Mapping[str, Fault] = {
            "server_drain": Drain(cluster.server.drain),
            "endpoint_drain": Drain(cluster.endpoint.drain),
            "endpoint_swap": Swap(cluster),
            "endpoint_busy": Busy(cluster.endpoints),
            "rotten_store": RottenStore(cluster.server.host),
        }
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

    def strike(self, strike: Strike) -> bool:
        """Do *strike* now, whatever its instant.  False when there is nothing to do it to."""
        assert strike.kind not in (*OF_CALLS, *OF_POWER_CUTS), f"{strike.kind} waits for what happens anyway"
        check_strikes((strike,), self._cluster)
        self._nemesis.tally.setdefault(strike.kind, Counted())
        return self._nemesis.fire(Planned(strike.kind, self._fault(strike.kind), ()), shot_of(strike)[1])

    def undo(self) -> None:
        """Undo what lasts of the strikes so far."""
        self._nemesis.heal()

    def _phases(self) -> list[tuple[int, int]]:
        """When it hurts.  A strike after the last phase makes that longer."""
        phases = list(self._plan.hurts)
        end_ns = sum(phases[-1])
        waiting = (*OF_POWER_CUTS, *OF_CALLS)  # for what happens anyway
        late = [one for one in self._strikes or () if one.at_ns >= end_ns and one.kind not in waiting]
        late_ns = [one.at_ns + one.lasts_ns for one in late]
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
        return self._own[kind] if kind in self._own else FAULTS[KERNEL_KINDS[kind]]

    @property
    def _rare(self) -> Mapping[str, str]:
        """Some power cuts are to fall into a snapshot, or between a message's arrival at another partition and the
        record that its sender may forget it: in seeds that have the one or the other.  Some clocks jump just when a
        timer is due, before the record of it has its time.
        """
        jumps = {"clock_jump": TIMER}
        writes_snapshots = self._plan.limits.snapshot_log_bytes < SNAPSHOTS_BELOW
        count = self._plan.partition_count
        if count > 1 and not (writes_snapshots and count == SNAPSHOTS_RATHER):
            return {"server_crash": DELIVERY, **jumps}
        return {"server_crash": SNAPSHOT, **jumps} if writes_snapshots else jumps

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
        if kind == "clock_offset":  # Once, and before anybody looks.
            return Intensity(every_ns=1, strength_ns=self._plan.clock_jump_ms_max * NS_PER_MS, tries_max=1)
        strength_ms = self._plan.clock_jump_ms_max if kind in CLOCKS else 2_000
        return Intensity(
            every_ns=every_ns(self._plan, kind),
            lasts_low_ns=10 * NS_PER_MS,
            lasts_high_ns=LASTS_S_MAX.get(kind, 5) * NS_PER_S,
            strength_ns=strength_ms * NS_PER_MS,
            count_max=COUNT_MAX.get(kind, 6),
        )

    def _targets(self, kind: str) -> Iterable[Target]:
        return targets_of(
            kind,
            services=[one.external.name for one in self._cluster.externals],
            clients=self._cluster.client_names,
            endpoints=[one.process.name for one in self._cluster.endpoints],
            operated=self._cluster.operator is not None,
        )


def targets_of(
    kind: str,
    *,
    services: Sequence[str],
    clients: Sequence[str],
    endpoints: Sequence[str] = (ENDPOINT,),
    operated: bool = False,
) -> Sequence[Target]:
    """Whom a fault of *kind* can hurt, where these hosts are there; one that is worth more trouble is there twice."""
    streams = [(ENDPOINT, name) for name in services]
    hops = [*((SERVER, name) for name in endpoints), *((name, SERVER) for name in clients)]
    if operated:
        hops.append((OPERATOR, SERVER))
    match kind:
        case _ if kind in OF_SERVER:
            return [(SERVER,)]
        case "power_failure":
            return [(SERVER, *endpoints), (SERVER, *endpoints, *services)]
        case "jitter":
            return [(EVERYWHERE,)]
        case "endpoint_crash" | "endpoint_busy":
            return [(name,) for name in endpoints]
        case "endpoint_drain" | "endpoint_swap":
            return [(ENDPOINT,)]
        case _ if kind == "provider_down" or kind in OF_CALLS:
            return [(name,) for name in services]
        case "refused_connect" | "hung_connect" | "unknown_host":
            return [(name,) for name in (SERVER, ENDPOINT, *services)]
        case _ if kind in CLOCKS:
            return [(SERVER,), (SERVER,), (ENDPOINT,)]
        case "pause":
            return [(name,) for name in (SERVER, ENDPOINT, *services)]
        case "stream_reset" | "cut_stream" | "half_open":
            # As often at the services' streams as at the hops, which are streams in byte mode only.
            return [*hops, *(streams * len(hops))]
        case _:
            return [*hops, *streams]
