"""What one seed is like: drawn once at its start, so that every run differs in size, bounds and trouble (swarm).

Everything here is a decision with a name, and 0 (or the lowest value) is the tame answer: one partition, generous
bounds, no faults.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import Final

import attrs
from understudy_runtime.limits import KIB, MIB, Limits
from understudy_runtime.model.invocation import RetryPolicy

from understudy_sim.kernel.choices import Choices
from understudy_sim.kernel.clock import NS_PER_MS, NS_PER_S
from understudy_sim.stage.faults import DAMAGE, PROMISES, FaultSet

PARTITIONS_MAX: Final = 4
MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
# Longer than any client goes on asking; short enough to wait until the results are gone.
RETENTION_SHORT_H: Final = 2
# Of a thousand seeds, so many run the hops of clients and endpoints as bytes; of those, so many register the endpoint.
BYTES_THOUSANDTHS: Final = 330
REGISTERED_THOUSANDTHS: Final = 500
UPGRADE_THOUSANDTHS: Final = 250
KIND_EXISTS_THOUSANDTHS: Final = 750
# Of a thousand seeds, so many have no faults at all: what goes wrong there, or twice, or late, has no excuse.
CALM_THOUSANDTHS: Final = 80
# Kinds that exist less often: each of them hides what others would show, or makes a rehearsal long.
RARE: Final = MappingProxyType(
    {
        **dict.fromkeys(("power_failure", "cut_stream", "jitter", "full_disk", "rotten_store"), 350),
        **dict.fromkeys(("provider_lies", "provider_late", "provider_twice", "endpoint_busy"), 350),
        **dict.fromkeys(("hung_connect", "unknown_host", "held_traffic", "endpoint_swap", "slow_disk"), 250),
        **dict.fromkeys(("clock_offset", "clock_drift", "clock_freeze", "clock_slew"), 250),
    }
)


class Hop(Enum):
    """What one hop speaks."""

    EXCHANGE = "exchange"
    H1 = "h1"
    H2 = "h2"


@attrs.frozen
class Hops:
    """What the hops of one seed speak, how the server knows its endpoint, and when that moves to another address.

    `moves_s` are the times at which the operator registers it anew elsewhere; only where it is `registered`.
    """

    client: Hop
    endpoint: Hop
    registered: bool
    moves_s: tuple[int, ...]

    @property
    def in_bytes(self) -> bool:
        """Whether there are bytes at all: then all hops are."""
        return self.client is not Hop.EXCHANGE


@attrs.frozen
class Upgrade:
    """The server is of an older build until *at_ns*; then it is killed and started as the current one.

    Sometimes the power goes *cut_after_ms* later, perhaps in the middle of its first start.
    """

    at_ns: int
    cut_after_ms: int | None


@attrs.frozen
class Plan:
    """One seed's shape.  `intensity` is 1 to 3 for each kind of fault that exists."""

    partition_count: int
    limits: Limits
    hops: Hops
    bidi: bool
    protocol_version: int
    latency_ns_max: int
    sync_ns_max: int
    provider_ms_max: int
    hurts: tuple[tuple[int, int], ...]  # when trouble begins, and how long it lasts
    intensity: dict[str, int]
    clock_jump_ms_max: int
    store_gone_thousandths: int  # how often a power cut takes a derived store altogether
    upgrade: Upgrade | None

    @property
    def outlives_results(self) -> bool:
        """Whether the rehearsal goes on until no result is kept any more."""
        return self.limits.completion_retention_ms == RETENTION_SHORT_H * HOUR_MS

    @property
    def is_calm(self) -> bool:
        """Whether nothing disturbs the run: no fault, no upgrade of the server, no move of the endpoint."""
        return not self.intensity and self.upgrade is None and not self.hops.moves_s

    def has(self, kind: str) -> bool:
        """Whether *kind* exists in this seed."""
        return kind in self.intensity


