"""Actions: what `apply` wants done outside the tables.  Performed after durability, by the leader only, never replayed.

Each class has one performer in `effects/dispatch.py` (PERFORMERS).  An action about an attempt carries the lease that
owns it.
"""

from __future__ import annotations

import attrs

from understudy_runtime.model.commands import Attach, Cancel, Complete, Invoke, Kill, Signal
from understudy_runtime.model.invocation import Entry, Result
from understudy_runtime.model.values import frozen


@frozen
class StartAttempt:
    """Run the invocation: it became INVOKED under *lease* (also after a resume).

    `birth` tells this life of the id from an earlier one, whose attempt may still be ending.
    """

    invocation_id: str
    lease: int
    birth: int = attrs.field(default=0, eq=False)


@frozen
class AbortAttempt:
    """The lease is revoked (kill, pause): cut the running attempt, drop its pending retry."""

    invocation_id: str
    lease: int


@frozen
class Notify:
    """A notification entry was journaled while an attempt runs: send it down the stream."""

    invocation_id: str
    lease: int
    entry: Entry


@frozen
class ArmTimer:
    due_ms: int
    timer_id: int


@frozen
class DisarmTimer:
    timer_id: int


@frozen
class Send:
    """An outbox row: deliver *message* to the partition that owns it, as Delivered(our partition, *sequence*)."""

    target_partition: int
    sequence: int
    message: Invoke | Complete | Signal | Attach | Cancel | Kill


@frozen
class InvokeAcked:
    """The request *request_id* was applied.  `accepted` False: the id was known before (a repeated request).

    `execution_time_ms` is the stored one.  `conflict`: a workflow's run was called a second time.
    """

    request_id: int
    invocation_id: str
    accepted: bool
    execution_time_ms: int
    conflict: bool = False


@frozen
class RequestAcked:
    """A request other than an Invoke was applied.  `outcome` is one word of the admin's vocabulary:

    accepted, done, not_found, already_completed, not_completed, not_started, not_running, already_paused, not_movable,
    is_workflow, no_journal, old_protocol, bad_prefix.  A MutateState names no invocation: the id is empty.
    """

    request_id: int
    invocation_id: str
    outcome: str


@frozen
class Completed:
    """The invocation has its result.  Ingress requests that wait for it are answered.

    `expires_ms` is when the stored result goes away; 0 when it is not retained.
    """

    invocation_id: str
    result: Result
    expires_ms: int


@frozen
class CheckDeadlock:
    """Somebody in the system began to wait for this invocation, which waits itself: perhaps each for the other."""

    invocation_id: str


Action = (
    StartAttempt
    | AbortAttempt
    | Notify
    | ArmTimer
    | DisarmTimer
    | Send
    | InvokeAcked
    | RequestAcked
    | Completed
    | CheckDeadlock
)
