"""What an external service remembers: every call it took, in order.  It is the world's memory and survives every crash.

A ledger belongs to the rehearsal, not to a process: whatever a service did outside is done, whoever loses power next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

E = TypeVar("E")


class Ledger(Generic[E]):
    """An append-only list.  `watch` is told after each entry."""

    def __init__(self, name: str, watch: Callable[[], None] | None = None) -> None:
        assert name, "a ledger belongs to somebody"
        self.name = name
        self._entries: list[E] = []
        self._watch = watch

    def append(self, entry: E) -> None:
        """Record one call."""
        self._entries.append(entry)
        if self._watch is not None:
            self._watch()

    def __iter__(self) -> Iterator[E]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> E:
        return self._entries[index]
