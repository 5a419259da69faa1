"""Events as structured log lines: a level and fields for each kind that is worth one.  Never payloads, keys or headers.

Pure: `log_line` says what a line holds; who writes it, and in which form, is the command line's business.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final

import attrs

from understudy_runtime.model.events import (
    AttemptEnded,
    AttemptParked,
    AttemptStarted,
    Event,
    LeadershipTaken,
    LogTailCut,
    LogTrimmed,
    RequestAnswered,
    RetryScheduled,
    SnapshotAbandoned,
    SnapshotWritten,
    StorageFlushed,
    StorageRestored,
    WorkParked,
)

DETAIL_CHARS_MAX: Final = 500
WAYS_OUT: Final = (
    "start that version again, resume them with ?deployment=latest (`understudy check` first), or kill them"
)
# How attempts end that somebody should hear of.
BAD_ENDS: Final = ("failed", "lost", "rejected")
# What lines are about; filters name these.  `server` and `handler` lines come from the command line itself.
TARGETS: Final = ("server", "handler", "partition", "log", "storage", "invoker", "ingress")


@attrs.frozen
class Line:
    """One log line: `level` is debug, info or warning, `target` one of TARGETS."""

    level: str
    target: str
    event: str
    fields: dict[str, Any]


def leadership_taken(event: LeadershipTaken) -> Line:
    return Line(
        "info",
        "partition",
        "leadership taken",
        {
            "partition": event.partition,
            "epoch": event.epoch,
            "lsn_last": event.lsn_last,
            "outstanding": len(event.outstanding),
        },
    )


def tail_cut(event: LogTailCut) -> Line:
    return Line(
        "warning", "log", "incomplete last frame cut from the log", {"log": event.log, "bytes": event.bytes_cut}
    )


def storage_flushed(event: StorageFlushed) -> Line:
    fields = {"partition": event.partition, "applied_lsn": event.applied_lsn, "rows": event.rows}
    return Line("debug", "storage", "storage flushed", fields)


def snapshot_written(event: SnapshotWritten) -> Line:
    fields = {"partition": event.partition, "lsn": event.lsn, "rows": event.rows, "bytes": event.bytes}
    return Line("info", "partition", "snapshot written", fields)


def snapshot_abandoned(event: SnapshotAbandoned) -> Line:
    fields = {"partition": event.partition, "lsn": event.lsn, "reason": event.reason}
    return Line("warning", "partition", "snapshot given up: the log cannot be trimmed", fields)


def log_trimmed(event: LogTrimmed) -> Line:
    fields = {"partition": event.partition, "lsn_first": event.lsn_first, "bytes": event.bytes}
    return Line("info", "partition", "log trimmed", fields)


def storage_restored(event: StorageRestored) -> Line:
    fields = {"partition": event.partition, "lsn": event.lsn, "reason": event.reason}
    return Line("warning", "partition", "store rebuilt", fields)


def attempt_started(event: AttemptStarted) -> Line:
    fields = {"invocation": event.invocation_id, "attempt": event.attempt, "known_entries": event.known_entries}
    return Line("debug", "invoker", "attempt started", fields)


def attempt_ended(event: AttemptEnded) -> Line:
    bad = event.how in BAD_ENDS
    fields: dict[str, Any] = {"invocation": event.invocation_id, "attempt": event.attempt, "how": event.how}
    if event.detail:
        fields["detail"] = event.detail[:DETAIL_CHARS_MAX]
    return Line("warning" if bad else "debug", "invoker", "attempt ended", fields)


def attempt_parked(event: AttemptParked) -> Line:
    return Line("debug", "invoker", "parked", {"invocation": event.invocation_id, "reason": event.reason})


def work_parked(event: WorkParked) -> Line:
    fields = {
        "invocations": sum(count for _, count in event.counts),
        "versions": dict(event.counts),
        "ways_out": WAYS_OUT,
    }
    return Line("warning", "invoker", "parked: they began on versions that do not run here", fields)


def retry_scheduled(event: RetryScheduled) -> Line:
    fields = {"invocation": event.invocation_id, "delay_ms": event.delay_ms}
    return Line("info", "invoker", "retry scheduled", fields)


def request_answered(event: RequestAnswered) -> Line:
    fields: dict[str, Any] = {"request": event.request_id, "status": event.status}
    if event.invocation_id:
        fields["invocation"] = event.invocation_id
    return Line("debug", "ingress", "request answered", fields)


LINES: Final = MappingProxyType[type, Callable[[Any], Line]](
    {
        LeadershipTaken: leadership_taken,
        LogTailCut: tail_cut,
        StorageFlushed: storage_flushed,
        SnapshotWritten: snapshot_written,
        SnapshotAbandoned: snapshot_abandoned,
        LogTrimmed: log_trimmed,
        StorageRestored: storage_restored,
        AttemptStarted: attempt_started,
        AttemptEnded: attempt_ended,
        AttemptParked: attempt_parked,
        WorkParked: work_parked,
        RetryScheduled: retry_scheduled,
        RequestAnswered: request_answered,
    }
)


def log_line(event: Event) -> Line | None:
    """The line of *event*; None for the kinds that are too many to log (records)."""
    make = LINES.get(type(event))
    return None if make is None else make(event)


def is_routine(event: Event) -> bool:
    """Whether *event* belongs to every request that goes well: its line, if any, is for debugging.  Cheap to ask."""
    kind = type(event)
    return kind in ROUTINE and (kind is not AttemptEnded or event.how not in BAD_ENDS)  # type: ignore[union-attr]


ROUTINE: Final = frozenset({StorageFlushed, AttemptStarted, AttemptEnded, AttemptParked, RequestAnswered})
