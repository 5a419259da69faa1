"""P16, it gets on: nobody spins.  A run that would never end is called off, and who spins is named.

- Steps: more than `STEPS_MAX` of them within a second of virtual time without a durable record.  One step that never
  ends is broken off, too.
- Leases: an invocation that is taken up `LEASES_MAX` times running without a new entry in its journal.  Whoever is
  resumed is resumed for something.
- Records: `RECORDS_MAX` of them running, and nothing was accepted, journaled, written or ended.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping
from types import FrameType
from typing import Any, ClassVar, Final

from understudy_runtime.model.actions import StartAttempt
from understudy_runtime.model.events import LeadershipTaken
from understudy_runtime.model.invocation import Status

from understudy_sim.kernel.loop import Ending, Loop
from understudy_sim.kernel.spin import Pace, busiest
from understudy_sim.stage.chronicle_words import target_text
from understudy_sim.stage.endpoint import served_in
from understudy_sim.stage.happenings import Step
from understudy_sim.stage.watch import Handler, Property

STEPS_MAX: Final = 20_000
LEASES_MAX: Final = 8
RECORDS_MAX: Final = 3_000


class Progress(Property):
    number: ClassVar[str] = "P16"
    claim: ClassVar[str] = "what runs gets on"

    def handlers(self) -> Mapping[type, Handler]:
        self._loop: Loop | None = None
        self._pace: Pace | None = None
        self._leases: dict[str, tuple[int, int]] = {}  # invocation -> (entries when it was taken up, times running)
        self._idle_records = 0
        return {Step: self._step, LeadershipTaken: lambda _: self._moved()}

    def watches(self, loop: Loop) -> None:
        """Look at the run of *loop* now and then."""
        self._loop, self._pace = loop, Pace(loop, STEPS_MAX)
        loop.look = self._look
        loop.spun = self._spun

    def _look(self) -> None:
        assert self._pace is not None, "it watches a loop"
        if self._pace.look():
            self._spins(f"{STEPS_MAX} steps within a second, and no record was written")

    def _spun(self, place: str) -> None:
        handler = self._handler_in(frame for frame, _ in traceback.walk_stack(None))
        self.broken(f"one step never ends: it was broken off in {place}{', ' if handler else ''}{handler}")

    def _about(self, task: Any) -> str:
        """Whose handler a task runs, or belongs to."""
        while task is not None:
            handler = self._handler_in(frame for frame, _ in task.iter_await_frames())
            if handler:
                return handler
            task = task.parent_nursery.parent_task if task.parent_nursery is not None else None
        return ""

    def _handler_in(self, frames: Iterable[FrameType]) -> str:
        invocation_id = served_in(frames)
        command = self.truth.commands.get(invocation_id)
        handler = target_text(command.target) if command is not None else ""
        return f"in the handler of {handler} ({invocation_id})" if invocation_id else ""

    def _spins(self, what: str, invocation_id: str = "") -> None:
        assert self._loop is not None, "it watches a loop"
        who = "".join(f"\n  {line}" for line in busiest(self._loop, self._about))
        self.broken(f"{what}{who}", invocation_id)
        self._loop.stop(Ending.SPINS)

    def _moved(self) -> None:
        self._idle_records = 0

    def _step(self, step: Step) -> None:
        if self._pace is not None:
            self._pace.mark()
        self.hit("records looked at")
        effects = step.effects
        if effects.accepted or effects.completed or effects.keys:
            self._moved()
        self._idle_records += 1
        model = self.truth.models[step.partition]
        for id_ in effects.invocations:
            inv = model.invocations.get(id_)
            if inv is None or inv.status is Status.PAUSED:
                self._leases.pop(id_, None)  # Over, or an operator's: he may take it up as often as he likes.
                self._moved()
        for action in step.actions:
            if type(action) is StartAttempt:
                self._taken_up(step.partition, action.invocation_id)
        if self._idle_records > RECORDS_MAX:
            kind = type(step.record.command).__name__
            self._spins(f"{RECORDS_MAX} records of partition {step.partition} moved nothing, the last one a {kind}")

    def _taken_up(self, partition: int, invocation_id: str) -> None:
        inv = self.truth.models[partition].invocations.get(invocation_id)
        if inv is None:
            return
        entries, times = self._leases.get(invocation_id, (-1, 0))
        if len(inv.journal) != entries:
            self._leases[invocation_id] = (len(inv.journal), 1)
            self._moved()
            return
        self.hit("taken up again")
        self._leases[invocation_id] = (entries, times + 1)
        if times + 1 >= LEASES_MAX:
            self._spins(
                f"{invocation_id} was taken up {times + 1} times running, and its journal has {entries} entries still",
                invocation_id,
            )
