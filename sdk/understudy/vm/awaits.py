"""Future trees: what an await waits for, when it is over, and what is left to wait for.

A leaf is the key of one notification: a completion id (``> 0``), a signal (``-index``) or a named signal (its
name). A node joins leaves and nodes with a combinator. Pure functions over an immutable tree and the map of
ready results.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

Leaf: TypeAlias = int | str

CANCEL: Final = -1
"""The built-in cancel signal (index 1)."""


def signal_key(index: int) -> int:
    """The leaf of the unnamed signal *index*."""
    assert index > 0, index
    return -index


class Combinator(IntEnum):
    """When a node is complete; the numbers are those of protocol version 7."""

    FIRST_COMPLETED = 1
    ALL_COMPLETED = 2
    FIRST_SUCCEEDED_OR_ALL_FAILED = 3
    ALL_SUCCEEDED_OR_FIRST_FAILED = 4


class Node(NamedTuple):
    """A combinator over leaves and nodes."""

    combinator: Combinator
    children: tuple[Tree, ...]


Tree: TypeAlias = "int | str | Node"


class Failure(NamedTuple):
    """A failure as the journal stores it."""

    code: int
    message: str
    metadata: tuple[tuple[str, str], ...] = ()


Result: TypeAlias = "tuple[str, object]"
"""``(kind, data)``: kind is void, value, failure, invocation_id or state_keys."""


def is_failure(result: Result) -> bool:
    """Whether *result* counts as failed for a combinator."""
    return result[0] == "failure"


class _Standing(IntEnum):
    PENDING = 0
    SUCCEEDED = 1
    FAILED = 2


def is_complete(tree: Tree, ready: Mapping[Leaf, Result]) -> bool:
    """Whether an await on *tree* is over, given the results in *ready*."""
    if not isinstance(tree, Node):
        return tree in ready
    return _standing(tree, ready) is not _Standing.PENDING


def _standing(tree: Tree, ready: Mapping[Leaf, Result]) -> _Standing:
    if not isinstance(tree, Node):
        result = ready.get(tree)
        if result is None:
            return _Standing.PENDING
        return _Standing.FAILED if is_failure(result) else _Standing.SUCCEEDED
    combinator = tree.combinator
    standings = [_standing(child, ready) for child in tree.children]
    if combinator is Combinator.ALL_COMPLETED:
        return _Standing.PENDING if _Standing.PENDING in standings else _Standing.SUCCEEDED
    if combinator is Combinator.FIRST_SUCCEEDED_OR_ALL_FAILED:
        return _first(standings, _Standing.SUCCEEDED, otherwise=_Standing.FAILED)
    if combinator is Combinator.ALL_SUCCEEDED_OR_FIRST_FAILED:
        return _first(standings, _Standing.FAILED, otherwise=_Standing.SUCCEEDED)
    return next((standing for standing in standings if standing is not _Standing.PENDING), _Standing.PENDING)


def _first(standings: list[_Standing], wanted: _Standing, *, otherwise: _Standing) -> _Standing:
    if wanted in standings:
        return wanted
    return _Standing.PENDING if _Standing.PENDING in standings else otherwise


def shave(tree: Tree, ready: Mapping[Leaf, Result]) -> Tree | None:
    """What of *tree* is still to wait for: complete children are dropped, None when nothing is left."""
    if is_complete(tree, ready):
        return None
    if not isinstance(tree, Node):
        return tree
    left = (shave(child, ready) for child in tree.children)
    return Node(tree.combinator, tuple(child for child in left if child is not None))


def leaves(tree: Tree) -> Iterator[Leaf]:
    """All leaves of *tree*, parent first: a node's own leaves in order, then those of its nested nodes."""
    if not isinstance(tree, Node):
        yield tree
        return
    for child in tree.children:
        if not isinstance(child, Node):
            yield child
    for child in tree.children:
        if isinstance(child, Node):
            yield from leaves(child)
