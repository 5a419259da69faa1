"""P20, no afterlife: nothing of an attempt goes on at its endpoint when the attempt is over.

The function of a step that executes beside the handler is ended with the attempt: the next one may execute it anew,
and both would act outside at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from understudy_sim.stage.happenings import BodyEnded, BodyStarted, StepEnded, StepExecuted
from understudy_sim.stage.watch import Handler, Property


class Afterlife(Property):
    number: ClassVar[str] = "P20"
    claim: ClassVar[str] = "nothing of an attempt outlives it"

    def handlers(self) -> Mapping[type, Handler]:
        self._over: dict[int, None] = {}
        return {
            BodyStarted: lambda _: self.hit("attempts at endpoints"),
            BodyEnded: lambda event: self._over.__setitem__(event.body, None),
            StepExecuted: lambda event: self._look(event, f"step {event.name!r} began"),
            StepEnded: lambda event: self._look(event, "a step ended"),
        }

    def _look(self, event: StepExecuted | StepEnded, what: str) -> None:
        if event.attempt in self._over:
            id_ = event.invocation_id
            self.broken(f"{what} for attempt {event.attempt} of {id_} at its endpoint, which was over", id_)
