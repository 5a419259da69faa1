"""Claims about time: what holds leads to something else, then or later."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from understudy_sim.kernel.clock import NS_PER_S


@attrs.define
class Lead:
    """Whenever *cause* holds, *effect* holds then or later; with *within_ns* no later than that.

    Time is counted while nothing is hurt: from when *cause* began to hold, or from the healing if that was later
    (`healed_ns` tells when; None before it).  `look` is for `stage.always`, `end` for `stage.eventually`.
    """

    cause: Callable[[], bool]
    effect: Callable[[], bool]
    within_ns: int | None
    now_ns: Callable[[], int]
    healed_ns: Callable[[], int | None]
    since_ns: int | None = None
    times: int = 0

    def look(self) -> str:
        """Something may have changed: empty, or what is wrong."""
        holds, answered = self.cause(), self.effect()
        if self.since_ns is None and holds:
            self.since_ns = self.now_ns()
            self.times += 1
        if self.since_ns is None or not answered:
            return ""
        late_ns = self._late_ns(self.since_ns)
        self.since_ns = None
        return f"it came {late_ns / NS_PER_S:g} s late" if late_ns > 0 else ""

    def end(self) -> str:
        """All is quiet: empty, or what is still owed."""
        said = self.look()
        if self.since_ns is None:
            return said
        return f"what began to hold at {self.since_ns / NS_PER_S:g} s never led to it"

    def _late_ns(self, since_ns: int) -> int:
        healed_ns = self.healed_ns()
        if self.within_ns is None or healed_ns is None:
            return 0
        return self.now_ns() - max(since_ns, healed_ns) - self.within_ns
