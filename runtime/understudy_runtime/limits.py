"""Every bound of the server, with its unit and what happens at it.  The simulator draws tiny values for all of them."""

from __future__ import annotations

import attrs

from understudy_runtime.model.invocation import RetryPolicy

KIB = 1024
MIB = 1024 * KIB


@attrs.frozen(kw_only=True)
class Limits:
    """Bounds.  Each comment says the behaviour at the bound."""

    # Attempts that run at once per partition; further invocations wait in the ready queue, and attempts that only
    # wait are asked to suspend so that others get their slot.  Each suspension costs a replay: 2,000 invocations that
    # sleep now and then took five times as long to end with 1,000 slots.
    attempts_max: int = 4_000
    # Commands taken into one log append; the rest goes into the next.  As many timers are on their way at once.
    batch_commands_max: int = 256
    # Bytes of commands in one log append; what is more goes into the next, a single command always goes.
    batch_bytes_max: int = 32 * MIB
    # Commands waiting for the log per partition; the ingress answers 429 above it, internal proposers wait.
    queue_commands_max: int = 10_000
    # Dirty rows after which storage is flushed, and finished invocations leave memory.  What begins and ends between
    # two flushes is never written: at 64 clients ten steps write 1 row with 16,000, 15 with 4,000; a fan-out to
    # twenty writes 100 and 180.
    flush_rows: int = 16_000
    # Dirty rows of what does not run, such as kept results, after which storage is flushed as well: waiting longer
    # would spare none of them, and the loop stands still while they are written (some 30 ms a thousand).
    flush_lasting_rows: int = 1_000
    # Idle objects a partition keeps in memory after a flush; the oldest leave and are read back when needed.
    idle_objects_max: int = 4_096
    # A log segment is closed after this many bytes.
    segment_bytes_max: int = 64 * MIB
    # Zeros written ahead of a log's end, so that most syncs change no file size; 0 writes none.
    log_prewrite_bytes: int = MIB
    # A request body above it: 413.
    request_bytes_max: int = 32 * MIB
    # A protocol message above it fails the attempt.
    message_bytes_max: int = 32 * MIB
    # Eager state in a start message above it is cut and marked partial: the SDK then asks key by key.
    eager_state_bytes_max: int = 32 * MIB
    # Whether a call that closes a circle of invocations waiting for each other is refused with 409; else they wait.
    refuse_deadlocks: bool = False
    # Requests in flight at the ingress; 429 above it.
    requests_max: int = 100_000
    # Outbox messages in flight to one partition; the rest waits its turn.
    outbox_in_flight_max: int = 64
    # Timers held in memory per partition, the nearest; the others are read from storage when these are gone.
    timers_max: int = 4_096
    # The longest a waiting timer goes without a look at the wall clock, which may jump.
    timer_recheck_ms: int = 10_000
    # Time without a message in either direction after which an attempt is asked to suspend.
    inactivity_timeout_ms: int = 60_000
    # Time after that until the attempt is cut and retried.
    abort_timeout_ms: int = 600_000
    # How long a result is kept for callers with an idempotency key, and of a workflow's run.
    completion_retention_ms: int = 24 * 3_600_000
    # Connections open at once on one port; further ones wait in the operating system's backlog.
    connections_max: int = 16_384
    # An HTTP head must be complete within this time; an idle connection is closed after that one.
    header_timeout_ms: int = 10_000
    idle_timeout_ms: int = 75_000
    # How long the result of a workflow's run is kept; None: as long as one with an idempotency key.
    workflow_retention_ms: int | None = None
    # How long the journal (and result) of a finished invocation is kept; the shorter of this and the result's.
    journal_retention_ms: int = 0
    # Log bytes after which a snapshot is written and the log before it is dropped.
    snapshot_log_bytes: int = 64 * MIB
    # Rows of a snapshot written after each batch; the next batch waits for that long.
    snapshot_slice_rows: int = 256
    # Streams on one HTTP/2 connection to an endpoint; a further attempt opens another connection.
    h2_streams_max: int = 128
    # Requests in flight on one HTTP/2 connection of a client; a further one is refused, to be tried again.
    h2_requests_max: int = 256
    # An HTTP/2 connection to an endpoint is pinged this often, and given up when the answer takes longer than that.
    h2_ping_interval_ms: int = 40_000
    h2_ping_timeout_ms: int = 20_000
    # A connection to an endpoint must be open within this time, and is closed after that long without a stream.
    connect_timeout_ms: int = 10_000
    # An endpoint must have told what it offers within this time, asked again while it is not ready.
    discovery_timeout_ms: int = 10_000
    h2_idle_timeout_ms: int = 300_000
    # How long a stopping server waits for requests and attempts in flight.
    drain_timeout_ms: int = 10_000
    retry_policy: RetryPolicy = attrs.field(factory=RetryPolicy)

    def __attrs_post_init__(self) -> None:
        assert self.attempts_max >= 1, "at least one attempt must be able to run"
        assert 1 <= self.batch_commands_max <= self.queue_commands_max, "a batch must fit the queue"
        assert self.snapshot_slice_rows >= 1, "a snapshot goes on"
        assert self.batch_bytes_max >= 1, "a batch holds a command"
        assert self.flush_rows >= 1, "a flush writes at least one row"
        assert self.flush_lasting_rows >= 1, "a flush writes at least one row"
        assert self.timers_max >= 1, "the next timer is held"
        assert self.idle_objects_max >= 0, "a number of objects"
        assert self.request_bytes_max <= self.message_bytes_max, "an accepted request must fit a protocol message"
