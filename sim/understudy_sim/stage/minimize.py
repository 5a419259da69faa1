"""How something that fails is made smaller, whatever it is: pure searches over a predicate.

`fails(candidate)` says whether a candidate still fails, and remembers it when it does.  For a monotone predicate (what
fails goes on failing when something is added) each result is minimal: nothing more can be left out alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def drop_each(items: Sequence[T], fails: Callable[[tuple[T, ...]], bool]) -> tuple[T, ...]:
    """The items that cannot be left out: all at once, then halves, quarters and so on down to one by one.

    The last ones are tried first: what comes late depends on what came before it, not the other way round.
    """
    kept = tuple(items)
    if kept and fails(()):
        return ()
    size = len(kept) // 2
    while size:
        end = len(kept)
        while end > 0:
            start = max(0, end - size)
            rest = kept[:start] + kept[end:]
            if len(rest) < len(kept) and fails(rest):
                kept = rest
            end = start
        size //= 2
    return kept


def drop_singly(items: Sequence[T], fails: Callable[[tuple[T, ...]], bool]) -> tuple[T, ...]:
    """The items that cannot be left out, one by one and again, until none can."""
    kept = tuple(items)
    changed = True
    while changed:
        changed = False
        for index in reversed(range(len(kept))):
            rest = kept[:index] + kept[index + 1 :]
            if fails(rest):
                kept, changed = rest, True
    return kept


def first_that_fails(candidates: Sequence[T], fails: Callable[[T], bool]) -> T | None:
    """The first candidate that fails: they are given simplest first."""
    return next((one for one in candidates if fails(one)), None)


def smaller(value: int, low: int) -> tuple[int, ...]:
    """What to try in place of *value*, simplest first: *low*, then ever closer to it."""
    assert value >= low, "a value lies above its lowest"
    tried, step = [low], 1
    while low + step < value:
        tried.append(low + step)
        step *= 4
    return tuple(one for one in tried if one < value)


def rounder(value_ns: int) -> tuple[int, ...]:
    """Rounder times than *value_ns* near it: whole seconds, tenths, hundredths, milliseconds; earlier before later."""
    assert value_ns >= 0, "time does not run before 0"
    found: list[int] = []
    for unit_ns in (1_000_000_000, 100_000_000, 10_000_000, 1_000_000):
        if value_ns % unit_ns == 0:
            break
        below = value_ns - value_ns % unit_ns
        found += [below, below + unit_ns]
    return tuple(dict.fromkeys(found))
