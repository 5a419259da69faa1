"""How an attempt can end against the handler's will: the codes of the protocol, and the exceptions that carry them.

Everything here derives from BaseException through `AttemptEnded`, so that a handler's `except Exception` does
not keep a dead attempt running.  What a handler is meant to catch (`TerminalError`) is in
`understudy.api.errors`.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

import attrs

CODE_INTERNAL: Final = 500
CODE_JOURNAL_MISMATCH: Final = 570
CODE_PROTOCOL_VIOLATION: Final = 571
CODE_UNSUPPORTED_FEATURE: Final = 573
CODE_CANCELLED: Final = 409

CODES: Final = MappingProxyType(
    {
        CODE_INTERNAL: "the attempt failed and may be tried again",
        CODE_JOURNAL_MISMATCH: "the handler did not repeat the steps its journal records",
        CODE_PROTOCOL_VIOLATION: "the server sent what the protocol does not allow here",
        CODE_UNSUPPORTED_FEATURE: "the negotiated protocol version has no such feature",
    }
)
"""Every code an Error message of ours can carry by itself, and what it says."""


@attrs.frozen
class RelatedCommand:
    """The command an error is about: its index in the journal, its message type and its name (may be empty)."""

    index: int
    type: int
    name: str


class AttemptEnded(BaseException):
    """This attempt is over: no operation of the context works any more and nothing further is journaled."""


class AttemptSuspended(AttemptEnded):
    """The attempt gave its slot back; the server starts another one when something it waits for arrives."""


class AttemptAborted(AttemptEnded):
    """The attempt was cut off from outside (link lost, task cancelled) and left no word behind."""


class AttemptFinished(AttemptEnded):
    """The handler's result is already on its way: the context was kept and used after its handler returned."""


class VmError(AttemptEnded):
    """The attempt failed with one of `CODES` and the server has been (or is being) told so."""

    code = CODE_INTERNAL

    def __init__(
        self,
        message: str,
        *,
        related: RelatedCommand | None = None,
        stacktrace: str = "",
        next_retry_delay_ms: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.related = related
        self.stacktrace = stacktrace
        self.next_retry_delay_ms = next_retry_delay_ms

    def __str__(self) -> str:
        return f"[{self.code}] {self.message}"


class InternalError(VmError):
    """500: a message that cannot be read, an argument that cannot be sent, or a handler that raised."""


class JournalMismatch(VmError):
    """570: the code did something else than the journal of the earlier attempt says it did."""

    code = CODE_JOURNAL_MISMATCH


class ProtocolViolation(VmError):
    """571: the peer broke the protocol."""

    code = CODE_PROTOCOL_VIOLATION


class UnsupportedFeature(VmError):
    """573: the feature needs a later protocol version than the one negotiated."""

    code = CODE_UNSUPPORTED_FEATURE
