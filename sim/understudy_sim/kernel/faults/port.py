"""What a fault is, and what it may touch.

A fault is *injected* at an instant the nemesis drew, with parameters it drew.  It *bites* when it made a
difference: something was in flight.  Its *budget* says what the program under test must survive; nothing
worse is injected.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Protocol

import attrs

from understudy_sim.kernel.clock import NS_PER_MS

if TYPE_CHECKING:
    from understudy_sim.kernel.kernel import Kernel
    from understudy_sim.kernel.pipes import Connection


@attrs.frozen
class Intensity:
    """How hard a fault hits: on average every *every_ns*, for *lasts_low_ns* to *lasts_high_ns*, at most
    *count_max* times, whether it fires or not *tries_max* times.

    *strength* means what the fault says (a delay, a jump; ns).
    """

    every_ns: int = attrs.field(default=2_000 * NS_PER_MS, validator=attrs.validators.ge(1))
    lasts_low_ns: int = attrs.field(default=10 * NS_PER_MS, validator=attrs.validators.ge(1))
    lasts_high_ns: int = attrs.field(default=1_000 * NS_PER_MS, validator=attrs.validators.ge(1))
    strength_ns: int = attrs.field(default=100 * NS_PER_MS, validator=attrs.validators.ge(1))
    count_max: int = attrs.field(default=1_000, validator=attrs.validators.ge(0))
    tries_max: int = attrs.field(default=1_000_000, validator=attrs.validators.ge(1))


Target = tuple[str, ...]


@attrs.frozen
class Planned:
    """One fault of a run.  *label* names it in the tally and in the choices (`fault.<label>.fire` …).

    *targets* are hosts `(name,)` for faults of processes and disks, pairs `(client, server)` for faults of
    links.
    """

    label: str
    fault: Fault
    targets: tuple[Target, ...]
    intensity: Intensity = attrs.Factory(Intensity)


@attrs.frozen
class Shot:
    """The parameters of one injection.  *switch* names the decision that let it happen (label, ordinal)."""

    label: str
    target: Target
    lasts_ns: int
    strength_ns: int
    detail: int  # 0 .. 2**16-1: for what is left to choose.
    switch: tuple[str, int] = attrs.field(default=("", 0), eq=False)

    @property
    def sign(self) -> int:
        """Forwards (1) or back (-1), for what goes either way."""
        return -1 if self.detail & 1 else 1


def label_on(connection: Connection, shot: Shot) -> str:
    """What *shot* counts as on *connection*: apart on an exchange, which has no bytes."""
    return f"{shot.label}.exchange" if connection.exchange else shot.label


@attrs.define
class Tally:
    """How often a fault was injected, and how often it made a difference."""

    fired: int = 0
    bit: int = 0


class Arena(Protocol):
    """What a fault gets: the world, and what its owner says about it."""

    @property
    def kernel(self) -> Kernel:
        """The world."""

    def busy(self, process: str) -> bool:
        """Whether *process* has something in flight (a running attempt, an unsynced record, unread bytes)."""

    def restart(self, process: str) -> None:
        """Start *process* again after a crash."""

    def until(self, lasts_ns: int, undo: Callable[[], object]) -> None:
        """Call *undo* after *lasts_ns*, or at the healing, whichever comes first."""

    def lasts(self, shot: Shot, met: Callable[[], int], undo: Callable[[], object], label: str = "") -> bool:
        """Let *shot*, which has begun, last, and then *undo* it.  It bites if the count *met* has grown by then.

        True: it happened.  *label* is what it counts as, if not the shot's.
        """

    def bite(self, label: str) -> None:
        """The latest injection of *label* made a difference."""


class Fault(Protocol):
    """A kind of fault.  Stateless: everything of one injection is in the Shot and in what `until` keeps."""

    kind: ClassVar[str]
    budget: ClassVar[str]

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Do it.  False when there is nothing to do it to right now: then it does not count."""
