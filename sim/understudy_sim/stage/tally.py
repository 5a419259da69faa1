"""How often each kind of fault fired, and how often it bit: something was in flight that it could hurt.

And how often the rest happened that a rehearsal must have seen before it can say that it survives: a snapshot, a trim,
an upgrade, a hurt connection of each kind.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from understudy_sim.stage.variation import Strike


@attrs.frozen
class Firing:
    """One fault of a run, for its story: what, whom, when (virtual nanoseconds).

    `switch` names the decision that let it happen (label, ordinal), so that a shrinker can force it off.  What lasts is
    undone `lasts_ns` later, or when faults are over.
    """

    kind: str
    what: str
    at_ns: int
    switch: tuple[str, int]
    strike: Strike | None = None
    lasts_ns: int = 0


class Tally:
    """Counts by kind, and the list of firings."""

    def __init__(self) -> None:
        self.counts: dict[str, tuple[int, int]] = {}
        self.firings: list[Firing] = []
        self.happened: dict[str, int] = {}
        self.on_firing: Callable[[Firing], object] | None = None
        # What a script does lasts until it undoes it: whether something does now, and when the last of it ended.
        self.lasts: Callable[[], bool] = lambda: False
        self.ended_ns = -1

    def counted(self, kind: str, fired: int, bit: int) -> None:
        """*kind* happened *fired* times, *bit* of them to something in flight."""
        assert bit >= 0, "a count"
        before = self.counts.get(kind, (0, 0))
        self.counts[kind] = (before[0] + fired, before[1] + bit)

    def noted(self, what: str) -> None:
        """*what* happened."""
        self.happened[what] = self.happened.get(what, 0) + 1

    def firing(self, firing: Firing) -> None:
        """One of them, for the story."""
        self.firings.append(firing)
        if self.on_firing is not None:
            self.on_firing(firing)
