"""Coverage as text: a few lines at the end of every search, and the whole matrix on request."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import or_
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
    cells_in,
    reachable,
)
from understudy_sim.stage.faults import FaultSet
from understudy_sim.stage.summary import Summary

RECENT: Final = 50
COLUMN_MIN: Final = 4
PARTS: Final = (
    (MOVES, "invocations move"),
    (JOURNAL, "attempts journal"),
    (ATTEMPTS, "attempts, as the SDK sees them"),
)
UNSEEN_SHOWN_MAX: Final = 8

Echo = Callable[[str], object]


def tell_cells(echo: Echo, summary: Summary, faults: FaultSet) -> None:
    """How much is covered, how much of that is new, and what the tables allow and nobody has seen."""
    within = _within(summary.cells, faults)
    rows = [number for number in range(len(ROWS)) if summary.cells >> cell(number, 0) & (1 << CLASS_COUNT) - 1]
    echo(
        f"  cells {summary.cells.bit_count():,} of {within.bit_count():,}, "
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
    matrix = _Matrix(summary.cells, _within(summary.cells, faults))
    echo("what was covered: a letter where it was seen while such a fault was about, a dot where it was not")
    names = [f"{letter} {name}" for name, (letter, _) in CLASSES.items()]
    echo("  " + ", ".join(names[class_] for class_ in matrix.classes))
    matrix.tell_records(echo)
    for part, title in PARTS:
        echo(f"\n{title}")
        for number, row in enumerate(ROWS):
            if row.part == part:
                echo(f"  {row!s:<48}{matrix.letters(number)}".rstrip())


def _within(seen: int, faults: FaultSet) -> int:
    """What a search could get to: with *faults*, and with what a script or a strategy did beside them."""
    classes = {number % CLASS_COUNT: None for number in cells_in(seen)}
    column = sum(1 << cell(row, 0) for row in range(len(ROWS)))
    return reduce(or_, (column << class_ for class_ in classes), reachable(faults))


class _Matrix:
    """What was *seen* of what is *within* reach; classes that are not have no column."""

    def __init__(self, seen: int, within: int) -> None:
        self.seen, self.within = seen, within
        told = {number % CLASS_COUNT: None for number in cells_in(within)}
        self.classes = [class_ for class_ in range(CLASS_COUNT) if class_ in told]

    def letters(self, row: int) -> str:
        """One row's cells."""
        found = ""
        for class_ in self.classes:
            number = cell(row, class_)
            found += LETTERS[class_] if self.seen >> number & 1 else "."
        return found

    def tell_records(self, echo: Echo) -> None:
        """One line per kind of record, one column per status."""
        numbers = {(row.what, row.where): number for number, row in enumerate(ROWS) if row.part == RECORDS}
        wheres = list(dict.fromkeys(where for _, where in numbers))
        width = max(len(self.classes), COLUMN_MIN)
        echo("\nrecords, by the status of the invocation they are about")
        echo(f"{'':<24}" + "".join(f"{where[:width]:<{width}} " for where in wheres).rstrip())
        for what in dict.fromkeys(what for what, _ in numbers):
            cells = [self.letters(numbers[what, where]) if (what, where) in numbers else "" for where in wheres]
            echo(f"{what:<24}{' '.join(f'{one:<{width}}' for one in cells)}".rstrip())
