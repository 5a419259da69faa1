"""P9, timers: the record of a firing timer is not stamped before the time it was due, and it fires once.

The wall clock may go back between the moment a timer is found due and the stamp: such a record fires nothing, its timer
is armed again.  At the end of the quiet phase no timer is left that is due.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from understudy_runtime.model.actions import ArmTimer, DisarmTimer
from understudy_runtime.model.commands import TimerFired

from understudy_sim.stage.happenings import Step
from understudy_sim.stage.watch import Handler, Property


class Timers(Property):
    number: ClassVar[str] = "P9"
    grace_ms: ClassVar[int] = 90_000  # A leader looks at its wall clock more often than this.
    claim: ClassVar[str] = "a timer fires once, not early and not never"

    def handlers(self) -> Mapping[type, Handler]:
        self._due: dict[tuple[int, int], int] = {}
        self._fired: dict[tuple[int, int], int] = {}
        self._now_ms: dict[int, int] = {}
        return {Step: self._step}

    def _step(self, step: Step) -> None:
        self._now_ms[step.partition] = step.record.time_ms
        if type(step.record.command) is TimerFired:
            self._check_fired(step, step.record.command)
        for action in step.actions:
            if type(action) is ArmTimer:
                self._due[step.partition, action.timer_id] = action.due_ms
            elif type(action) is DisarmTimer:
                self._due.pop((step.partition, action.timer_id), None)

    def _check_fired(self, step: Step, command: TimerFired) -> None:
        key = (step.partition, command.timer_id)
        due_ms = self._due.pop(key, None)
        self.hit("timers fired")
        if due_ms is None:
            # Allowed only for a timer that was disarmed meanwhile; it must do nothing then.
            if step.actions:
                self.broken(f"timer {command.timer_id} of partition {step.partition} fired again and was heard")
            return
        if step.record.time_ms < due_ms:
            if tuple(step.actions) == (ArmTimer(due_ms, command.timer_id),):
                self.hit("timers armed again by a clock gone back")
                return
            self.broken(
                f"timer {command.timer_id} of partition {step.partition} fired {due_ms - step.record.time_ms} ms early"
            )

    def left(self, now_ms: int) -> list[str]:
        """Timers that are due at *now_ms* and have not fired."""
        return [
            f"timer {timer_id} of partition {partition} was due {now_ms - due_ms} ms ago and has not fired"
            for (partition, timer_id), due_ms in self._due.items()
            if due_ms <= now_ms
        ]
