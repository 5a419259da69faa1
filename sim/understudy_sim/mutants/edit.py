"""One planted bug, and how it is put into a text.  No files, no imports: see `hook.py` for those."""

from __future__ import annotations

import attrs

# What must happen before a bug shows, one letter each, as in the catalogue's `needs`.
NEEDS = ("schedule", "crash", "leadership", "network", "time", "disk", "workload")


TOUR = "scenarios.ticket_tour:ticket_tour"
NOTEBOOK = "scenarios.notebook:notebook_pages"
ACCOUNTS = "scenarios.account:accounts"
APPROVAL = "scenarios.approval:approval"
DEADLOCK = "scenarios.deadlock:deadlock"
DOORBELL = "scenarios.doorbell:doorbell"
FAN_OUT = "scenarios.fan_out:fan_out"
KILN = "scenarios.kiln:kilns"
PARCELS = "scenarios.parcels:parcels_pause"
PROMISE_RACE = "scenarios.promise_race:promise_race"
REMINDERS = "scenarios.reminders:reminders"
RENDER_FARM = "scenarios.render_farm:render_farm"
REPORT = "scenarios.report:report"
TRIP = "scenarios.trip:trip"


class MutantError(Exception):
    """A mutant cannot be planted: which one, why, and what to do."""


@attrs.frozen(kw_only=True)
class Mutant:
    """An edit of one module: *before* becomes *after*.

    `before` must occur exactly once in the module.  `needs` names the least that must happen for the bug to show (words
    of NEEDS).  `invisible`: 200 seeds without faults and the whole test suite are green with it.  `rehearsed`: so they
    are but for the suite's own rehearsals, which run a few fixed seeds under faults.  `escapes`: why the hunts have not
    caught it, and which claim or operation is missing.
    """

    id: str
    group: str
    module: str
    before: str
    after: str
    why: str
    needs: tuple[str, ...] = attrs.field()
    invisible: bool = False
    rehearsed: bool = False
    scenario: str = TOUR
    escapes: str = ""

    @needs.validator
    def _check_needs(self, _: object, needs: tuple[str, ...]) -> None:
        unknown = [word for word in needs if word not in NEEDS]
        if unknown or not needs:
            raise MutantError(f"mutant {self.id}: needs must be words of {', '.join(NEEDS)}, found {unknown or 'none'}")

    @property
    def needs_a_fault(self) -> bool:
        """Whether the bug shows only when something goes wrong or comes in another order, never by the input alone."""
        return "workload" not in self.needs

    def applied_to(self, text: str) -> str:
        """The module's text with the bug in it.

        Raises MutantError unless *before* occurs exactly once: the product has moved on and the mutant must follow.
        """
        found = text.count(self.before)
        if found != 1:
            raise MutantError(
                f"mutant {self.id}: the text before must occur exactly once in {self.module}, found {found} times.\n"
                f"Look for what became of it and correct the catalogue:\n{self.before}"
            )
        if self.before == self.after:
            raise MutantError(f"mutant {self.id}: the text after is the text before")
        return text.replace(self.before, self.after)
