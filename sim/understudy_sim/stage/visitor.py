"""A visitor: a process of the scenario's own that decides while it runs what to ask, as customers' operations do not.

The rehearsal waits for it twice: for all it does under faults, and again, when all is quiet, for what it wants to see.
"""

from __future__ import annotations

from typing import Final, Protocol

from understudy_sim.kernel.clock import NS_PER_S

# How often the rehearsal looks whether the visitor is through, and for how long at most (virtual time).
LOOK_NS: Final = NS_PER_S
VISIT_NS_MAX: Final = 4 * 3600 * NS_PER_S


class Visitor(Protocol):
    """Who comes when customers may come."""

    name: str
    done: bool
    concluded: bool

    def start(self) -> None:
        """The server can be asked: begin, in a process called `name`, and be `done` some time."""

    def heal(self) -> None:
        """Faults are over: undo yours, and be patient from now on."""

    def conclude(self) -> None:
        """All is quiet: look at the end, and be `concluded` some time."""
