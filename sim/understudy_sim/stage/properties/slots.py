"""Who holds the slots in which attempts run, where there are few, and whether somebody had to wait for one (for P17).

Who waits for a slot waits for others as long as these do something.  Once they all only wait for the server they are
asked to suspend, and a slot comes free; a slot that is free is taken at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from understudy_runtime.invoker.timeouts import DRAIN_MS

from understudy_sim.kernel.clock import NS_PER_MS

# An attempt that is over leaves its slot once the endpoint has closed its side, and somebody takes it: within less than
# DRAIN_MS, after which the server looks around anyway.
TAKEN_NS: Final = (DRAIN_MS - 500) * NS_PER_MS
# An endpoint that does not close its side is cut.
CUT_NS: Final = DRAIN_MS * NS_PER_MS


class Slots:
    """The slots of each partition, *count* of them.  Times are virtual nanoseconds."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._holders: dict[int, dict[str, int]] = {}  # partition -> who runs, and since when
        # partition -> when its slots were all taken last, and since when he ran who was the first to leave.
        self._full_ns: dict[int, tuple[int, int]] = {}
        self._waiting_ns: dict[str, int] = {}  # who waits for the server -> since when
        self._steps: dict[str, int] = {}  # who runs -> steps of it that are not over

    def taken(self, partition: int, invocation_id: str, now_ns: int) -> None:
        """An attempt began."""
        self._holders.setdefault(partition, {})[invocation_id] = now_ns
        self.begins(invocation_id)

    def left(self, partition: int, invocation_id: str, now_ns: int) -> None:
        """It is over."""
        holders = self._holders.get(partition, {})
        if len(holders) >= self.count:
            self._full_ns[partition] = now_ns, holders.get(invocation_id, now_ns)
        holders.pop(invocation_id, None)

    def all_left(self) -> None:
        """The server stopped."""
        self._holders.clear()

    def begins(self, invocation_id: str) -> None:
        """An attempt of *invocation_id*, or its body, begins anew."""
        self._steps.pop(invocation_id, None)
        self._waiting_ns.pop(invocation_id, None)

    def step(self, invocation_id: str, change: int) -> None:
        """A step of it began (1) or is over (-1)."""
        self._steps[invocation_id] = self._steps.get(invocation_id, 0) + change

    def waits(self, invocation_id: str, now_ns: int) -> None:
        """It waits for the server."""
        self._waiting_ns[invocation_id] = now_ns

    def goes_on(self, invocation_id: str) -> None:
        """It waits no more."""
        self._waiting_ns.pop(invocation_id, None)

    def is_idle(self, invocation_id: str) -> bool:
        """Whether it only waits: no step of it is under way."""
        return invocation_id in self._waiting_ns and self._steps.get(invocation_id, 0) <= 0

    def due_ns(self, partition: int, now_ns: int, well_ns: int, goes_on: Callable[[str], bool]) -> int:
        """When somebody had to get a slot who waits for one; in the future while whoever holds them does something.

        Who holds one by a connection that has seen trouble, which was over at *well_ns*, may not hear that he is to
        leave.  *goes_on*: whether all has come that somebody waits for.
        """
        holders = self._holders.get(partition, {})
        if len(holders) < self.count:
            full_ns, began_ns = self._full_ns.get(partition, (0, 0))
            return full_ns + TAKEN_NS + (CUT_NS if well_ns > began_ns else 0)
        idle_ns = -1
        for id_, began_ns in holders.items():
            if not self.is_idle(id_) or goes_on(id_) or well_ns > began_ns:
                return now_ns + TAKEN_NS
            idle_ns = max(idle_ns, self._waiting_ns[id_])
        return idle_ns + 2 * TAKEN_NS
