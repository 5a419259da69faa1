"""Who is told what happens: properties subscribe by type of event, and what they find is collected here.

A checker records a violation and goes on: the first broken claim often explains the later ones.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

if TYPE_CHECKING:
    from understudy_sim.stage.truth import Truth

VIOLATIONS_MAX = 20

Handler = Callable[[Any], None]


@attrs.frozen
class Violation:
    """A claim that broke: `claim` names it (P1, or the scenario's own words), `what` says what differed and where.

    `invocation_id` is the invocation to look at, if there is one.
    """

    claim: str
    what: str
    at_ns: int
    invocation_id: str = ""


class Watch:
    """The hub of one run."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self.violations: list[Violation] = []
        self.hits: dict[str, int] = {}
        self._now_ns = now_ns
        self._handlers: dict[type, list[Handler]] = {}

    @property
    def now_ns(self) -> int:
        """Virtual time."""
        return self._now_ns()

    def subscribe(self, handlers: Mapping[type, Handler]) -> None:
        """Call each handler for every event of its type, in order of subscription."""
        for type_, handler in handlers.items():
            self._handlers.setdefault(type_, []).append(handler)

    def tell(self, event: Any) -> None:
        """Something happened."""
        for handler in self._handlers.get(type(event), ()):
            handler(event)

    def hit(self, what: str) -> None:
        """Count that a checker had something to check (a checker that hit nothing proves nothing)."""
        self.hits[what] = self.hits.get(what, 0) + 1

    def broken(self, claim: str, what: str, invocation_id: str = "") -> None:
        """Record that *claim* does not hold.  Each distinct text once, and no more than a page of them."""
        known = any(one.claim == claim and one.what == what for one in self.violations)
        if not known and len(self.violations) < VIOLATIONS_MAX:
            violation = Violation(claim, what, self._now_ns(), invocation_id)
            self.violations.append(violation)
            self.tell(violation)


class Property(abc.ABC):
    """One claim about the product, checked on the go.  `number` and `claim` are those of `docs/invariants.md`."""

    number: ClassVar[str]
    claim: ClassVar[str]

    def __init__(self, watch: Watch, truth: Truth) -> None:
        self.watch = watch
        self.truth = truth

    @abc.abstractmethod
    def handlers(self) -> Mapping[type, Handler]:
        """Which events it wants."""

    def finish(self) -> None:
        """The quiet phase is over: check what must hold at the end."""
        return

    def hit(self, what: str) -> None:
        """Count one case that could have failed."""
        self.watch.hit(f"{self.number} {what}")

    def broken(self, what: str, invocation_id: str = "") -> None:
        """The claim does not hold."""
        self.watch.broken(f"{self.number} {self.claim}", what, invocation_id)
