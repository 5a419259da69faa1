"""Do these transactions fit one order?  A graph of who must come before whom, and a circle in it when they do not.

The graph is Adya's (Weak Consistency, MIT 1999), read off a history as Elle does (Kingsbury and Alvaro, VLDB 2020):

* *read*: one read a version that the other wrote: the writer comes first;
* *write*: one wrote a version, the other the next one of that key: in that order;
* *missed*: one read a version, the other wrote the next one: the reader comes first, or it would have seen that;
* *time* (strict only): one was answered before the other was asked.

Versions must be unique for their key.  Their order is given (`orders`: the log knows it), or follows from transactions
that read a version and wrote the next.  Where it is not known there is no edge: what is reported is always wrong, and
with whole orders nothing that is wrong is missed.  No clock and no stage in here.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Final

import attrs

INITIAL: Final = None
"""The version of a key that nobody wrote yet."""


@attrs.frozen(kw_only=True)
class Transaction:
    """What one transaction read and wrote, by key: the version it saw first, the version it left.

    *began* and *ended* are places in one order of all events (None: nobody saw it end).  Without *committed* it may
    have happened or not; it did when somebody read what it wrote.
    """

    name: str
    reads: Mapping[str, Hashable] = attrs.field(factory=dict)
    writes: Mapping[str, Hashable] = attrs.field(factory=dict)
    began: int = 0
    ended: int | None = None
    committed: bool = True

    def __attrs_post_init__(self) -> None:
        assert self.ended is None or self.began <= self.ended, f"{self.name} ended before it began"
        assert all(version is not INITIAL for version in self.writes.values()), f"{self.name} wrote INITIAL"


@attrs.frozen
class Edge:
    """*before* must come before *after*, because of *kind* at *key* (empty for time)."""

    before: str
    after: str
    kind: str
    key: str = ""

    def __str__(self) -> str:
        at = f" of {self.key}" if self.key else ""
        said = {
            "read": f"{self.after} read what {self.before} wrote{at}",
            "write": f"{self.after} wrote the next version{at} after {self.before}'s",
            "missed": f"{self.before} did not see the version{at} that {self.after} wrote next",
            "time": f"{self.before} was answered before {self.after} was asked",
        }
        return said[self.kind]


class BadHistory(ValueError):
    """The history itself cannot be: two transactions wrote one version, or one read what nobody wrote."""


def find_circle(
    transactions: Sequence[Transaction],
    orders: Mapping[str, Sequence[Hashable]] | None = None,
    *,
    strict: bool = False,
) -> tuple[Edge, ...]:
    """The shortest circle of transactions that no order can explain; empty when there is none.

    *orders* are the versions of each key, oldest first.  Raises BadHistory.
    """
    writers = _writers(transactions)
    happened = _happened(transactions, writers)
    edges: dict[str, list[Edge]] = {one.name: [] for one in happened}
    for edge in (*_edges(happened, writers, _next_of(happened, orders or {})), *(_times(happened) if strict else ())):
        if edge.before != edge.after and edge.before in edges and edge.after in edges:
            edges[edge.before].append(edge)
    circles = (circle for start in edges if (circle := _shortest_circle(start, edges)))
    return min(circles, key=len, default=())


def verdict(transactions: Sequence[Transaction], *, strict: bool) -> str:
    """Empty when they fit one order, or else what is wrong, in words."""
    try:
        return ", and ".join(map(str, find_circle(transactions, strict=strict)))
    except BadHistory as error:
        return str(error)


def _writers(transactions: Sequence[Transaction]) -> dict[tuple[str, Hashable], Transaction]:
    writers: dict[tuple[str, Hashable], Transaction] = {}
    for one in transactions:
        for key, version in one.writes.items():
            other = writers.setdefault((key, version), one)
            if other is not one:
                raise BadHistory(f"{other.name} and {one.name} both wrote version {version!r} of {key}")
    return writers


def _happened(
    transactions: Sequence[Transaction], writers: Mapping[tuple[str, Hashable], Transaction]
) -> list[Transaction]:
    """Those that did: they say so, or somebody who did read what they wrote."""
    by_name = {one.name: one for one in transactions}
    if len(by_name) != len(transactions):
        raise BadHistory("two transactions have one name")
    happened = {one.name: one for one in transactions if one.committed}
    todo = list(happened.values())
    while todo:
        reader = todo.pop()
        for key, version in reader.reads.items():
            if version is INITIAL:
                continue
            writer = writers.get((key, version))
            if writer is None:
                raise BadHistory(f"{reader.name} read version {version!r} of {key}, which nobody wrote")
            if writer.name not in happened:
                happened[writer.name] = writer
                todo.append(writer)
    return [one for one in transactions if one.name in happened]


def _next_of(
    happened: Sequence[Transaction], orders: Mapping[str, Sequence[Hashable]]
) -> dict[tuple[str, Hashable], Hashable]:
    """The version after each version, where it is known."""
    following: dict[tuple[str, Hashable], Hashable] = {}
    for key, versions in orders.items():
        for version, after in zip((INITIAL, *versions), versions, strict=False):
            following[key, version] = after
    for one in happened:
        for key, version in one.writes.items():
            if key not in orders and key in one.reads:
                # Two who read one version and wrote the next: each missed the other's.
                following.setdefault((key, one.reads[key]), version)
    return following


def _edges(
    happened: Sequence[Transaction],
    writers: Mapping[tuple[str, Hashable], Transaction],
    following: Mapping[tuple[str, Hashable], Hashable],
) -> Iterator[Edge]:
    for one in happened:
        for key, version in one.reads.items():
            if version is not INITIAL:
                yield Edge(writers[key, version].name, one.name, "read", key)
            after = following.get((key, version))
            if after is not None and (key, after) in writers:
                yield Edge(one.name, writers[key, after].name, "missed", key)
            # Whoever else read that version and wrote was not seen either.
            yield from _others_after(one, key, version, happened)
        for key, version in one.writes.items():
            after = following.get((key, version))
            if after is not None and (key, after) in writers:
                yield Edge(one.name, writers[key, after].name, "write", key)


def _others_after(one: Transaction, key: str, version: Hashable, happened: Sequence[Transaction]) -> Iterator[Edge]:
    for other in happened:
        if other is not one and key in other.writes and key in other.reads and other.reads[key] == version:
            yield Edge(one.name, other.name, "missed", key)


def _times(happened: Sequence[Transaction]) -> Iterator[Edge]:
    for one in happened:
        for other in happened:
            if one.ended is not None and one.ended < other.began:
                yield Edge(one.name, other.name, "time")


def _shortest_circle(start: str, edges: Mapping[str, Sequence[Edge]]) -> tuple[Edge, ...]:
    """The shortest way from *start* back to it, breadth first."""
    came_by: dict[str, Edge] = {}
    layer = [start]
    while layer:
        following: list[str] = []
        for name in layer:
            for edge in edges[name]:
                if edge.after == start:
                    return _way(start, edge, came_by)
                if edge.after not in came_by:
                    came_by[edge.after] = edge
                    following.append(edge.after)
        layer = following
    return ()


def _way(start: str, last: Edge, came_by: Mapping[str, Edge]) -> tuple[Edge, ...]:
    way = [last]
    while way[-1].before != start:
        way.append(came_by[way[-1].before])
    return tuple(reversed(way))
