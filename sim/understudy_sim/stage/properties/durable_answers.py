"""P12, acknowledged is durable: what a client was told happened is in the log, after any allowed power cut.

Also: a record that was durable once is the same record for every later leader; what was accepted, and is kept, is
found by whoever attaches to it; and what is over is not said to be unfinished.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from understudy_runtime.model.events import LeadershipTaken
from understudy_runtime.model.invocation import Failure, Result, Success

from understudy_sim.stage.happenings import Answered, Replayed, Step
from understudy_sim.stage.watch import Handler, Property

NOT_FOUND = 404
CONFLICT = 409
NOT_READY = 470


class DurableAnswers(Property):
    number: ClassVar[str] = "P12"
    claim: ClassVar[str] = "what was acknowledged is durable"

    def handlers(self) -> Mapping[type, Handler]:
        self._lives: dict[str, int] = {}
        self._first: dict[str, int] = {}  # how many were told that theirs was the first request
        self._accepted_ns: dict[str, int] = {}  # when the present life of each invocation began
        self._ended_ns: dict[str, int] = {}  # when those that are over ended
        return {
            Step: self._step,
            Answered: self._answered,
            Replayed: self._replayed,
            LeadershipTaken: self._leadership_taken,
        }

    def _step(self, step: Step) -> None:
        for command in step.effects.accepted:
            self._accepted_ns[command.invocation_id] = self.watch.now_ns
            self._lives[command.invocation_id] = self._lives.get(command.invocation_id, 0) + 1
            self._ended_ns.pop(command.invocation_id, None)
        for id_ in step.effects.completed:
            self._ended_ns[id_] = self.watch.now_ns

    def _answered(self, event: Answered) -> None:
        id_ = event.answer.invocation_id
        if event.asked.attach is not None and event.answer.status == NOT_FOUND:
            self._not_found(event)
            return
        if event.asked.attach is not None and event.answer.status == NOT_READY:
            self._not_ready(event)
            return
        if not id_ or event.answer.source == "ingress":
            return
        self.hit("acknowledgements looked up")
        if id_ not in self.truth.commands:
            self.broken(f"a client was told of {id_} ({event.asked.call}), but no durable record accepts it", id_)
            return
        if event.answer.status == 200:
            self._compare(id_, event.answer.body, self.truth.endings.get(id_, ()))
        elif event.answer.source == "invocation":
            self._compare_failure(id_, event)
        elif event.answer.status == 202:
            self._compare_acknowledgement(id_, event)

    def _compare(self, id_: str, told: bytes, results: Sequence[Result]) -> None:
        if not any(isinstance(result, Success) and result.value == told for result in results):
            self.broken(f"a client was told {id_} answered {told[:80]!r}; the durable result is {results!r}", id_)

    def _compare_failure(self, id_: str, event: Answered) -> None:
        """A failure is answered with its code, unless the answer is about the question: it ran before, it is gone."""
        told = event.answer.status
        if told in (CONFLICT, NOT_FOUND):
            return
        codes = [result.code for result in self.truth.endings.get(id_, ()) if isinstance(result, Failure)]
        self.hit("failures looked up")
        if not any(code == told or not 200 <= code <= 999 for code in codes):
            self.broken(f"a client was told {id_} failed with {told}; the durable results have {codes}", id_)

    def _compare_acknowledgement(self, id_: str, event: Answered) -> None:
        """Only one who asks is told that his request was the first."""
        if b'"status":"Accepted"' not in event.answer.body.replace(b" ", b""):
            return
        lives = self._lives.get(id_, 0)
        count = self._first[id_] = self._first.get(id_, 0) + 1
        if count > lives:
            self.broken(f"{count} requests were told to be the first for {id_}, which began {lives} times", id_)

    def _not_found(self, event: Answered) -> None:
        """Nothing was there to attach to: then it was purged, or its time was over, or it never was."""
        self.hit("attached to nothing")
        id_ = event.asked.invocation_id
        is_kept = any(id_ in model.invocations for model in self.truth.models)
        if is_kept and self._accepted_ns[id_] <= event.asked.asked_ns:
            self.broken(f"{event.asked.operation}: {id_} was accepted before and is kept, and was not found", id_)

    def _not_ready(self, event: Answered) -> None:
        """Nothing was there to be told yet: then it was not over when it was asked for."""
        self.hit("asked too early")
        id_ = event.asked.invocation_id
        if self._ended_ns.get(id_, event.asked.asked_ns) < event.asked.asked_ns:
            self.broken(f"{event.asked.operation}: {id_} had ended before, and was said not to be ready", id_)

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
