"""Which ready task runs next.  A policy is a callable `pick(ready) -> index`, asked only when two or more are
ready.

Policies see tasks in the order they became ready.  They hold no reference to the loop and draw only from what
they were given.
"""

from __future__ import annotations

from _random import Random  # As in choices.py.
from collections.abc import Iterable, Sequence
from typing import Protocol

from understudy_sim.kernel.choices import Choices, ReplayMismatch, stable_seed


class Policy(Protocol):
    """Chooses the next task."""

    def __call__(self, ready: Sequence[object], /) -> int:
        """The index in *ready* (two or more) of the task to run."""


class RandomPick:
    """Every ready task is equally likely.  One decision, the seed of the stream, names the whole schedule."""

    def __init__(self, choices: Choices, label: str = "schedule") -> None:
        seed = choices.integer(label, 0, 2**64 - 1)
        self._bits = Random(stable_seed("schedule", seed)).getrandbits

    def __call__(self, ready: Sequence[object], /) -> int:
        count = len(ready)
        assert count >= 2, "one ready task is no decision"
        width = (count - 1).bit_length()
        drawn = self._bits(width)
        while drawn >= count:
            drawn = self._bits(width)
        return drawn


class FirstReady:
    """First come, first served: the tame schedule."""

    def __call__(self, ready: Sequence[object], /) -> int:
        assert len(ready) >= 2, "one ready task is no decision"
        return 0


class ReplayPicks:
    """The picks of an earlier run (`Trace.picks`).  A pick that cannot be made is a ReplayMismatch."""

    def __init__(self, picks: Iterable[int]) -> None:
        self._picks = iter(picks)

    def __call__(self, ready: Sequence[object], /) -> int:
        index = next(self._picks, None)
        if index is None or index >= len(ready):
            raise ReplayMismatch(f"the recording picks {index} of {len(ready)} ready tasks: the run took another path")
        return index
