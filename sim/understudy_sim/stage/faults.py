"""Which kinds of fault a rehearsal may use.  Only what the system promises to survive is in KINDS: a failure is a bug.

Each seed draws which of the allowed kinds exist in it and how hard they bite (swarm): a fault that always happens hides
what another would show.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

import attrs

# Kind: what it does.  The order is that of reports.
KINDS: Final = MappingProxyType(
    {
        "server_crash": "the server loses power in the middle of anything",
        "endpoint_crash": "the process that runs the handlers loses power",
        "server_drain": "the server is told to stop: it answers what it can and exits",
        "endpoint_drain": "the process that runs the handlers is told to stop: what runs may end, nothing new begins",
        "stream_reset": "a connection with something in flight is reset",
        "refused_connect": "a host refuses new connections for a while",
        "half_open": "a connection dies and its ends are not told",
        "partition": "two hosts cannot reach each other",
        "one_way_partition": "one host cannot reach another, which can reach it",
        "slow_link": "a link gets slow and thin",
        "clock_jump": "a process's wall clock jumps, also backwards",
        "pause": "a process stands still for a while",
        "lost_write": "what was written and not synced is lost at a power cut",
        "torn_write": "what was written and not synced is torn at a power cut",
        "slow_sync": "syncing the disk takes long",
        "failing_sync": "a sync fails: the server must stop at once and loses nothing it acknowledged",
        "provider_slow": "an external service answers late",
        "provider_error": "an external service says it cannot now",
        "provider_silent": "an external service does its work and hangs up without an answer",
        "provider_down": "an external service is gone for a while",
    }
)


class UnknownFault(ValueError):
    """There is no such kind of fault."""


@attrs.frozen
class FaultSet:
    """The kinds a scenario allows, in the order of KINDS."""

    kinds: tuple[str, ...]

    def __contains__(self, kind: object) -> bool:
        return kind in self.kinds


def everything() -> FaultSet:
    """Every kind there is."""
    return FaultSet(tuple(KINDS))


def none() -> FaultSet:
    """No faults: a good day, with latency and any order of tasks."""
    return FaultSet(())


def only(*kinds: str) -> FaultSet:
    """These kinds.  Raises UnknownFault for one that does not exist."""
    for kind in kinds:
        if kind not in KINDS:
            raise UnknownFault(f"there is no fault {kind!r}; there are: {', '.join(KINDS)}")
    return FaultSet(tuple(kind for kind in KINDS if kind in kinds))


def parse(text: str) -> FaultSet:
    """`all`, `none`, or kinds separated by commas.  Raises UnknownFault."""
    if text == "all":
        return everything()
    if text == "none":
        return none()
    return only(*(part.strip() for part in text.split(",") if part.strip()))