def draw_plan(choices: Choices, faults: FaultSet) -> Plan:
    """Draw a seed's plan; only kinds of *faults* exist in it."""
    intensity: dict[str, int] = {}
    is_calm = choices.chance("plan/calm", CALM_THOUSANDTHS)
    for kind in PROMISES:
        # Drawn for every kind, allowed or not: leaving one out changes nothing else.
        exists = choices.chance(f"plan/{kind}", RARE.get(kind, KIND_EXISTS_THOUSANDTHS))
        bite = choices.integer(f"plan/{kind}/bite", 1, 3)
        if exists and kind in faults and not is_calm:
            intensity[kind] = bite
    damages = [kind for kind in intensity if kind in DAMAGE]
    if damages:  # One kind to a seed: nobody promises to notice what two have done together.
        kept = choices.one_of("plan/damage", damages)
        intensity = {kind: bite for kind, bite in intensity.items() if kind == kept or kind not in DAMAGE}
    return Plan(
        partition_count=choices.integer("plan/partitions", 1, PARTITIONS_MAX),
        limits=draw_limits(choices),
        hops=draw_hops(choices),
        bidi=not choices.chance("plan/request_response", 250),
        protocol_version=6 - choices.pick("plan/version", 2),
        latency_ns_max=choices.one_of("plan/latency", (2, 1, 10, 50, 200)) * NS_PER_MS,
        sync_ns_max=choices.one_of("plan/sync", (2, 1, 10, 40)) * NS_PER_MS,
        provider_ms_max=choices.one_of("plan/provider", (20, 200, 1_000)),
        hurts=draw_hurts(choices),
        intensity=intensity,
        clock_jump_ms_max=choices.one_of("plan/jump", (10_000, 1_000, 60_000, 300_000)),
        store_gone_thousandths=choices.one_of("plan/store_gone", (0, 700, 1_000, 1_000)),
        upgrade=None if is_calm else draw_upgrade(choices),
    )


def registered(plan: Plan) -> Plan:
    """*plan* with an endpoint that the operator registers, once: what is deployed later is the scenario's."""
    endpoint = Hop.H1 if plan.hops.endpoint is Hop.EXCHANGE else plan.hops.endpoint
    client = Hop.H1 if plan.hops.client is Hop.EXCHANGE else plan.hops.client
    return attrs.evolve(plan, hops=Hops(client, endpoint, registered=True, moves_s=()))


def draw_hops(choices: Choices) -> Hops:
    """What the hops speak.  Everything is drawn, used or not: one answer changes nothing else."""
    in_bytes = choices.chance("plan/bytes", BYTES_THOUSANDTHS)
    client = choices.one_of("plan/hop/client", (Hop.H1, Hop.H2))
    endpoint = choices.one_of("plan/hop/endpoint", (Hop.H1, Hop.H2, Hop.H2))
    registered = choices.chance("plan/registered", REGISTERED_THOUSANDTHS)
    moves_s = tuple(choices.integer("plan/moves_s", 1, 30) for _ in range(choices.pick("plan/moves", 3)))
    if not in_bytes:
        return Hops(Hop.EXCHANGE, Hop.EXCHANGE, False, ())
    return Hops(client, endpoint, registered, tuple(sorted(moves_s)) if registered else ())


def draw_upgrade(choices: Choices) -> Upgrade | None:
    """Whether the server begins as an older build, and when it is replaced."""
    upgrades = choices.chance("plan/upgrade", UPGRADE_THOUSANDTHS)
    at_ms = choices.integer("plan/upgrade_ms", 100, 20_000)
    is_cut = choices.chance("plan/upgrade_cut", 600)
    cut_ms = choices.integer("plan/upgrade_cut_ms", 1, 400)
    return Upgrade(at_ms * NS_PER_MS, cut_ms if is_cut else None) if upgrades else None


def draw_hurts(choices: Choices) -> tuple[tuple[int, int], ...]:
    """When there is trouble: at the start, while everything is busy, and perhaps again when timers are due."""
    first_ns = choices.one_of("plan/hurt_s", (10, 5, 20, 40)) * NS_PER_S
    again_s = choices.one_of("plan/again_s", (0, 893, 899, 600))
    if not again_s:
        return ((0, first_ns),)
    return (0, first_ns), (again_s * NS_PER_S, choices.integer("plan/again_hurt_s", 5, 30) * NS_PER_S)


# What is not drawn, and why.
NOT_DRAWN: Final = MappingProxyType(
    {
        "request_bytes_max": "a request above it is refused for good: the ingress's own tests cover that",
        "message_bytes_max": "an attempt that hits it never succeeds: the invoker's own tests cover that",
        "refuse_deadlocks": "a policy, no bound: a scenario of deadlocks asks for it",
    }
)


