"""The life of one invocation, as its partition sees it.

Rule 1: every status change is a row of TRANSITIONS, made by `advance`; no other module assigns a status.
Rule 2: this module knows nothing of locks, journals, timers or storage.

FREE is the absence of a row.  INVOKED means that an executor owns the invocation (ready, running or backing off).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from understudy_runtime.machine.invocation import Invocation
from understudy_runtime.model.invocation import Status


class StatusEvent(IntEnum):
    """What happens to an invocation."""

    SCHEDULED = 1  # Its start lies in the future.
    ENQUEUED = 2  # Its object's lock is taken.
    STARTED = 3  # It has its lock, or needs none.
    SUSPENDED = 4  # Its attempt waits for completions or signals and has ended.
    RESUMED = 5  # What it waited for is there, or it is to try again at once.
    PAUSED = 6  # Its retry policy ran out and asks for a human, or a human said so.
    FINISHED = 7  # Its handler has a result, or its retry policy ran out.
    TERMINATED = 8  # It was cancelled or refused before it started, or killed.
    PURGED = 9  # Its result is no longer kept.


TRANSITIONS: Final[Mapping[Status, Mapping[StatusEvent, Status]]] = MappingProxyType(
    {
        Status.FREE: MappingProxyType(
            {
                StatusEvent.SCHEDULED: Status.SCHEDULED,
                StatusEvent.ENQUEUED: Status.INBOXED,
                StatusEvent.STARTED: Status.INVOKED,
            }
        ),
        Status.SCHEDULED: MappingProxyType(
            {
                StatusEvent.ENQUEUED: Status.INBOXED,
                StatusEvent.STARTED: Status.INVOKED,
                StatusEvent.TERMINATED: Status.COMPLETED,
            }
        ),
        Status.INBOXED: MappingProxyType(
            {
                StatusEvent.STARTED: Status.INVOKED,
                StatusEvent.TERMINATED: Status.COMPLETED,
            }
        ),
        Status.INVOKED: MappingProxyType(
            {
                StatusEvent.SUSPENDED: Status.SUSPENDED,
                StatusEvent.RESUMED: Status.INVOKED,
                StatusEvent.PAUSED: Status.PAUSED,
                StatusEvent.FINISHED: Status.COMPLETED,
                StatusEvent.TERMINATED: Status.COMPLETED,
            }
        ),
        Status.SUSPENDED: MappingProxyType(
            {
                StatusEvent.RESUMED: Status.INVOKED,
                StatusEvent.PAUSED: Status.PAUSED,
                StatusEvent.TERMINATED: Status.COMPLETED,
            }
        ),
        Status.PAUSED: MappingProxyType(
            {
                StatusEvent.RESUMED: Status.INVOKED,
                StatusEvent.TERMINATED: Status.COMPLETED,
            }
        ),
        Status.COMPLETED: MappingProxyType(
            {
                StatusEvent.PURGED: Status.FREE,
            }
        ),
    }
)

# Not yet started: no lock, no attempt.
WAITING: Final = (Status.SCHEDULED, Status.INBOXED)
# From the first start to the end: an exclusive invocation holds its object's lock.
HOLDING: Final = (Status.INVOKED, Status.SUSPENDED, Status.PAUSED)


def advance(invocation: Invocation, event: StatusEvent) -> None:
    """Move *invocation* to the status that *event* leads to.  An event its status has no row for is a bug."""
    row = TRANSITIONS[invocation.status]
    assert event in row, f"{invocation.status.name} has no way for {event.name} ({invocation.id})"
    invocation.status = row[event]
