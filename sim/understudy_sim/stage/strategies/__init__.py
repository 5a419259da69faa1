"""Strategies: which runs a search makes, and in which order.

The portfolio is what a search uses unless told otherwise.  All of them choose by the scope's seeds alone, so that a
search is the same search anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import attrs

from understudy_sim.stage.strategies.delays import DelayBounded
from understudy_sim.stage.strategies.everywhere import CrashPoints
from understudy_sim.stage.strategies.guided import Guided, Portfolio
from understudy_sim.stage.strategies.port import Scope, Strategy, Trial
from understudy_sim.stage.strategies.seeds import Measured, Seeds
from understudy_sim.stage.variation import Schedule

__all__ = ["DEFAULT", "STRATEGIES", "Known", "Scope", "Strategy", "Trial", "make"]


@attrs.frozen
class Known:
    """A strategy that can be asked for: how to make one, what it does in a few words, whether it ends by itself (then
    it needs no number of seeds), and whether its runs have no faults but its own."""

    make: Callable[[str, Scope], Strategy]
    does: str
    ends: bool = False
    is_calm: bool = False


DEFAULT: Final = "portfolio"
STRATEGIES: Final[Mapping[str, Known]] = MappingProxyType(
    {
        "portfolio": Known(Portfolio, "each seed draws a schedule and its faults; later some are varied by coverage"),
        "random": Known(lambda name, scope: Seeds(name, scope, Schedule(kind="random")), "any ready task is next"),
        "pct": Known(Measured, "priorities with change points, in a measured horizon"),
        "fifo": Known(lambda name, scope: Seeds(name, scope, Schedule(kind="fifo")), "first come, first served"),
        "delays": Known(DelayBounded, "one seed, every schedule with 0, 1, 2 … deviations from fifo", ends=True),
        "crash-points": Known(
            CrashPoints, "one undisturbed run, then a power cut at every place it passed", ends=True, is_calm=True
        ),
        "guided": Known(Guided, "a few seeds, then variations of those that got where few have been"),
    }
)


def make(name: str, scope: Scope) -> Strategy:
    """The strategy called *name*.  Raises KeyError for one that does not exist."""
    return STRATEGIES[name].make(name, scope)
