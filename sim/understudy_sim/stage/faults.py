"""Which kinds of fault a rehearsal may use.  Only what the system promises to survive is in KINDS: a failure is a bug.

To survive means to come through as PROMISES says.

Each seed draws which of the allowed kinds exist in it and how hard they bite (swarm): a fault that always happens hides
what another would show.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import Final

import attrs

# Kind: what it does.  The order is that of reports.
KINDS: Final = MappingProxyType(
    {
        "server_crash": "the server loses power in the middle of anything",
        "endpoint_crash": "the process that runs the handlers loses power",
        "power_failure": "the server and the endpoints, or everything, lose power together and come back in any order",
        "server_drain": "the server is told to stop: it answers what it can and exits",
        "endpoint_drain": "the process that runs the handlers is told to stop: what runs may end, nothing new begins",
        "endpoint_swap": "endpoint and server come back with another version of the protocol, or way to speak it",
        "endpoint_busy": "the endpoint has no room: it refuses attempts for a while (503)",
        "stream_reset": "a connection with something in flight is reset",
        "cut_stream": "a connection breaks in the middle of a message",
        "refused_connect": "a host refuses new connections for a while",
        "hung_connect": "who asks a host for a new connection is not answered for a while",
        "unknown_host": "a host's name cannot be resolved for a while",
        "half_open": "a connection dies and its ends are not told",
        "partition": "two hosts cannot reach each other",
        "one_way_partition": "one host cannot reach another, which can reach it",
        "held_traffic": "everything between two hosts is held, and arrives at once",
        "slow_link": "a link gets slow and thin",
        "jitter": "messages are late, each by another time",
        "clock_jump": "a process's wall clock jumps, also backwards",
        "clock_offset": "a process's wall clock is wrong from the start",
        "clock_drift": "a process's wall clock goes too fast or too slow for a while",
        "clock_freeze": "a process's wall clock stands still for a while",
        "clock_slew": "a process's wall clock is put wrong, and brought back by a wrong rate",
        "pause": "a process stands still for a while",
        "lost_write": "what was written and not synced is lost at a power cut",
        "torn_write": "what was written and not synced is torn at a power cut",
        "slow_sync": "syncing the disk takes long",
        "slow_disk": "whatever the disk is asked for takes long, and the server stands still meanwhile",
        "failing_sync": "a sync fails: the server must stop at once and loses nothing it acknowledged",
        "full_disk": "the disk has no room for a while: the server must stop at once and loses nothing it acknowledged",
        "rotten_store": "a row of a partition's store cannot be read: the server must stop, and rebuilds the store",
        "provider_slow": "an external service answers late",
        "provider_late": "an external service does its work, and answers when nobody waits any more",
        "provider_error": "an external service says it cannot now",
        "provider_lies": "an external service does its work and says it cannot now",
        "provider_silent": "an external service does its work and hangs up without an answer",
        "provider_twice": "an external service answers twice",
        "provider_down": "an external service is gone for a while",
    }
)
# What cannot be survived with one copy of the data, only noticed.  Never part of `everything`: a rehearsal that has one
# of these is judged by what must never be wrong, not by what must come to an end.
DAMAGE: Final = MappingProxyType(
    {
        "bit_rot": "a bit of what was synced is flipped",
        "misdirected_write": "a write lands over something else, and not where it should be",
    }
)


class Promise(Enum):
    """What is promised of the system under a kind of fault."""

    SURVIVES = "goes on, and nothing is wrong afterwards"
    STOPS = "stops at once with a named error, or answers 503; what was acknowledged is there when it is started again"
    DETECTED = "refuses to start, or stops, with a named error, unless it is unharmed; it never answers wrongly"


PROMISES: Final = MappingProxyType(
    {
        **dict.fromkeys(KINDS, Promise.SURVIVES),
        "failing_sync": Promise.STOPS,
        "full_disk": Promise.STOPS,
        "rotten_store": Promise.STOPS,
        **dict.fromkeys(DAMAGE, Promise.DETECTED),
    }
)


class UnknownFault(ValueError):
    """There is no such kind of fault."""


@attrs.frozen
class FaultSet:
    """The kinds a scenario allows, in the order of PROMISES."""

    kinds: tuple[str, ...]

    def __contains__(self, kind: object) -> bool:
        return kind in self.kinds


def everything() -> FaultSet:
    """Every kind that is survived."""
    return FaultSet(tuple(KINDS))


def none() -> FaultSet:
    """No faults: a good day, with latency and any order of tasks."""
    return FaultSet(())


def only(*kinds: str) -> FaultSet:
    """These kinds.  Raises UnknownFault for one that does not exist."""
    for kind in kinds:
        check(kind)
    return FaultSet(tuple(kind for kind in PROMISES if kind in kinds))


def damage(*kinds: str) -> FaultSet:
    """Everything, and damage to what was synced: these *kinds* of DAMAGE, or all.  Raises UnknownFault."""
    return only(*KINDS, *(kinds or DAMAGE))


def check(kind: str) -> None:
    """Raises UnknownFault unless there is such a *kind*."""
    if kind not in PROMISES:
        raise UnknownFault(f"there is no fault {kind!r}; there are: {', '.join(PROMISES)}")


def parse(text: str) -> FaultSet:
    """`all` (of KINDS), `none`, or kinds separated by commas.  Raises UnknownFault."""
    if text == "all":
        return everything()
    if text == "none":
        return none()
    return only(*(part.strip() for part in text.split(",") if part.strip()))
