"""What a search asks of a strategy: which runs come next.

A strategy decides by what it was told and by its own seeds, never by a clock and never by how many processes work.  The
search asks for rounds of fixed size, runs them in any way, and tells the reports in order of the trials.  So that many
processes have work at the end of a round, the next one is asked for before the one before is told; a strategy that
wants to be told first returns fewer trials than it was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import attrs

from understudy_sim.stage.variation import AS_DRAWN, Variation

if TYPE_CHECKING:
    from understudy_sim.stage.report import Report
    from understudy_sim.stage.scenario import Scenario


@attrs.frozen
class Trial:
    """One run to make: a seed, and how the run differs from what the seed alone would make of it."""

    seed: int
    variation: Variation = AS_DRAWN


@attrs.frozen(kw_only=True)
class Scope:
    """What a strategy works on: at most *seeds* seeds from *first_seed* on (None: no end), all of them under
    *variation* and whatever the strategy adds to it."""

    scenario: Scenario
    first_seed: int = 0
    seeds: int | None = None
    variation: Variation = AS_DRAWN


class Strategy(Protocol):
    """Names the runs of a search, round by round.

    Which trials come must not depend on `Scope.seeds` but for where they end: a search that is resumed with more seeds
    goes on.
    """

    @property
    def name(self) -> str:
        """The name it is chosen by."""

    def trials(self, count: int) -> Sequence[Trial]:
        """The next trials, at most *count*.  Fewer: everything so far is told before the next are asked for.  None:
        nothing is left to try, now that everything is told."""

    def told(self, trial: Trial, report: Report) -> None:
        """What *trial* showed.  Told in order of the trials."""

    @property
    def left(self) -> str:
        """What is known to be left to try, in words; empty when that is not known."""
