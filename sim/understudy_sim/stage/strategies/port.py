"""What a search asks of a strategy: which runs come next.

A strategy decides by what it was told and by its own seeds, never by a clock and never by how many processes work: the
search asks for a round of fixed size, runs it in any way, and tells the reports in order of the trials.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import attrs

from understudy_sim.stage.variation import AS_DRAWN, Variation

if TYPE_CHECKING:
    from understudy_sim.stage.report import Report


@attrs.frozen
class Trial:
    """One run to make: a seed, and how the run differs from what the seed alone would make of it."""

    seed: int
    variation: Variation = AS_DRAWN


class Strategy(Protocol):
    """Names the runs of a search, round by round."""

    @property
    def name(self) -> str:
        """The name it is chosen by."""

    def trials(self, count: int) -> Sequence[Trial]:
        """The next trials, at most *count*; none when there is nothing left to try."""

    def told(self, trial: Trial, report: Report) -> None:
        """What *trial* showed.  Told in order of the trials, each one before the next round is asked for."""
