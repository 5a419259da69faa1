"""How often each kind of fault fired, and how often it bit: something was in flight that it could hurt."""

from __future__ import annotations

import attrs


@attrs.frozen
class Firing:
    """One fault of a run, for its story: what, whom, when (virtual nanoseconds)."""

    kind: str
    what: str
    at_ns: int
    bit: bool


class Tally:
    """Counts by kind, and the list of firings."""

    def __init__(self) -> None:
        self.counts: dict[str, tuple[int, int]] = {}
        self.firings: list[Firing] = []

    def fired(self, kind: str, *, bit: bool, what: str = "", at_ns: int = 0) -> None:
        """A fault of *kind* happened."""
        fired, bitten = self.counts.get(kind, (0, 0))
        self.counts[kind] = (fired + 1, bitten + int(bit))
        self.firings.append(Firing(kind, what, at_ns, bit))
