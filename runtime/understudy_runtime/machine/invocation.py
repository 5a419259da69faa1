"""What a partition knows about one invocation: a live object, changed in place by the handlers.

Only `status.advance` assigns `status`; only `Tables` touches the fields below the line "where its rows are".
`journal` is None while it lies in storage alone.
"""

from __future__ import annotations

import attrs
from understudy.protocol.messages import MessageType

from understudy_runtime.model import ids
from understudy_runtime.model.commands import Caller, Suspend
from understudy_runtime.model.invocation import (
    Entry,
    HandlerType,
    Result,
    RetryPolicy,
    ServiceType,
    Status,
    Target,
)

SIGNAL_CANCEL = 1
_RUN_COMPLETION = int(MessageType.RUN_COMPLETION)


@attrs.define(eq=False, slots=True)
class Invocation:
    """One invocation.  Times are epoch milliseconds; 0 means never."""

    id: str
    target: Target
    service_type: ServiceType
    handler_type: HandlerType
    idempotency_key: str | None
    execution_time_ms: int
    created_ms: int
    completion_retention_ms: int
    random_seed: int
    retry_policy: RetryPolicy
    schema_revision: int
    journal_retention_ms: int = 0
    # The LSN of the record that accepted it: what is said to an earlier life of the same id is not for this one.
    birth: int = 0
    status: Status = Status.FREE
    # Grows each time the invocation becomes INVOKED; `start_sequence` orders these starts within the partition.
    lease: int = 0
    start_sequence: int = 0
    # Journal length when the lease began: every attempt of the lease is given at least this much.
    lease_entries: int = 0
    inbox_sequence: int = 0
    # The highest attempt seen, of the epoch that made it: a new leader counts from one again.
    attempt_epoch: int = 0
    attempt_last: int = 0
    callers: list[Caller] = attrs.field(factory=list)
    deployment_id: str = ""
    protocol_version: int = 0
    journal_length: int = 0
    command_count: int = 0
    last_append_ms: int = 0
    # Completion id to the type of the notification that will complete it; ids are issued in ascending order.
    open_completions: dict[int, int] = attrs.field(factory=dict)
    completion_id_last: int = 0
    # Signal index or name to the journal index of the latest such signal.
    signals: dict[int | str, int] = attrs.field(factory=dict)
    # The timers that belong to it, id to due time, in the order they were armed.
    timers: dict[int, int] = attrs.field(factory=dict)
    awaiting: Suspend | None = None
    result: Result | None = None
    completed_ms: int = 0
    expires_ms: int = 0
    # Where its rows are: its id as bytes once it was asked for, the journal in memory, how much of it is stored, and
    # under which table the row is.
    _raw: bytes = b""
    journal: list[Entry] | None = attrs.field(factory=list)
    journal_stored: int = 0
    stored_under: bytes = b""
    is_dirty: bool = False

    @property
    def raw(self) -> bytes:
        """The 24 raw bytes of its id."""
        if not self._raw:
            self._raw = ids.raw_id(self.id)
        return self._raw

    def take_raw(self, raw: bytes) -> None:
        """Somebody has decoded its id already."""
        assert not self._raw or self._raw == raw, "an id has one raw form"
        self._raw = raw

    @property
    def takes_lock(self) -> bool:
        """Whether it runs alone on its object: exclusive handlers of virtual objects."""
        return self.handler_type is HandlerType.EXCLUSIVE and self.target.key is not None

    @property
    def may_write_state(self) -> bool:
        """Whether its state commands take effect: exclusive handlers and a workflow's run."""
        return self.handler_type is not HandlerType.SHARED and self.target.key is not None


def is_resolvable(invocation: Invocation, suspend: Suspend) -> bool:
    """Whether anything *suspend* waits for is already there, so that the invocation must run again at once."""
    for completion_id in suspend.completions:
        if is_completed(invocation, completion_id):
            return True
        # Only a new attempt can produce the result of a run: waiting for it would wait for ever.
        if invocation.open_completions.get(completion_id) == _RUN_COMPLETION:
            return True
    for index in suspend.signals:
        if index in invocation.signals and not was_consumed(invocation, index):
            return True
    return any(name in invocation.signals and not was_consumed(invocation, name) for name in suspend.named_signals)


def is_completed(invocation: Invocation, completion_id: int) -> bool:
    """Whether the command that issued *completion_id* is journaled and has its completion."""
    is_issued = completion_id <= invocation.completion_id_last
    return is_issued and completion_id not in invocation.open_completions


def was_consumed(invocation: Invocation, signal: int | str) -> bool:
    """Whether a suspension that lists *signal* cannot mean the one in the journal.

    Every suspension lists the cancel signal, also after a handler caught a cancel and went on; and a handler may wait
    for signals of one name again and again.  An attempt that had the signal in its journal from the start and still
    waits has seen it: the next one must wake it, not the same one for ever.
    """
    return invocation.signals[signal] < invocation.lease_entries
