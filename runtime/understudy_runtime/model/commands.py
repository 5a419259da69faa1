"""Commands: everything that can change a partition's state, as it lies in the log.

A command is complete: what is not in the partition's own tables (service types, callee ids, retention, policies, seeds)
was resolved by its proposer and written in.  `machine/apply.py` has one handler per class; the log's codec has one tag
per class (COMMAND_TAGS).  Values only, no behaviour.

An invocation id is its text form (`inv_1…`), built once.  Times are epoch milliseconds of the wall clock.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from understudy_runtime.model.fields import numbered
from understudy_runtime.model.invocation import (
    Entry,
    Failure,
    HandlerType,
    Result,
    RetryPolicy,
    ServiceType,
    Target,
)
from understudy_runtime.model.values import frozen


@frozen
class Caller:
    """Who waits for an invocation's result inside the system: the completion *completion_id* of *invocation_id*.

    `birth` is the LSN that accepted the waiting invocation: an id may live again after it was purged.  0: not said.
    """

    invocation_id: str = numbered(1)
    completion_id: int = numbered(2)
    birth: int = numbered(3, default=0)


@frozen
class Invoke:
    """A request: run *target* with *payload*.  Deduplicated by `invocation_id`.

    `request_id` names the ingress request that proposed it (node-local, 0: none); the machine acknowledges it with an
    InvokeAcked action.  `execution_time_ms` 0 means now.  `completion_retention_ms` is how long the result is kept
    after completion (0: freed at once), `journal_retention_ms` how long its journal is; the shorter of the two counts.
    """

    invocation_id: str = numbered(1)
    target: Target = numbered(2)
    service_type: ServiceType = numbered(3)
    handler_type: HandlerType = numbered(4)
    payload: bytes = numbered(5)
    headers: tuple[tuple[str, str], ...] = numbered(6, default=())
    idempotency_key: str | None = numbered(7, default=None)
    execution_time_ms: int = numbered(8, default=0)
    completion_retention_ms: int = numbered(9, default=0)
    random_seed: int = numbered(10, default=0)
    retry_policy: RetryPolicy = numbered(11, factory=RetryPolicy)
    caller: Caller | None = numbered(12, default=None)
    request_id: int = numbered(13, default=0)
    schema_revision: int = numbered(14, default=0)
    journal_retention_ms: int = numbered(15, default=0)


@frozen
class Callee:
    """What the proposer resolved for a Call, OneWayCall, Attach or GetOutput entry: the invocation it addresses.

    `service_type` and what follows only matter for calls.
    """

    invocation_id: str = numbered(1)
    service_type: ServiceType = numbered(2, default=ServiceType.SERVICE)
    handler_type: HandlerType = numbered(3, default=HandlerType.SHARED)
    completion_retention_ms: int = numbered(4, default=0)
    random_seed: int = numbered(5, default=0)
    retry_policy: RetryPolicy = numbered(6, factory=RetryPolicy)
    schema_revision: int = numbered(7, default=0)
    journal_retention_ms: int = numbered(8, default=0)


@frozen
class ProposedEntry:
    """An entry an attempt wants journaled, and its callee when it addresses another invocation."""

    entry: Entry = numbered(1)
    callee: Callee | None = numbered(2, default=None)


@frozen
class Suspend:
    """The attempt waits for any of these and has ended."""

    completions: tuple[int, ...] = numbered(1, default=())
    signals: tuple[int, ...] = numbered(2, default=())
    named_signals: tuple[str, ...] = numbered(3, default=())


@frozen
class Finished:
    """The attempt sent End: the journal's last Output entry is the invocation's result."""


@frozen
class GaveUp:
    """The retry policy ran out: pause the invocation, or complete it with *failure*."""

    failure: Failure = numbered(1)
    pause: bool = numbered(2)


AttemptEnd = Suspend | Finished | GaveUp


@frozen
class AttemptOutput:
    """What an attempt sent in one flush, in order, and perhaps how it ended.

    Honoured only while the invocation is INVOKED under the same lease by the epoch that proposes it (P1), in the same
    life of its id (`birth`, 0: not said).  A failed attempt that will be retried is not a command: back-off is not
    durable.
    """

    invocation_id: str = numbered(1)
    epoch: int = numbered(2)
    lease: int = numbered(3)
    attempt: int = numbered(4)
    entries: tuple[ProposedEntry, ...] = numbered(5, default=())
    end: AttemptEnd | None = numbered(6, default=None)
    deployment_id: str = numbered(7, default="")
    protocol_version: int = numbered(8, default=0)
    birth: int = numbered(9, default=0)


@frozen
class TimerFired:
    """A timer the tables hold has come due.  A timer no longer there is ignored."""

    due_ms: int = numbered(1)
    timer_id: int = numbered(2)


@frozen
class Complete:
    """Deliver *result* to completion *completion_id* of *invocation_id* (a callee ended, an attach was answered).

    `result` None is a void completion (a GetOutput whose target is still running).  `birth` is the caller's: another
    life of the same id is not meant.
    """

    invocation_id: str = numbered(1)
    completion_id: int = numbered(2)
    result: Result | None = numbered(3)
    birth: int = numbered(4, default=0)


@frozen
class Signal:
    """Deliver a signal: by index (1 is cancel, awakeables start at 17) or by *name*.  `result` None is void."""

    invocation_id: str = numbered(1)
    index: int = numbered(2)
    name: str = numbered(3, default="")
    result: Result | None = numbered(4, default=None)
    request_id: int = numbered(5, default=0)


@frozen
class Attach:
    """Answer `caller` with the result of *invocation_id*: when it completes (*wait*), or at once, void if it runs."""

    invocation_id: str = numbered(1)
    caller: Caller = numbered(2)
    wait: bool = numbered(3)


@frozen
class Cancel:
    """Cancel: a not yet started invocation ends with 409 at once, a started one gets signal 1."""

    invocation_id: str = numbered(1)
    request_id: int = numbered(2, default=0)


@frozen
class Kill:
    """End the invocation now with 409 and kill what it called."""

    invocation_id: str = numbered(1)
    request_id: int = numbered(2, default=0)


@frozen
class Purge:
    """Remove a completed invocation whose retention is over (or on request)."""

    invocation_id: str = numbered(1)
    request_id: int = numbered(2, default=0)


@frozen
class PurgeJournal:
    """Remove the journal of a completed invocation before its time; its result stays."""

    invocation_id: str = numbered(1)
    request_id: int = numbered(2, default=0)


@frozen
class Resume:
    """Run a paused or suspended invocation again; on *deployment_id*, which fits its journal's version, if named.

    `idle_lease` is the lease under which the proposer saw no attempt run (0: one does, or it did not look): what is
    SUSPENDED, or INVOKED to be tried again later, under just this lease is run now.  An attempt that
    began between that look and this command is cut off, like one whose stream broke.
    """

    invocation_id: str = numbered(1)
    request_id: int = numbered(2, default=0)
    deployment_id: str = numbered(3, default="")
    idle_lease: int = numbered(4, default=0)


@frozen
class Pause:
    """Stop a running or suspended invocation where it is, until it is resumed, cancelled or killed."""

    invocation_id: str = numbered(1)
    request_id: int = numbered(2, default=0)


@frozen
class RestartAsNew:
    """Run a completed invocation again under *new_invocation_id*, an id of the same partition key.

    The new one starts with the journal's entries up to and including *from_index* (0: the Input alone), and with the
    completions that their commands got later.  `random_seed` is its seed when nothing but the Input is kept; otherwise
    it keeps the old one, and its deployment unless *deployment_id* names another that fits its journal's version.
    """

    invocation_id: str = numbered(1)
    new_invocation_id: str = numbered(2)
    request_id: int = numbered(3, default=0)
    from_index: int = numbered(4, default=0)
    random_seed: int = numbered(5, default=0)
    deployment_id: str = numbered(6, default="")


@frozen
class Refuse:
    """End an invocation that still waits for its object's lock with *failure*: it would wait for itself.

    `birth` is the life of its id that is meant (0: not said).
    """

    invocation_id: str = numbered(1)
    failure: Failure = numbered(2)
    birth: int = numbered(3, default=0)


@frozen
class MutateState:
    """Replace the whole state of an object by *entries*, in the object's turn: behind whoever holds or awaits its lock.

    *version* is the state it was made for (`machine/mutations.py`); another one found in its turn: nothing is changed.
    """

    service: str = numbered(1)
    key: str = numbered(2)
    entries: tuple[tuple[bytes, bytes], ...] = numbered(3, default=())
    version: str | None = numbered(4, default=None)
    request_id: int = numbered(5, default=0)


@frozen
class Delivered:
    """A message from another partition's outbox.  Accepted once: *sequence* must exceed the last seen of *source*."""

    source_partition: int = numbered(1)
    sequence: int = numbered(2)
    message: Invoke | Complete | Signal | Attach | Cancel | Kill = numbered(3)


