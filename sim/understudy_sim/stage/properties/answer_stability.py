"""P4, answer stability: two answers with source `invocation` for one invocation id are equal while it is retained.

Not meant: the 409 of a second workflow run, errors of the ingress itself, 470 (not ready), and the 404 of an attach to
what is not known (any more).  An id that was purged and lives again has an answer in each of its lives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from understudy_runtime.model.invocation import Failure, HandlerType

from understudy_sim.stage.happenings import Answered
from understudy_sim.stage.history import Answer
from understudy_sim.stage.watch import Handler, Property

NOT_READY = 470
NOT_FOUND = 404
CONFLICT = 409


class AnswerStability(Property):
    number: ClassVar[str] = "P4"
    claim: ClassVar[str] = "an invocation has one answer"

    def handlers(self) -> Mapping[type, Handler]:
        self._first: dict[str, Answer] = {}
        return {Answered: self._answered}

    def _answered(self, event: Answered) -> None:
        answer = event.answer
        if not answer.of_invocation or answer.status == NOT_READY or self._is_of_asking(event):
            return
        lives = len(self.truth.endings.get(answer.invocation_id, ()))
        first = self._first.setdefault(answer.invocation_id, answer)
        if first is answer or lives > 1:
            return
        self.hit("answers compared")
        if (first.status, first.body) != (answer.status, answer.body):
            self.broken(
                f"{answer.invocation_id} answered {first.status} {first.body[:80]!r} "
                f"and later {answer.status} {answer.body[:80]!r}",
                answer.invocation_id,
            )

    def _is_of_asking(self, event: Answered) -> bool:
        """Whether the answer is about the question, not about the invocation: it was not found, or ran already."""
        answer = event.answer
        result = self.truth.results.get(answer.invocation_id)
        if isinstance(result, Failure) and result.code == answer.status:
            return False
        if event.asked.attach is not None:
            return answer.status == NOT_FOUND
        command = self.truth.commands.get(answer.invocation_id)
        is_run = command is not None and command.handler_type is HandlerType.WORKFLOW
        return is_run and answer.status == CONFLICT
