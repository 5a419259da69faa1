"""The one event vocabulary: trace, logs, metrics and checkers are views of these.

A part that did something worth telling calls `observe(event)`; observers never answer and never raise.  Events carry
ids,
numbers and names, never payloads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from understudy_runtime.model.actions import Action
from understudy_runtime.model.commands import Record
from understudy_runtime.model.values import frozen


@frozen
class Committed:
    """Records are durable in the partition's log and about to be applied."""

    partition: int
    records: Sequence[Record]


@frozen
class Applied:
    """One record was applied and yielded *actions* (performed unless the partition replays)."""

    partition: int
    record: Record
    actions: Sequence[Action]
    replaying: bool


@frozen
class LeadershipTaken:
    """Recovery is over: the leader of *epoch* starts with this outstanding work."""

    partition: int
    epoch: int
    lsn_last: int
    outstanding: Sequence[Action]


@frozen
class LogTailCut:
    """Recovery found an incomplete last frame and cut it: it was never acknowledged."""

    log: str
    bytes_cut: int


@frozen
class StorageFlushed:
    partition: int
    applied_lsn: int
    rows: int


@frozen
class SnapshotWritten:
    """A snapshot of everything up to record *lsn* is durable."""

    partition: int
    lsn: int
    rows: int
    bytes: int


@frozen
class SnapshotAbandoned:
    """A snapshot was given up because the medium has no room; the log keeps what it would have let go."""

    partition: int
    lsn: int
    reason: str


@frozen
class LogTrimmed:
    """Segments of the log that a snapshot stands for are gone: the first record left is *lsn_first*."""

    partition: int
    lsn_first: int
    segments: int
    bytes: int


@frozen
class StorageRestored:
    """The store could not serve (*reason*) and was rebuilt from the snapshot at *lsn*; 0: from the log alone."""

    partition: int
    lsn: int
    reason: str


@frozen
class AttemptStarted:
    """`retry_count` is what the endpoint is told: failed attempts that reached one since a command was stored."""

    partition: int
    invocation_id: str
    lease: int
    attempt: int
    known_entries: int
    retry_count: int = 0


@frozen
class AttemptEnded:
    """`how`: finished, suspended, failed, lost (stream broke), aborted, rejected (never reached the endpoint).

    `code` is that of the failure, 0 without one.
    """

    partition: int
    invocation_id: str
    lease: int
    attempt: int
    how: str
    detail: str = ""
    code: int = 0


@frozen
class AttemptParked:
    """There is nowhere to run an invocation: it waits until there is, or somebody moves or ends it."""

    partition: int
    invocation_id: str
    lease: int
    reason: str


@frozen
class WorkParked:
    """At the start: *counts* says how many invocations are bound to a deployment that cannot be reached, by its id."""

    counts: tuple[tuple[str, int], ...]


@frozen
class RetryScheduled:
    """A failed attempt is followed by another, after so long.  *failures* of this lease led to it by the policy; 0: the
    endpoint itself asked for the delay.
    """

    partition: int
    invocation_id: str
    lease: int
    delay_ms: int
    failures: int = 0


@frozen
class RequestReceived:
    """The ingress took a request in; `request_id` is node-local."""

    request_id: int
    method: str
    path: str


@frozen
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
    | SnapshotWritten
    | SnapshotAbandoned
    | LogTrimmed
    | StorageRestored
    | AttemptStarted
    | AttemptEnded
    | AttemptParked
    | WorkParked
    | RetryScheduled
    | RequestReceived
    | RequestAnswered
)

Observe = Callable[[Event], None]