def draw_limits(choices: Choices) -> Limits:
    """Bounds, tiny where that can be survived.  Attempts are unlimited: pausing is a scenario of its own."""

    def bound(name: str, *values: int) -> int:
        return choices.one_of(f"limits/{name}", values)

    delay_ms_first = bound("delay_ms_first", 500, 10, 50)
    workflow_h = bound("workflow_retention_h", 0, 1, 48)
    return Limits(
        attempts_max=bound("attempts_max", 1_000, 2, 3, 5, 8),
        batch_commands_max=bound("batch_commands_max", 256, 1, 2, 4, 16),
        batch_bytes_max=bound("batch_bytes_max", 32 * MIB, 1, 300, 2_000),
        flush_rows=bound("flush_rows", 1_000, 1, 7, 30, 100),
        flush_lasting_rows=bound("flush_lasting_rows", 1_000, 1, 5, 20),
        idle_objects_max=bound("idle_objects_max", 4_096, 0, 1, 4),
        timers_max=bound("timers_max", 4_096, 1, 2, 5),
        requests_max=bound("requests_max", 100_000, 100_000, 2, 3, 5),
        segment_bytes_max=bound("segment_bytes_max", 64 * MIB, 4 * KIB, 16 * KIB, 128 * KIB),
        log_prewrite_bytes=bound("log_prewrite_bytes", 16 * KIB, 0, 4 * KIB),
        snapshot_log_bytes=bound("snapshot_log_bytes", 64 * MIB, 2 * KIB, 4 * KIB, 16 * KIB),
        snapshot_slice_rows=bound("snapshot_slice_rows", 256, 1, 4, 32),
        eager_state_bytes_max=bound("eager_state_bytes_max", 32 * MIB, 0, 10, 64),
        outbox_in_flight_max=bound("outbox_in_flight_max", 64, 1, 2, 5),
        queue_commands_max=bound("queue_commands_max", 10_000, 256, 300),
        timer_recheck_ms=bound("timer_recheck_ms", 60_000, 60_000, 60_000, 60_000, 30_000, 10_000),
        inactivity_timeout_ms=bound("inactivity_timeout_ms", 60_000, 0, 100, 1_000, 5_000),
        abort_timeout_ms=bound("abort_timeout_ms", 600_000, 45_000, 60_000, 120_000),
        completion_retention_ms=bound("completion_retention_h", 24, 6, 12, 6, RETENTION_SHORT_H) * HOUR_MS,
        journal_retention_ms=bound("journal_retention_min", 0, 0, 1, 10, 90) * MINUTE_MS,
        workflow_retention_ms=workflow_h * HOUR_MS if workflow_h else None,
        connections_max=bound("connections_max", 16_384, 16_384, 16),
        header_timeout_ms=bound("header_timeout_ms", 10_000, 2_000, 30_000),
        idle_timeout_ms=bound("idle_timeout_ms", 75_000, 5_000, 20_000),
        connect_timeout_ms=bound("connect_timeout_ms", 10_000, 1_000, 3_000),
        discovery_timeout_ms=bound("discovery_timeout_ms", 10_000, 3_000, 30_000),
        drain_timeout_ms=bound("drain_timeout_ms", 10_000, 100, 1_000),
        h2_streams_max=bound("h2_streams_max", 128, 1, 2, 5),
        h2_requests_max=bound("h2_requests_max", 256, 1, 2, 5),
        h2_ping_interval_ms=bound("h2_ping_interval_ms", 40_000, 1_000, 5_000),
        h2_ping_timeout_ms=bound("h2_ping_timeout_ms", 20_000, 5_000, 2_000),
        h2_idle_timeout_ms=bound("h2_idle_timeout_ms", 300_000, 1_000, 20_000),
        retry_policy=RetryPolicy(
            delay_ms_first=delay_ms_first,
            factor_thousandths=bound("factor_thousandths", 2000, 1000, 1500),
            delay_ms_max=max(delay_ms_first, bound("delay_ms_max", 60_000, 2_000, 10_000)),
            attempts_max=None,
        ),
    )
