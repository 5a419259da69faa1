"""A schedule as its deviations from first come, first served: each place where the head of the ready ones had to wait.

A deviation names the head that was passed over and which of its turns that was, not a place in the run's long list of
decisions: what happens elsewhere, in another process or another task, does not move it.

A task's name is `process.incarnation/parent/name`, with `#n` for the n-th (from 2) child of that name.  Names are made
at birth and only in a run whose policy asks for them (`Policy.names`); no address, no global number is in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from understudy_sim.kernel.policies import Policy

_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")
_ODD: Final = re.compile(r"[^\w-]+")


class Passed(NamedTuple):
    """The *task*'s *nth* turn (from 1) as the head of two or more: the one *by* places behind it goes first."""

    task: str
    nth: int
    by: int


class TaskNames:
    """The names of one run's tasks."""

    def __init__(self) -> None:
        self._names: dict[Any, str] = {}
        self._children: dict[str, int] = {}

    def born(self, task: Any) -> None:
        """*task* (trio's) begins: name it after its process and its parent."""
        assert task not in self._names, "a task is born once"
        runner = task._runner
        nursery = task.parent_nursery
        parent = self._names.get(nursery.parent_task) if nursery is not None else None
        if parent is None:
            self._names[task] = f"{runner.process.name}.{runner.incarnation}"
            return
        name = f"{parent}/{short(task.name)}"
        nth = self._children[name] = self._children.get(name, 0) + 1
        self._names[task] = name if nth == 1 else f"{name}#{nth}"

    def of(self, task: object) -> str:
        """The name of a task that was born."""
        return self._names[task]


def short(name: str) -> str:
    """The last part of what trio calls a task: a function's own name."""
    last = _ADDRESS.sub("", name).rsplit(".", 1)[-1]
    return _ODD.sub("_", last).strip("_") or "task"


class Recording:
    """Another policy's picks, noted where they are not the head."""

    def __init__(self, policy: Policy) -> None:
        self.names = TaskNames()
        self.passed: list[Passed] = []
        self._policy = policy
        self._turns: dict[object, int] = {}

    def __call__(self, ready: Sequence[object], /) -> int:
        index = self._policy(ready)
        head = ready[0]
        nth = self._turns[head] = self._turns.get(head, 0) + 1
        if index:
            self.passed.append(Passed(self.names.of(head), nth, index))
        return index


class Deviating:
    """First come, first served, but for *passed*.  `met` counts those that were met; a *by* too long is the last."""

    def __init__(self, passed: Iterable[Passed]) -> None:
        self.names = TaskNames()
        self.met = 0
        self._by = {(one.task, one.nth): one.by for one in passed}
        assert all(by > 0 for by in self._by.values()), "a deviation passes somebody over"
        self._named = {task for task, _ in self._by}
        self._turns: dict[str, int] = {}

    @property
    def unmet(self) -> int:
        """How many were not met (yet)."""
        return len(self._by) - self.met

    def __call__(self, ready: Sequence[object], /) -> int:
        assert len(ready) >= 2, "one ready task is no decision"
        name = self.names.of(ready[0])
        if name not in self._named:
            return 0
        nth = self._turns[name] = self._turns.get(name, 0) + 1
        by = self._by.get((name, nth), 0)
        self.met += by > 0
        return min(by, len(ready) - 1)
