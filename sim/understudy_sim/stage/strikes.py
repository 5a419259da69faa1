"""Faults that are written out: a strike happens at its instant, whatever the seed would draw.

Most strikes are done by the nemesis.  Those of a call of an external service wait here for the first call they may
meet.  A strike names hosts as they are; one against a client that has nothing to do any more hits nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from understudy_sim.kernel.faults.port import Shot
from understudy_sim.stage.aim import GROUPS
from understudy_sim.stage.cluster import Cluster
from understudy_sim.stage.operator import OPERATOR
from understudy_sim.stage.variation import BadVariation, Strike

# What happens in a call of an external service: the call decides when.
OF_CALLS: Final = (
    "provider_slow",
    "provider_late",
    "provider_error",
    "provider_lies",
    "provider_silent",
    "provider_twice",
)
# What hits a link: named by its client and its server.
OF_LINKS: Final = (
    "stream_reset",
    "cut_stream",
    "half_open",
    "partition",
    "one_way_partition",
    "held_traffic",
    "slow_link",
)
# The target of what hits the whole network.
EVERYWHERE: Final = "network"


class UnknownTarget(BadVariation):
    """A strike names a host that is not there, or one host where it is a link that is hit."""


class Waiting:
    """Strikes against the calls of external services, each for the first call that may meet it."""

    def __init__(self, strikes: Sequence[Strike]) -> None:
        self._strikes = [one for one in strikes if one.kind in OF_CALLS]

    def met(self, kind: str, host: str, now_ns: int) -> Strike | None:
        """The strike of *kind* that a call of *host* meets now; it is spent then."""
        for one in self._strikes:
            if (one.kind, one.on) == (kind, (host,)) and one.at_ns <= now_ns < one.at_ns + one.lasts_ns:
                self._strikes.remove(one)
                return one
        return None


def shot_of(strike: Strike) -> tuple[int, Shot]:
    """*strike* as the kernel has it: when, and what."""
    return strike.at_ns, Shot(strike.kind, strike.on, strike.lasts_ns, strike.strength_ns, strike.detail)


def check_strikes(strikes: Sequence[Strike], cluster: Cluster) -> None:
    """Raises UnknownTarget."""
    hosts = cluster.hosts
    for one in strikes:
        wanted = "client and server of a link" if one.kind in OF_LINKS else "one host"
        if one.kind not in GROUPS and len(one.on) != (2 if one.kind in OF_LINKS else 1):
            raise UnknownTarget(f"{one.kind} strikes {wanted}, not {one.on}; there are: {', '.join(hosts)}")
        # Links may begin at a client who was left out, or at an operator who is not needed.
        named = one.on if one.kind in GROUPS else one.on[-1:]
        missing = [name for name in named if name not in (*hosts, OPERATOR, EVERYWHERE)]
        if missing:
            raise UnknownTarget(f"{one.kind} is to strike {missing[0]!r}; there are: {', '.join(hosts)}")
