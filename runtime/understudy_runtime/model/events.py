"""The one event vocabulary: trace, logs, metrics and checkers are views of these.

A part that did something worth telling calls `observe(event)`; observers never answer and never raise.  Events carry
ids,
numbers and names, never payloads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from understudy_runtime.model.actions import Action
from understudy_runtime.model.commands import Record


@attrs.frozen
class Committed:
    """Records are durable in the partition's log and about to be applied."""

    partition: int
    records: Sequence[Record]


@attrs.frozen
class Applied:
    """One record was applied and yielded *actions* (performed unless the partition replays)."""

    partition: int
    record: Record
    actions: Sequence[Action]
    replaying: bool


@attrs.frozen
class LeadershipTaken:
    """Recovery is over: the leader of *epoch* starts with this outstanding work."""

    partition: int
    epoch: int
    lsn_last: int
    outstanding: Sequence[Action]


@attrs.frozen
class LogTailCut:
    """Recovery found an incomplete last frame and cut it: it was never acknowledged."""

    log: str
    bytes_cut: int


@attrs.frozen
class StorageFlushed:
    partition: int
    applied_lsn: int
    rows: int


@attrs.frozen
class AttemptStarted:
    partition: int
    invocation_id: str
    lease: int
    attempt: int
    known_entries: int


@attrs.frozen
class AttemptEnded:
    """`how`: finished, suspended, failed, lost (stream broke), aborted, rejected (never reached the endpoint)."""

    partition: int
    invocation_id: str
    lease: int
    attempt: int
    how: str
    detail: str = ""


@attrs.frozen
class RetryScheduled:
    partition: int
    invocation_id: str
    lease: int
    delay_ms: int


@attrs.frozen
class RequestReceived:
    """The ingress took a request in; `request_id` is node-local."""

    request_id: int
    method: str
    path: str


@attrs.frozen
class RequestAnswered:
    request_id: int
    status: int
    source: str
    invocation_id: str


Event = (
    Committed
    | Applied
    | LeadershipTaken
    | LogTailCut
    | StorageFlushed
    | AttemptStarted
    | AttemptEnded
    | RetryScheduled
    | RequestReceived
    | RequestAnswered
)

Observe = Callable[[Event], None]
