"""P8, outstanding: after every restart the work a leader starts from equals what the durable log implies.

The reference model says what that is: an attempt for each running invocation, each timer, each undelivered message, and
under the policy against deadlocks a look at each call that waits for a lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from understudy_runtime.model.actions import Action, ArmTimer, CheckDeadlock, Send, StartAttempt
from understudy_runtime.model.events import LeadershipTaken

from understudy_sim.stage.model import EXPIRY_TIMER
from understudy_sim.stage.properties.fold import same_words
from understudy_sim.stage.watch import Handler, Property


def words(action: Action) -> tuple[Any, ...]:
    """An outstanding action in the model's words."""
    if isinstance(action, StartAttempt):
        return ("start", action.invocation_id, action.lease)
    if isinstance(action, ArmTimer):
        return ("arm", action.due_ms, action.timer_id)
    if isinstance(action, CheckDeadlock):
        return ("check", action.invocation_id)
    assert isinstance(action, Send), f"P8: {action!r} is no outstanding work"
    return ("send", action.target_partition, action.sequence, action.message)


class Outstanding(Property):
    number: ClassVar[str] = "P8"
    claim: ClassVar[str] = "a leader starts from exactly the work that is left"

    checks_deadlocks = False  # the policy of the servers of this run

    def handlers(self) -> Mapping[type, Handler]:
        return {LeadershipTaken: self._leadership_taken}

    def _leadership_taken(self, event: LeadershipTaken) -> None:
        rows = self.truth.models[event.partition].outstanding()
        timers = sorted(row for row in rows if row[0] == "arm" and row[2] != EXPIRY_TIMER)
        far = timers[self.truth.timers_max + 1 :]  # read when the nearer ones are gone
        moot = [] if self.checks_deadlocks else [row for row in rows if row[0] == "check"]
        wanted = {_identity(row): row for row in rows if row not in far and row not in moot}
        found = {_identity(row): row for row in map(words, event.outstanding)}
        if wanted:
            self.hit("restarts with work left")
        for name, row in wanted.items():
            if name not in found or not same_words([row], [found[name]]):
                self.broken(f"partition {event.partition} forgot at its restart: {row}")
        for name, row in found.items():
            if name not in wanted or not same_words([wanted[name]], [row]):
                self.broken(f"partition {event.partition} started with work the log does not imply: {row}")


def _identity(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """What tells rows apart: a message by its place in the outbox, for the text of a failure in it is the server's."""
    return row[:3] if row[0] == "send" else row