@frozen
class OutboxDelivered:
    """The receiver has every message of our outbox up to *sequence* to *target_partition* durable: forget them."""

    target_partition: int = numbered(1)
    sequence: int = numbered(2)


@frozen
class LeaderElected:
    """A leader starts to speak for the partition.  Every command of an earlier epoch that arrives later is stale."""

    epoch: int = numbered(1)
    rule_version: int = numbered(2)


Command = (
    Invoke
    | AttemptOutput
    | TimerFired
    | Complete
    | Signal
    | Attach
    | Cancel
    | Kill
    | Purge
    | Delivered
    | OutboxDelivered
    | LeaderElected
    | MutateState
    | PurgeJournal
    | Resume
    | Pause
    | RestartAsNew
    | Refuse
)

# Tags on disk.  Numbers are never reused.
COMMAND_TAGS: Final = MappingProxyType[int, type](
    {
        1: Invoke,
        2: AttemptOutput,
        3: TimerFired,
        4: Complete,
        5: Signal,
        6: Attach,
        7: Cancel,
        8: Kill,
        9: Purge,
        10: Delivered,
        11: OutboxDelivered,
        12: LeaderElected,
        13: MutateState,
        14: PurgeJournal,
        15: Resume,
        16: Pause,
        17: RestartAsNew,
        18: Refuse,
    }
)


@frozen
class Record:
    """A command at its place in a partition's log: stamped with the leader's wall clock at append."""

    lsn: int
    time_ms: int
    command: Command
