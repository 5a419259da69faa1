"""Virtual time.  Monotonic ns count from 0 for everybody; each process has a wall clock of its own on top.

Inside, time is an integer of nanoseconds.  trio sees seconds as a float from 0 (not from the epoch, so that a
float keeps ns).
"""

from __future__ import annotations

from typing import Protocol

import trio

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
PPM = 1_000_000
# Where the wall clocks of a run start: 2024-01-01T00:00:00Z.  Any fixed instant does.
EPOCH_NS = 1_704_067_200 * NS_PER_S


class HasNow(Protocol):
    """Whatever keeps virtual time."""

    @property
    def now_ns(self) -> int:
        """Monotonic, from 0."""


class ProcessClock(trio.abc.Clock):
    """What trio's deadlines and `trio.current_time` read in one process."""

    def __init__(self, source: HasNow) -> None:
        self._source = source

    def start_clock(self) -> None:
        """The loop's clock is always on."""

    def current_time(self) -> float:
        """Seconds since the run began."""
        return self._source.now_ns / 1e9

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Unused: the loop keeps deadlines on its own heap."""
        return max(0.0, deadline - self.current_time())


class WallClock:
    """One process's wall clock: the monotonic clock plus an offset that can jump, also backwards, and a rate."""

    def __init__(self, source: HasNow, epoch_ns: int = EPOCH_NS) -> None:
        assert epoch_ns >= 0, "the epoch starts at 0"
        self._source = source
        self._epoch_ns = epoch_ns
        self.offset_ns = 0  # Without what the rate has made of it since `_since_ns`.
        self.rate_ppm = 0
        self._since_ns = 0

    def now_ns(self) -> int:
        """Epoch nanoseconds, never below 0."""
        now_ns = self._epoch_ns + self._source.now_ns + self.offset_ns
        if self.rate_ppm:
            now_ns += self._gained_ns()
        return max(0, now_ns)

    def now_ms(self) -> int:
        """Epoch milliseconds."""
        return self.now_ns() // NS_PER_MS

    def jump(self, by_ns: int) -> None:
        """Move the clock by *by_ns*; monotonic time does not notice."""
        self.offset_ns += by_ns

    def drift(self, by_ppm: int) -> None:
        """Let it go *by_ppm* faster than before, or slower; -1,000,000 stops one that went right.  Rates add up."""
        self.offset_ns += self._gained_ns()
        self.rate_ppm += by_ppm
        self._since_ns = self._source.now_ns

    def _gained_ns(self) -> int:
        return (self._source.now_ns - self._since_ns) * self.rate_ppm // PPM
