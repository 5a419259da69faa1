"""Is there an order of these operations that a sequential model explains?  A search, and no more: no clock, no stage.

The algorithm is Wing and Gong's with Lowe's memory: operations are taken in every order that respects who ended before
whom began, and a set of taken operations is looked at once per state it leads to.

* An operation that was never seen to end may have happened at any time after it began, or not at all.
* A search that takes too many steps is UNDECIDED.  It is never a guess.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final

import attrs

STEPS_MAX: Final = 200_000


class _Any(enum.Enum):
    ANY = "anything"
    UNKNOWN = "unknown"

    def __repr__(self) -> str:
        return self.value


ANY: Final = _Any.ANY
"""What a model says where it does not determine the answer."""
UNKNOWN: Final = _Any.UNKNOWN
"""The answer that nobody read."""


@attrs.frozen
class Failed:
    """An answer: the operation failed for good, with this code."""

    code: int


# (state, what is asked) -> (state afterwards, what is answered).  States are compared and hashed: values, not objects.
SequentialModel = Callable[[Any, Any], tuple[Hashable, Any]]


@attrs.frozen
class Operation:
    """One operation on one object.  Times are places in one order of all events: only their order counts.

    Two operations overlap when neither ended before the other began; an equal time is no order.
    """

    action: Any
    answer: Any
    called: int
    returned: int | None
    """None: nobody saw it end.  It may have happened or not."""
    who: str = ""

    def __attrs_post_init__(self) -> None:
        assert self.returned is None or self.returned >= self.called, "an operation ends after it began"
        assert self.returned is not None or self.answer is UNKNOWN, "what never ended has no answer"


class Verdict(enum.Enum):
    LINEARIZABLE = "linearizable"
    NOT_LINEARIZABLE = "not linearizable"
    UNDECIDED = "undecided: too many steps"


@attrs.frozen
class Judgement:
    """A verdict, and the longest order that was found: with a bad one, what it stopped at."""

    verdict: Verdict
    steps: int
    order: tuple[Operation, ...]
    state: Hashable
    stuck: tuple[tuple[Operation, Any], ...] = ()
    """Operations that could have come next, each with what the model would have answered."""


def judge(
    operations: Sequence[Operation], model: SequentialModel, initial: Hashable = None, steps_max: int = STEPS_MAX
) -> Judgement:
    """Whether *operations*, all of one object that began as *initial*, are linearizable.

    Time and memory are bounded by *steps_max* questions to *model*, which must be a function: no clock, no memory.
    """
    assert steps_max >= 1, "without a step nothing can be decided"
    return _Search(operations, model, initial, steps_max).run()


class _Search:
    """Events are numbered 1 to n in a doubly linked list with 0 at both ends; taking an operation lifts its events."""

    def __init__(
        self, operations: Sequence[Operation], model: SequentialModel, initial: Hashable, steps_max: int
    ) -> None:
        self.operations = operations
        self.model = model
        self.steps_max = steps_max
        self.initial = initial
        # At one and the same time calls come first: what overlaps by an instant has no order.
        events = sorted(
            [(one.called, False, index) for index, one in enumerate(operations)]
            + [(one.returned, True, index) for index, one in enumerate(operations) if one.returned is not None]
        )
        count = len(events)
        self.calls = [0] * len(operations)
        self.returns = [0] * len(operations)
        self.event: list[tuple[int, bool]] = [(-1, True)]
        for place, (_, is_return, index) in enumerate(events, 1):
            (self.returns if is_return else self.calls)[index] = place
            self.event.append((index, is_return))
        self.next = [*range(1, count + 1), 0]
        self.previous = [count, *range(count)]

    def _lift(self, place: int) -> None:
        before, after = self.previous[place], self.next[place]
        self.next[before] = after
        self.previous[after] = before

    def _put_back(self, place: int) -> None:
        self.next[self.previous[place]] = place
        self.previous[self.next[place]] = place

    def _take(self, index: int) -> None:
        self._lift(self.calls[index])
        if self.returns[index]:
            self._lift(self.returns[index])

    def _give_back(self, index: int) -> None:
        if self.returns[index]:
            self._put_back(self.returns[index])
        self._put_back(self.calls[index])

    def run(self) -> Judgement:
        """Search until everything that ended is in order, nothing is left to try, or the steps are used up."""
        state = self.initial
        wanted = sum(one.returned is not None for one in self.operations)
        taken, steps, ended = 0, 0, 0
        path: list[tuple[int, Hashable]] = []
        seen: set[tuple[int, Hashable]] = set()
        best: tuple[int, tuple[int, ...], Hashable] = (-1, (), state)
        place = self.next[0]
        while ended < wanted:
            index, is_return = self.event[place]
            if is_return:  # Somebody's end, or the end of all: what is not taken by now cannot be.
                if ended > best[0]:
                    best = (ended, tuple(step[0] for step in path), state)
                if not path:
                    return self._stuck(best, steps)
                index, state = path.pop()
                taken ^= 1 << index
                ended -= self.operations[index].returned is not None
                self._give_back(index)
                place = self.next[self.calls[index]]
                continue
            if steps == self.steps_max:
                return Judgement(Verdict.UNDECIDED, steps, (), state)
            steps += 1
            operation = self.operations[index]
            after, answer = self.model(state, operation.action)
            if self._fits(operation, answer) and (operation.returned is not None or after != state):
                mark = (taken | 1 << index, after)
                if mark not in seen:
                    seen.add(mark)
                    path.append((index, state))
                    taken, state = mark
                    ended += operation.returned is not None
                    self._take(index)
                    place = self.next[0]
                    continue
            place = self.next[place]
        order = tuple(self.operations[index] for index, _ in path)
        return Judgement(Verdict.LINEARIZABLE, steps, order, state)

    def _fits(self, operation: Operation, answer: Any) -> bool:
        return answer is ANY or operation.answer is UNKNOWN or bool(answer == operation.answer)

    def _stuck(self, best: tuple[int, tuple[int, ...], Hashable], steps: int) -> Judgement:
        """The longest order, and what the model says to each operation that could have come after it."""
        _, path, state = best
        left = [one for index, one in enumerate(self.operations) if index not in path and one.returned is not None]
        first_end = min(one.returned for one in left if one.returned is not None)
        stuck = tuple((one, self.model(state, one.action)[1]) for one in left if one.called <= first_end)
        order = tuple(self.operations[index] for index in path)
        return Judgement(Verdict.NOT_LINEARIZABLE, steps, order, state, stuck)
