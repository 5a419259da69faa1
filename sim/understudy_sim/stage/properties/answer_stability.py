"""P4, answer stability: two answers with source `invocation` for one invocation id are equal while it is retained.

Not meant: the 409 of a second workflow run, errors of the ingress itself, and 470 (not ready).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from understudy_sim.stage.happenings import Answered
from understudy_sim.stage.history import Answer
from understudy_sim.stage.watch import Handler, Property

NOT_READY = 470


class AnswerStability(Property):
    number: ClassVar[str] = "P4"
    claim: ClassVar[str] = "an invocation has one answer"

    def handlers(self) -> Mapping[type, Handler]:
        self._first: dict[str, Answer] = {}
        return {Answered: self._answered}

    def _answered(self, event: Answered) -> None:
        answer = event.answer
        if not answer.of_invocation or answer.status == NOT_READY:
            return
        first = self._first.setdefault(answer.invocation_id, answer)
        if first is answer:
            return
        self.hit("answers compared")
        if (first.status, first.body) != (answer.status, answer.body):
            self.broken(
                f"{answer.invocation_id} answered {first.status} {first.body[:80]!r} "
                f"and later {answer.status} {answer.body[:80]!r}",
                answer.invocation_id,
            )
