"""Aiming: a fault that comes when nothing happens hurts nothing, so most of them wait for a moment worth hurting.

A moment is the next time something begins at the fault's target: a sync of the server's disk, a handler's body, a call
of an external service, a client's request; for some clocks, that a timer is due while the server is busy syncing.  The
fault comes a little later, as drawn.  A quarter of them come unaimed: what happens when all is quiet must be survived
too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from understudy_sim.kernel.clock import NS_PER_MS
from understudy_sim.kernel.faults.port import Planned, Shot
from understudy_sim.kernel.kernel import Kernel

# How long after its moment an aimed fault comes.
LATER_NS: Final = (
    0,
    NS_PER_MS // 20,
    NS_PER_MS // 4,
    NS_PER_MS,
    3 * NS_PER_MS,
    10 * NS_PER_MS,
    60 * NS_PER_MS,
    400 * NS_PER_MS,
)
UNAIMED_ONE_IN: Final = 4
RARE_ONE_IN: Final = 3
NOWHERE_ELSE: Final[Mapping[str, str]] = MappingProxyType({})
# What comes when it is drawn.
AT_ONCE: Final = ("clock_offset", "jitter")
# What hits several processes together: the moment is the first one's.
GROUPS: Final = ("power_failure",)
# Which come close after their moment: a power cut is to fall into a sync, a reset upon bytes on their way.
CLOSE: Final = MappingProxyType(
    {
        "server_crash": (0, 4),
        "power_failure": (0, 4),
        "stream_reset": (1, 6),
        "cut_stream": (0, 3),
        "half_open": (1, 6),
    }
)


class Moments:
    """Who waits for something to begin where.  A place is a process or a link."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Callable[[], object]]] = {}

    def wait(self, place: str, then: Callable[[], object]) -> None:
        """Call *then* the next time something begins at *place*."""
        self._waiting.setdefault(place, []).append(then)

    def awaits(self, place: str) -> bool:
        """Whether anybody waits for something to begin at *place*."""
        return place in self._waiting

    def begins(self, place: str) -> None:
        """Something begins at *place*."""
        if place in self._waiting:
            for then in self._waiting.pop(place):
                then()

    def clear(self) -> None:
        """Nobody waits any more."""
        self._waiting.clear()


class Aims:
    """Lets drawn faults wait for their moment.  *rare* has, by fault, a place that seldom begins, which some of these
    faults wait for instead.
    """

    def __init__(self, kernel: Kernel, moments: Moments, rare: Mapping[str, str] = NOWHERE_ELSE) -> None:
        self._kernel = kernel
        self._moments = moments
        self._rare = rare

    def __call__(self, planned: Planned, shot: Shot, happen: Callable[[], bool]) -> bool:
        """Take aim, or do it at once.  Whether it has happened or will."""
        if shot.detail % UNAIMED_ONE_IN == 0 or shot.label in AT_ONCE:
            return happen()
        first, last = CLOSE.get(shot.label, (0, len(LATER_NS)))
        later_ns = LATER_NS[first:last][(shot.detail // UNAIMED_ONE_IN) % (last - first)]
        place = shot.target[0]
        if len(shot.target) == 2 and shot.label not in GROUPS:
            place = f"{shot.target[0]} > {shot.target[1]}"
        if shot.label in self._rare and (shot.detail // 64) % RARE_ONE_IN == 0:
            place, later_ns = self._rare[shot.label], min(later_ns, NS_PER_MS)
        self._moments.wait(place, lambda: self._kernel.call_later(later_ns, lambda _: happen()))
        return True
