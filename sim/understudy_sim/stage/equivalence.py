"""Is what came out of a disturbed run what some undisturbed order of the same operations gives?

An outcome is a set of cells: the final answer of each question, the committed state of each object, and each distinct
entry of a ledger outside.  What a run draws anew (uuids, ids, long numbers) is masked, and how often the same entry
stands in a ledger does not count: P3 and the scenario's claims bound that.  A question that was given up without an
answer has none.

*Allowed* is, cell by cell, what any of a number of undisturbed runs of the same seed and operations gave, each with
another schedule, other latencies and other pauses of the clients.  So a power cut may decide who comes first, and
nothing else: an answer that no order gives, a state that no order leaves, an entry that every order has and this one
has not, or that no order has, is an error.  Cells are judged one by one: whether answers fit each other is for the
scenario's own claims and its sequential models (P11), which are judged in the same run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import attrs

from understudy_sim.kernel.choices import Stream, stable_seed
from understudy_sim.stage import faults
from understudy_sim.stage.history import Asked
from understudy_sim.stage.operations import Operation
from understudy_sim.stage.variation import Variation

if TYPE_CHECKING:
    from understudy_sim.kernel.kernel import KernelOutcome
    from understudy_sim.stage.rehearsal import Rehearsal

CLAIM: Final = "the outcome is that of some undisturbed order"
ABSENT: Final = "not there"
UNKNOWN: Final = "no answer"
# What every run draws anew.
DRAWN: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b(inv|sign|prom)_1?[0-9A-Za-z_-]+|\b\d{10,}\b")
# How long clients wait before they ask, in an order that is not the workload's own.
PAUSES_MS: Final = (0, 0, 100, 1_000, 4_000, 12_000)
ACCEPTED: Final = 202
# Labels that decide about order and about nothing else.
ORDER_LABELS: Final = ("schedule", "net.", "disk.", "client/", "endpoint/", "restart/")
SHOWN_MAX: Final = 3

Cells = Mapping[str, str]


@attrs.frozen
class Allowed:
    """What each cell may be, after so many *orders*; a cell that is not here may only be absent."""

    orders: int
    values: Mapping[str, frozenset[str]]

    def broken_by(self, found: Cells) -> str:
        """What of *found* no order gave; empty when there is nothing."""
        wrong = []
        for cell in sorted({*found, *self.values}):
            value, values = found.get(cell, ABSENT), self.values.get(cell, frozenset((ABSENT,)))
            if value not in values:
                seen = " or ".join(sorted(values))
                wrong.append(f"{cell}: {value}; in {self.orders} undisturbed orders it was {seen}")
        more = len(wrong) - SHOWN_MAX
        return "\n".join(wrong[:SHOWN_MAX]) + (f"\nand {more} more" if more > 0 else "")


def allowed_by(outcomes: Sequence[Cells]) -> Allowed:
    """What any of *outcomes* has."""
    assert outcomes, "without an undisturbed run nothing is allowed"
    names = sorted({cell for one in outcomes for cell in one})
    return Allowed(len(outcomes), {name: frozenset(one.get(name, ABSENT) for one in outcomes) for name in names})


def undisturbed(variation: Variation, calls: Sequence[Operation], order: int) -> Variation:
    """*variation* without its accidents, in its *order*-th order (0: its own)."""
    calm = attrs.evolve(variation, crash_at=None, orders=0, strikes=None, faults=faults.none())
    if not order:
        return calm
    stream = Stream(stable_seed("order", order))
    paused = [attrs.evolve(one, pause_ms=PAUSES_MS[stream.integer(0, len(PAUSES_MS) - 1)]) for one in calls]
    salts = {**(variation.salts or {}), **dict.fromkeys(ORDER_LABELS, order)}
    return attrs.evolve(calm, salts=salts, calls=tuple(paused), kept_calls=None)


class OutcomeSeen:
    """An observer of one run: `cells` are what came out of it."""

    def __init__(self) -> None:
        self.cells: dict[str, str] = {}

    @property
    def digest(self) -> str:
        """A name of what came out: equal for equal outcomes."""
        return f"{stable_seed(*(part for cell in sorted(self.cells.items()) for part in cell)):032x}"

    def attach(self, rehearsal: Rehearsal) -> None:
        """Nothing is looked at while it runs."""

    def stopped(self, rehearsal: Rehearsal, ended: KernelOutcome) -> None:
        cells = dict(_answers(rehearsal.cluster.history.asked))
        for model in rehearsal.truth.models:
            for (service, key), stored in model.state.items():
                if stored:
                    state = {name.decode(): value.decode(errors="replace") for name, value in stored.items()}
                    cells[f"the state of {service}/{key}"] = masked(json.dumps(state, sort_keys=True))
        for one in rehearsal.cluster.externals:
            for entry in one.external.ledger:
                cells[f"in the ledger of {one.external.name}: {masked(repr(entry))}"] = "there"
        self.cells = cells


class OutcomeJudged(OutcomeSeen):
    """An observer that breaks the claim when what came out is not *allowed*."""

    def __init__(self, allowed: Allowed) -> None:
        super().__init__()
        self._allowed = allowed

    def stopped(self, rehearsal: Rehearsal, ended: KernelOutcome) -> None:
        super().stopped(rehearsal, ended)
        if not rehearsal.stage.played:
            return  # It did not come to its end: that is another claim.
        rehearsal.watch.hit("outcomes compared")
        wrong = self._allowed.broken_by(self.cells)
        if wrong:
            rehearsal.watch.broken(CLAIM, wrong)


def _answers(asked: Iterable[Asked]) -> Iterable[tuple[str, str]]:
    numbers: dict[str, int] = {}
    for one in asked:
        client = one.operation.client
        number = numbers[client] = numbers.get(client, 0) + 1
        # Whose non-idempotent question was lost cannot ask again.
        lost = one.answer is None and one.attach is None and not one.call.idempotent
        if not lost:
            yield f"answer {number} of {one.operation}", _answer(one)


def _answer(asked: Asked) -> str:
    answer = asked.answer
    if answer is None:
        return UNKNOWN
    if answer.status == ACCEPTED:
        return str(ACCEPTED)
    return f"{answer.status} {masked(answer.body.decode(errors='replace'))}"


def masked(text: str) -> str:
    """*text* without what every run draws anew.

    >>> masked('{"hold": "0e7e8a6e-2f0b-4d6c-9f6e-0123456789ab", "n": 3, "at": 1700000000000}')
    '{"hold": "…", "n": 3, "at": …}'
    """
    return DRAWN.sub("…", text)
