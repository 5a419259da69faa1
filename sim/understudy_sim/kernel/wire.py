"""What a pipe asks of the network, and who may look on or stand in the way."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from understudy_sim.kernel.pipes import Connection, Pipe


class Control(enum.Enum):
    """What travels in a pipe besides data."""

    EOF = 1
    RESET = 2


class Tap(Protocol):
    """Somebody who notes what is on its way.  Plain calls that change nothing."""

    def sent(self, pipe: Pipe, item: object) -> None:
        """*item* has left its sender."""

    def arrived(self, pipe: Pipe, item: object) -> None:
        """*item* has reached the other end's host, in the order of sending; what was lost never does."""


class Door(Protocol):
    """Where what is sent can be kept before it leaves.  Who keeps an item lets it go with `Pipe.leave`, in order."""

    def keeps(self, pipe: Pipe, item: object, size: int) -> bool:
        """*item* is about to leave: whether it stays here.  It may cut the sender."""

    def left(self, pipe: Pipe, item: object) -> None:
        """*item* is on its way.  It may cut the sender."""


class Wire(Protocol):
    """The network, as one pipe sees it."""

    tap: Tap | None
    door: Door | None
    sends: int  # How many chunks, items and ends were ever sent.
    on_send: Callable[[int], object] | None  # Told the ordinal before each; it may cut the sender.

    @property
    def keepalive_ns(self) -> int:
        """After how long an end notices that its peer is silently gone; 0: never."""

    def split(self, pipe: Pipe, data: bytes) -> list[bytes]:
        """Cut *data* into the chunks it arrives as."""

    def delay_ns(self, pipe: Pipe, size: int) -> int:
        """How long a chunk of *size* bytes takes."""

    def holds(self, pipe: Pipe) -> bool:
        """Whether what arrives now must wait in `pipe.held` (a partition)."""

    def delivered(self, pipe: Pipe, item: object) -> None:
        """*item* arrived."""

    def gone(self, connection: Connection) -> None:
        """Both ends of *connection* are finished."""
