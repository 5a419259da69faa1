"""P12, acknowledged is durable: what a client was told happened is in the log, after any allowed power cut.

Also: a record that was durable once is the same record for every later leader.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from understudy_runtime.model.events import LeadershipTaken
from understudy_runtime.model.invocation import Result, Success

from understudy_sim.stage.happenings import Answered, Replayed
from understudy_sim.stage.watch import Handler, Property


class DurableAnswers(Property):
    number: ClassVar[str] = "P12"
    claim: ClassVar[str] = "what was acknowledged is durable"

    def handlers(self) -> Mapping[type, Handler]:
        return {Answered: self._answered, Replayed: self._replayed, LeadershipTaken: self._leadership_taken}

    def _answered(self, event: Answered) -> None:
        id_ = event.answer.invocation_id
        if not id_ or event.answer.source == "ingress":
            return
        self.hit("acknowledgements looked up")
        if id_ not in self.truth.commands:
            self.broken(f"a client was told of {id_} ({event.asked.call}), but no durable record accepts it", id_)
            return
        if event.answer.status == 200:
            self._compare(id_, event.answer.body, self.truth.results.get(id_))

    def _compare(self, id_: str, told: bytes, result: Result | None) -> None:
        if not isinstance(result, Success) or result.value != told:
            self.broken(f"a client was told {id_} answered {told[:80]!r}; the durable result is {result!r}", id_)

    def _replayed(self, event: Replayed) -> None:
        self.hit("records read back")
        if event.record != event.known:
            self.broken(
                f"record {event.record.lsn} of partition {event.partition} was {event.known.command!r} "
                f"and is {event.record.command!r} after a restart"
            )

    def _leadership_taken(self, event: LeadershipTaken) -> None:
        known = len(self.truth.records[event.partition])
        if event.lsn_last < known:
            self.broken(
                f"partition {event.partition} had {known} durable records and starts again with {event.lsn_last}"
            )
