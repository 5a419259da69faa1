"""How long a result and its journal are kept: resolved by whoever proposes the request, written into the command.

A result is kept for those who can ask for it again: callers with an idempotency key, whoever was given the id of a
send, and everybody in the case of a workflow's run.  Any other result is kept as long as its journal.
"""

from __future__ import annotations

from typing import NamedTuple

from understudy_runtime.limits import Limits
from understudy_runtime.model.invocation import HandlerType
from understudy_runtime.model.schema import Handler


class Retention(NamedTuple):
    """Milliseconds after completion; 0 keeps nothing.  A journal is kept no longer than its result."""

    result_ms: int
    journal_ms: int


def retention_of(handler: Handler, limits: Limits, *, can_ask_again: bool) -> Retention:
    """What is kept of a request to *handler*; *can_ask_again*: its caller has a key or an id to ask by."""
    options = handler.options
    journal_ms = limits.journal_retention_ms if options.journal_retention_ms is None else options.journal_retention_ms
    if handler.type is HandlerType.WORKFLOW:
        result_ms = options.workflow_retention_ms
        if result_ms is None:
            result_ms = limits.workflow_retention_ms
    elif can_ask_again:
        result_ms = options.idempotency_retention_ms
    else:
        return Retention(journal_ms, journal_ms)
    if result_ms is None:
        result_ms = limits.completion_retention_ms
    return Retention(result_ms, min(journal_ms, result_ms))
