"""One planted bug, and how it is put into texts.  No files, no imports: see `hook.py` for those."""

from __future__ import annotations

from typing import Final

import attrs

# What must happen before a bug shows, as in the catalogue's `needs`.
NEEDS: Final = ("schedule", "crash", "leadership", "network", "time", "disk", "version", "workload")

TOUR: Final = "scenarios.ticket_tour:ticket_tour"
NIGHT_WATCH: Final = "scenarios.night_watch:night_watch"
NOTEBOOK: Final = "scenarios.notebook:notebook_pages"
ACCOUNTS: Final = "scenarios.account:accounts"
APPROVAL: Final = "scenarios.approval:approval"
DEADLOCK: Final = "scenarios.deadlock:deadlock"
DEADLOCK_REFUSED: Final = "scenarios.deadlock_refused:deadlock_refused"
DOORBELL: Final = "scenarios.doorbell:doorbell"
FAN_OUT: Final = "scenarios.fan_out:fan_out"
GRACEFUL_STOP: Final = "scenarios.graceful_stop:graceful_stop"
KILN: Final = "scenarios.kiln:kilns"
ORDER_UPGRADE: Final = "scenarios.order_upgrade:order_upgrade"
PARCELS: Final = "scenarios.parcels:parcels_pause"
POWER_CUTS: Final = "scenarios.power_cuts:power_cuts"
PROMISE_RACE: Final = "scenarios.promise_race:promise_race"
REMINDERS: Final = "scenarios.reminders:reminders"
RENDER_FARM: Final = "scenarios.render_farm:render_farm"
REPAIRS: Final = "scenarios.repairs:repairs"
REPORT: Final = "scenarios.report:report"
ROTTEN_NOTEBOOK: Final = "scenarios.rotten_notebook:rotten_notebook"
TURNSTILE: Final = "scenarios.turnstile:turnstile"
TRIP: Final = "scenarios.trip:trip"

# Where a bug of which nothing is known is hunted, in this order, one run of each at a time.
EVERYWHERE_PATHS: Final = (
    TOUR,
    REPORT,
    REPAIRS,
    POWER_CUTS,
    DOORBELL,
    ACCOUNTS,
    RENDER_FARM,
    REMINDERS,
    PARCELS,
    FAN_OUT,
    APPROVAL,
    TRIP,
    PROMISE_RACE,
    NOTEBOOK,
    KILN,
    DEADLOCK_REFUSED,
    ORDER_UPGRADE,
    DEADLOCK,
    GRACEFUL_STOP,
    TURNSTILE,
    NIGHT_WATCH,
)


class MutantError(Exception):
    """A mutant cannot be planted: which one, why, and what to do."""


@attrs.frozen
class Edit:
    """In *module*, *before* becomes *after*; *before* must occur exactly once."""

    module: str
    before: str
    after: str

    def applied_to(self, text: str, mutant_id: str) -> str:
        """*text* with the bug in it.

        Raises MutantError unless *before* occurs exactly once: the product has moved on and the mutant must follow.
        """
        found = text.count(self.before)
        if found != 1:
            raise MutantError(
                f"mutant {mutant_id}: the text before must occur exactly once in {self.module}, found {found} times.\n"
                f"Look for what became of it and correct the catalogue:\n{self.before}"
            )
        if self.before == self.after:
            raise MutantError(f"mutant {mutant_id}: the text after is the text before")
        return text.replace(self.before, self.after)


@attrs.frozen(kw_only=True)
class Mutant:
    """An edit of one module, *before* becomes *after*, and of further ones in `also`.

    `needs` names the least that must happen for the bug to show (words of NEEDS).  `invisible`: 200 seeds without
    faults and the whole test suite are green with it.  `rehearsed`: so they are but for the suite's own rehearsals,
    which run a few fixed seeds under faults.  `escapes`: why hunts do not catch it, and which claim or operation is
    missing.
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
    also: tuple[Edit, ...] = ()

    @needs.validator
    def _check_needs(self, _: object, needs: tuple[str, ...]) -> None:
        unknown = [word for word in needs if word not in NEEDS]
        if unknown or not needs:
            raise MutantError(f"mutant {self.id}: needs must be words of {', '.join(NEEDS)}, found {unknown or 'none'}")

    @property
    def needs_a_fault(self) -> bool:
        """Whether the bug shows only when something goes wrong or comes in another order, never by the input alone."""
        return "workload" not in self.needs

    @property
    def edits(self) -> tuple[Edit, ...]:
        """All of them."""
        return (Edit(self.module, self.before, self.after), *self.also)

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules it edits, each once."""
        return tuple(dict.fromkeys(edit.module for edit in self.edits))

    def applied_to(self, text: str, module: str = "") -> str:
        """The text of *module* (the first one, unless named) with the bug in it.  Raises MutantError as `Edit` does."""
        for edit in self.edits:
            if edit.module == (module or self.module):
                text = edit.applied_to(text, self.id)
        return text
