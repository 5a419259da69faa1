"""Which ready task runs next.  A policy is a callable `pick(ready) -> index`, asked only when two or more are
ready.

Policies see tasks in the order they became ready.  They hold no reference to the loop and draw only from what
they were given.
"""

from __future__ import annotations

from _random import Random  # As in choices.py.
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from understudy_sim.kernel.choices import Choices, Stream, mixed, stable_seed
from understudy_sim.kernel.deviations import Deviating, Passed

# After so many decisions with the same task in front, that task gets its turn, whatever its priority: a task that spins
# on something a starved one must do would spin for ever.
STARVED_MAX: Final = 5_000


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


class Priorities:
    """Probabilistic concurrency testing: the ready task of the highest priority runs, *changes* times in the first
    *horizon* decisions whoever would run falls below everybody else.

    From S. Burckhardt, P. Kothari, M. Musuvathi, S. Nagarakatte, "A Randomized Scheduler with Probabilistic Guarantees
    of Finding Bugs", ASPLOS 2010.  A bug of depth d (d orderings of steps suffice to meet it) in a run of n tasks and k
    decisions is met with a probability of at least 1 / (n * k**(d - 1)) when *changes* is d - 1 and *horizon* is k.
    Steps at which only one task is ready are not counted: whoever overtakes does so at a decision.

    Priorities are random by the order of birth; a point that falls on decision i gives its task the i-th lowest one, i
    as it was drawn.  `decisions` counts them: what a run's horizon is measured by.
    """

    def __init__(self, key: int, changes: int, horizon: int) -> None:
        assert changes >= 0, "there are no less than no change points"
        assert horizon >= 1, "change points lie within a horizon"
        stream = Stream(stable_seed("priorities", key))
        self.decisions = 0
        self.changes, self.horizon = changes, horizon
        self._key = key
        # Below every priority of birth; of two that fall on one decision the later drawn counts.
        self._points = {stream.integer(1, horizon): rank - changes for rank in range(changes)}
        self._priorities: dict[int, int] = {}
        self._head: object = None
        self._passed = 0

    def __call__(self, ready: Sequence[Any], /) -> int:
        assert len(ready) >= 2, "one ready task is no decision"
        decision = self.decisions = self.decisions + 1
        head = ready[0]
        if head is self._head:
            self._passed += 1
            if self._passed > STARVED_MAX:
                self._head = None
                return 0
        else:
            self._head, self._passed = head, 0
        try:
            index = self._highest(ready)
        except KeyError:
            for task in ready:
                self._priorities.setdefault(task._counter, mixed(self._key, task._counter))
            index = self._highest(ready)
        if decision in self._points:
            self._priorities[ready[index]._counter] = self._points[decision]
            index = self._highest(ready)
        return index

    def _highest(self, ready: Sequence[Any]) -> int:
        """The place of the highest priority.  Raises KeyError when a task has none yet."""
        priorities = self._priorities
        if len(ready) == 2:  # Most decisions.
            first, second = ready
            return 0 if priorities[first._counter] >= priorities[second._counter] else 1
        values = [priorities[task._counter] for task in ready]
        return values.index(max(values))


class Delays:
    """First come, first served, but at the decisions *places* (from 1) the one so many places behind goes first."""

    def __init__(self, places: Mapping[int, int]) -> None:
        assert all(by > 0 for by in places.values()), "a delay passes somebody over"
        self.places = dict(places)
        self._decision = 0

    def __call__(self, ready: Sequence[object], /) -> int:
        assert len(ready) >= 2, "one ready task is no decision"
        decision = self._decision = self._decision + 1
        by = self.places.get(decision)
        return 0 if by is None else min(by, len(ready) - 1)


class Turn(NamedTuple):
    """A decision of a schedule: the head's name, which of its turns as a head this is, how many were ready."""

    task: str
    nth: int
    ready: int


class Surveyed:
    """First come, first served, but for *passed*, with every decision listed in `turns`: all places to deviate at."""

    def __init__(self, passed: Iterable[Passed]) -> None:
        self.turns: list[Turn] = []
        self._deviating = Deviating(passed)
        self.names = self._deviating.names
        self._nths: dict[str, int] = {}

    def __call__(self, ready: Sequence[object], /) -> int:
        task = self.names.of(ready[0])
        nth = self._nths[task] = self._nths.get(task, 0) + 1
        self.turns.append(Turn(task, nth, len(ready)))
        return self._deviating(ready)
