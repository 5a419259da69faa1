"""What clients saw: one `Asked` per call, what was answered to each try, and when.

A call that was never answered is *unknown*: it may have happened or not, and no checker guesses.
"""

from __future__ import annotations

import enum
import json
from typing import Any

import attrs

from understudy_sim.stage.operations import Act, Attach, Call


class Fate(enum.Enum):
    WAITING = "not answered yet"
    ANSWERED = "answered"
    UNKNOWN = "given up without an answer: it may have happened"


@attrs.frozen
class Answer:
    """One answer as the client read it.  `source` is invocation, ingress, or empty for a success or a 202."""

    at_ns: int
    status: int
    body: bytes
    invocation_id: str
    source: str

    @property
    def value(self) -> Any:
        """Its JSON; None when it has no body."""
        return json.loads(self.body) if self.body else None

    @property
    def of_invocation(self) -> bool:
        """Whether this is an invocation's result (P4), not an acknowledgement or the ingress's own error."""
        return bool(self.invocation_id) and self.status != 202 and self.source != "ingress"


@attrs.define
class Asked:
    """One call and its tries.  Times are virtual nanoseconds.

    With `attach` it is a question for the result of *call*, which somebody else (or the same client) asked for.
    `invocation_id` is what it asks for; empty for a call without a key, which nobody can name before it is answered.
    """

    ordinal: int
    call: Call
    idempotency_key: str
    asked_ns: int
    attach: Attach | None = None
    invocation_id: str = ""
    tries: int = 0
    fate: Fate = Fate.WAITING
    answers: list[Answer] = attrs.Factory(list)

    @property
    def operation(self) -> Call | Attach:
        """What the client did."""
        return self.call if self.attach is None else self.attach

    @property
    def answer(self) -> Answer | None:
        """The answer that ended it."""
        return self.answers[-1] if self.fate is Fate.ANSWERED else None


@attrs.frozen
class Acted:
    """An operator had an answer to *act* on an invocation.  Several tries may have reached the server."""

    at_ns: int
    act: Act
    invocation_id: str
    status: int
    body: bytes
    tries: int


class History:
    """All calls of a run, in the order they were first asked, and what operators did."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.acted: list[Acted] = []

    def ask(
        self, call: Call, idempotency_key: str, now_ns: int, attach: Attach | None = None, invocation_id: str = ""
    ) -> Asked:
        """A client is about to send *call* (or *attach*, which is about it) for the first time."""
        entry = Asked(len(self.asked), call, idempotency_key, now_ns, attach, invocation_id)
        self.asked.append(entry)
        return entry

    def answered(self, entry: Asked, answer: Answer, *, final: bool) -> None:
        """*answer* arrived; *final* when the client asks no more."""
        assert entry.fate is Fate.WAITING, "a call is answered once"
        entry.answers.append(answer)
        if final:
            entry.fate = Fate.ANSWERED

    def gave_up(self, entry: Asked) -> None:
        """The client stopped asking: unknown."""
        assert entry.fate is Fate.WAITING, "an answered call is known"
        entry.fate = Fate.UNKNOWN
