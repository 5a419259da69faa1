"""Aiming: a fault that comes when nothing happens hurts nothing, so most of them wait for a moment worth hurting.

A moment is the next time something begins at the fault's target: a sync of the server's disk, a handler's body, a call
of an external service, a client's request.  The fault comes a little later, as drawn.  A quarter of them come unaimed:
what happens when all is quiet must be survived too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from understudy_sim.kernel.faults.port import Arena, Fault, Shot, Target
from understudy_sim.kernel.kernel import Kernel
from understudy_sim.stage.plan import NS_PER_MS
from understudy_sim.stage.tally import Firing, Tally

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


class Moments:
    """Who waits for something to begin where.  A place is a process or a link."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Callable[[], object]]] = {}

    def wait(self, place: str, then: Callable[[], object]) -> None:
        """Call *then* the next time something begins at *place*."""
        self._waiting.setdefault(place, []).append(then)

    def begins(self, place: str) -> None:
        """Something begins at *place*."""
        if place in self._waiting:
            for then in self._waiting.pop(place):
                then()

    def clear(self) -> None:
        """Nobody waits any more."""
        self._waiting.clear()


class Aimed:
    """A kernel fault that waits for its moment, and is counted when it really happens.

    *hop* says what a link is, for the count of connections that were hurt with something on its way.  *rare* names a
    fault and a place that seldom begins, which some of these faults wait for instead.
    """

    kind: ClassVar[str] = "aimed"
    budget: ClassVar[str] = "that of the fault it aims"

    def __init__(
        self,
        fault: Fault,
        label: str,
        kernel: Kernel,
        moments: Moments,
        tally: Tally,
        later_ns: Sequence[int],
        hop: Callable[[Target], str],
        rare: tuple[str, str] = ("", ""),
    ) -> None:
        self._hop = hop
        self._rare = rare
        self._later_ns = later_ns
        self._fault = fault
        self._label = label
        self._kernel = kernel
        self._moments = moments
        self._tally = tally
        self.hurting = True

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Take aim, or do it at once."""
        label = f"fault.{self._label}.fire"
        switch = next((one for one in reversed(self._kernel.choices.recorded) if one.label == label), None)
        ordinal = 0 if switch is None else switch.ordinal

        def happen(_: object = None) -> bool:
            busy = len(shot.target) > 1 and any(one.busy for one in arena.kernel.network.between(*shot.target))
            if not self.hurting or not self._fault.inject(arena, shot):
                return False
            if busy:
                self._tally.noted(f"hurt {self._hop(shot.target)}")
            self._tally.counted(self._label, 1, 0)
            what = " > ".join(shot.target)
            self._tally.firing(Firing(self._label, what, self._kernel.now_ns, (label, ordinal), shot.lasts_ns))
            return True

        if shot.detail % UNAIMED_ONE_IN == 0:
            return happen()
        later_ns = self._later_ns[(shot.detail // UNAIMED_ONE_IN) % len(self._later_ns)]
        place = shot.target[-1] if len(shot.target) == 1 else f"{shot.target[0]} > {shot.target[1]}"
        if self._label == self._rare[0] and (shot.detail // 64) % RARE_ONE_IN == 0:
            place = self._rare[1]
        self._moments.wait(place, lambda: self._kernel.call_later(later_ns, happen))
        return True
