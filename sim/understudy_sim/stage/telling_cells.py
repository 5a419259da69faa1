"""Coverage as text: a few lines at the end of every search, and the whole matrix on request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from understudy_sim.stage.coverage import (
    ATTEMPTS,
    CLASS_COUNT,
    CLASSES,
    JOURNAL,
    LETTERS,
    MOVES,
    RECORDS,
    ROWS,
    cell,
    reachable,
)
from understudy_sim.stage.faults import FaultSet
from understudy_sim.stage.summary import Summary

RECENT: Final = 50
PARTS: Final = (
    (MOVES, "invocations move"),
    (JOURNAL, "attempts journal"),
    (ATTEMPTS, "attempts, as the SDK sees them"),
)
UNSEEN_SHOWN_MAX: Final = 8

Echo = Callable[[str], object]


def tell_cells(echo: Echo, summary: Summary, faults: FaultSet) -> None:
    """How much is covered, how much of that is new, and what the tables allow and nobody has seen."""
    within = reachable(faults)
    rows = [number for number in range(len(ROWS)) if summary.cells >> cell(number, 0) & (1 << CLASS_COUNT) - 1]
    echo(
        f"  cells {(summary.cells & within).bit_count():,} of {within.bit_count():,}, "
        f"{summary.new_in(RECENT)} of them new in the last {min(RECENT, summary.seeds)} runs; "
        f"rows {len(rows)} of {len(ROWS)}"
    )
    moves = [row for number, row in enumerate(ROWS) if row.part != RECORDS and number not in rows]
    for row in moves[:UNSEEN_SHOWN_MAX]:
        echo(f"    never: {row}")
    if len(moves) > UNSEEN_SHOWN_MAX:
        echo(f"    never: {len(moves) - UNSEEN_SHOWN_MAX} more (--cells shows all)")


def tell_matrix(echo: Echo, summary: Summary, faults: FaultSet) -> None:
    """Every row with the classes of faults that were about when it happened; fits 100 columns."""
    legend = ", ".join(f"{letter} {name}" for name, (letter, _) in CLASSES.items())
    echo("what was covered, under which faults: " + legend)
    echo("  a letter: seen while such a fault was about (o: while none was); a dot: not seen, though it could be")
    within = reachable(faults)
    _records(echo, summary.cells, within)
    for part, title in PARTS:
        echo(f"\n{title}")
        for number, row in enumerate(ROWS):
            if row.part == part:
                echo(f"  {row!s:<48}{_classes(number, summary.cells, within)}".rstrip())


def _records(echo: Echo, seen: int, within: int) -> None:
    """One line per kind of record, one column per status."""
    numbers = {(row.what, row.where): number for number, row in enumerate(ROWS) if row.part == RECORDS}
    whats = dict.fromkeys(what for what, _ in numbers)
    wheres = list(dict.fromkeys(where for _, where in numbers))
    width = CLASS_COUNT
    echo("\nrecords, by the status of the invocation they are about")
    echo(f"{'':<24}" + "".join(f"{where[:width]:<{width}} " for where in wheres).rstrip())
    for what in whats:
        cells = [
            _classes(numbers[what, where], seen, within) if (what, where) in numbers else " " * width
            for where in wheres
        ]
        echo(f"{what:<24}{' '.join(cells)}".rstrip())


def _classes(row: int, seen: int, within: int) -> str:
    """The letters of one row's cells."""
    letters = []
    for class_, letter in enumerate(LETTERS):
        number = cell(row, class_)
        letters.append(letter if seen >> number & 1 else "." if within >> number & 1 else " ")
    return "".join(letters)
