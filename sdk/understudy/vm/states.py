"""The life of one attempt as the SDK sees it: states, events, and the one table of what follows what.

An event that is not in a state's row is not allowed there; `VM` turns that into a ProtocolViolation when the
peer caused it and into an assertion when we did.
"""

from __future__ import annotations

from enum import IntEnum, auto
from types import MappingProxyType
from typing import Final


class State(IntEnum):
    """Where an attempt is."""

    WAITING_START = auto()
    """Nothing has arrived."""
    WAITING_REPLAY = auto()
    """The start message arrived; known entries are being collected; the handler has not begun."""
    REPLAYING = auto()
    """The handler runs and its operations are compared with the journal."""
    PROCESSING = auto()
    """The journal is used up: operations are new and go out."""
    CLOSED = auto()
    """The last message is written, or the attempt was cut off."""


class Event(IntEnum):
    """What can happen to an attempt."""

    START_RECEIVED = auto()
    COMMAND_RECEIVED = auto()
    NOTIFICATION_RECEIVED = auto()
    JOURNAL_RECEIVED = auto()
    """The last of the known entries is here."""
    INPUT_CLOSED = auto()
    COMMAND_REPLAYED = auto()
    """An operation took a recorded command that was not the last."""
    JOURNAL_REPLAYED = auto()
    """An operation took the last recorded command."""
    COMMAND_ISSUED = auto()
    """An operation issued a new command."""
    ENDED = auto()
    SUSPENDED = auto()
    FAILED = auto()
    ABORTED = auto()


_S = State
_E = Event

TRANSITIONS: Final = MappingProxyType(
    {
        _S.WAITING_START: MappingProxyType(
            {
                _E.START_RECEIVED: _S.WAITING_REPLAY,
                _E.FAILED: _S.CLOSED,
                _E.ABORTED: _S.CLOSED,
            }
        ),
        _S.WAITING_REPLAY: MappingProxyType(
            {
                _E.COMMAND_RECEIVED: _S.WAITING_REPLAY,
                _E.NOTIFICATION_RECEIVED: _S.WAITING_REPLAY,
                _E.JOURNAL_RECEIVED: _S.REPLAYING,
                _E.FAILED: _S.CLOSED,
                _E.ABORTED: _S.CLOSED,
            }
        ),
        _S.REPLAYING: MappingProxyType(
            {
                _E.NOTIFICATION_RECEIVED: _S.REPLAYING,
                _E.INPUT_CLOSED: _S.REPLAYING,
                _E.COMMAND_REPLAYED: _S.REPLAYING,
                _E.JOURNAL_REPLAYED: _S.PROCESSING,
                _E.FAILED: _S.CLOSED,
                _E.ABORTED: _S.CLOSED,
            }
        ),
        _S.PROCESSING: MappingProxyType(
            {
                _E.NOTIFICATION_RECEIVED: _S.PROCESSING,
                _E.INPUT_CLOSED: _S.PROCESSING,
                _E.COMMAND_ISSUED: _S.PROCESSING,
                _E.ENDED: _S.CLOSED,
                _E.SUSPENDED: _S.CLOSED,
                _E.FAILED: _S.CLOSED,
                _E.ABORTED: _S.CLOSED,
            }
        ),
        _S.CLOSED: MappingProxyType(
            {
                _E.START_RECEIVED: _S.CLOSED,
                _E.COMMAND_RECEIVED: _S.CLOSED,
                _E.NOTIFICATION_RECEIVED: _S.CLOSED,
                _E.INPUT_CLOSED: _S.CLOSED,
                _E.ABORTED: _S.CLOSED,
            }
        ),
    }
)
"""``{state: {event: next state}}``.  A closed attempt ignores its input and can be cut off again."""
