"""From admission to removal: locks, leases, ends, retention.

Every path to INVOKED goes through `start`, every path to COMPLETED through `complete_invocation`.  This module appends
nothing to a journal.
"""

from __future__ import annotations

from enum import IntEnum

from understudy_runtime.machine.expiry import EXPIRY_TIMER, bucket_of
from understudy_runtime.machine.invocation import Invocation
from understudy_runtime.machine.mutations import mutate
from understudy_runtime.machine.rows import Timer
from understudy_runtime.machine.status import HOLDING, StatusEvent, advance
from understudy_runtime.machine.turn import Turn
from understudy_runtime.model.actions import ArmTimer, CheckDeadlock, Completed, StartAttempt
from understudy_runtime.model.commands import Attach, Caller, MutateState
from understudy_runtime.model.invocation import Failure, HandlerType, Result, Status

# From these rules on journals may be kept, and expiry is an index instead of a timer for each result.
RULES_WITH_JOURNALS = 2
NOT_FOUND = Failure(404, "no such invocation is known")
PROMISE_GONE = Failure(410, "the workflow's run is no longer kept, and this promise was not completed before")


class TimerKind(IntEnum):
    """What a timer wakes.  On disk: numbers are never reused."""

    SLEEP = 1
    START = 2
    RETENTION = 3


def arm_timer(turn: Turn, invocation: Invocation, due_ms: int, kind: TimerKind, completion_id: int = 0) -> None:
    """Arm a timer that belongs to *invocation*."""
    turn.tables.touch(invocation)
    timer_id = turn.arm(Timer(due_ms, kind, invocation.id, completion_id))
    invocation.timers[timer_id] = due_ms


def disarm_timers(turn: Turn, invocation: Invocation) -> None:
    """Forget every timer of *invocation* (P10)."""
    for timer_id, due_ms in invocation.timers.items():
        turn.disarm(due_ms, timer_id)
    invocation.timers.clear()


def schedule(turn: Turn, invocation: Invocation) -> None:
    """Let *invocation* start at its execution time."""
    assert invocation.execution_time_ms > turn.now_ms, "what is due starts at once"
    advance(invocation, StatusEvent.SCHEDULED)
    arm_timer(turn, invocation, invocation.execution_time_ms, TimerKind.START)


def admit(turn: Turn, invocation: Invocation) -> None:
    """Start *invocation* now, or when its object's lock comes to it."""
    tables = turn.tables
    tables.touch(invocation)
    if not invocation.takes_lock:
        begin(turn, invocation)
    elif tables.objects.is_locked(invocation):
        advance(invocation, StatusEvent.ENQUEUED)
        invocation.inbox_sequence = tables.next_inbox_sequence()
        tables.objects.enqueue(invocation)
        if invocation.callers:
            turn.actions.append(CheckDeadlock(invocation.id))
    else:
        tables.objects.lock(invocation)
        begin(turn, invocation)


def begin(turn: Turn, invocation: Invocation) -> None:
    """Start *invocation* for the first time."""
    assert invocation.lease == 0, "an invocation begins once"
    invocation.last_append_ms = turn.now_ms
    start(turn, invocation, StatusEvent.STARTED)


def start(turn: Turn, invocation: Invocation, event: StatusEvent) -> None:
    """Make *invocation* INVOKED under a new lease, so that nothing of an earlier attempt counts any more (P1)."""
    turn.tables.touch(invocation)
    advance(invocation, event)
    assert invocation.status is Status.INVOKED, "starting leads to INVOKED"
    invocation.lease += 1
    invocation.lease_entries = invocation.journal_length
    invocation.start_sequence = turn.tables.next_start_sequence()
    invocation.attempt_last = 0
    invocation.awaiting = None
    turn.actions.append(StartAttempt(invocation.id, invocation.lease, invocation.birth))


def resume(turn: Turn, invocation: Invocation) -> None:
    """Run a suspended or paused *invocation* again."""
    start(turn, invocation, StatusEvent.RESUMED)


def complete_invocation(turn: Turn, invocation: Invocation, result: Result, event: StatusEvent) -> None:
    """End *invocation* with *result*: tell who waits, hand its lock on, keep the result or forget it."""
    tables = turn.tables
    tables.touch(invocation)
    leave_object(turn, invocation, event)
    assert invocation.status is Status.COMPLETED, "an end leads to COMPLETED"
    invocation.result = result
    invocation.completed_ms = turn.now_ms
    invocation.awaiting = None
    invocation.open_completions.clear()
    invocation.signals.clear()
    disarm_timers(turn, invocation)
    for caller in invocation.callers:
        turn.answer(caller, result)
    invocation.callers.clear()
    retain(turn, invocation)
    turn.actions.append(Completed(invocation.id, result, invocation.expires_ms))
    if invocation.expires_ms == 0:
        free(turn, invocation)


def leave_object(turn: Turn, invocation: Invocation, event: StatusEvent) -> None:
    """Move *invocation* by *event* to its end; its lock goes to the head of the inbox, its inbox place is given up."""
    status = invocation.status
    advance(invocation, event)
    if not invocation.takes_lock:
        return
    if status is Status.INBOXED:
        turn.tables.objects.withdraw(invocation)
    if status in HOLDING:
        pass_lock(turn, invocation)


def pass_lock(turn: Turn, invocation: Invocation) -> None:
    """Give the lock of *invocation* to the one that waits longest; state mutations before it happen on the way."""
    objects = turn.tables.objects
    service, key = invocation.target.service, invocation.target.key
    assert key is not None, "only keyed targets have a lock"
    objects.unlock(invocation)
    while isinstance(head_id := objects.next(service, key), MutateState):
        mutate(turn.tables.objects, head_id)
    if head_id is None:
        return
    head = turn.tables.invocation(head_id)
    assert head is not None, "C2: an inbox holds no dead id"
    assert head.status is Status.INBOXED, "an inbox holds only who waits"
    objects.lock(head)
    begin(turn, head)


def retain(turn: Turn, invocation: Invocation) -> None:
    """Keep result and journal for as long as was asked for, the journal no longer than the result."""
    tables = turn.tables
    kept_ms = invocation.completion_retention_ms
    if kept_ms > 0:
        invocation.expires_ms = turn.now_ms + kept_ms
    if tables.rule_version < RULES_WITH_JOURNALS:
        tables.drop_journal(invocation)
        if kept_ms > 0:
            arm_timer(turn, invocation, invocation.expires_ms, TimerKind.RETENTION)
        return
    journal_ms = min(invocation.journal_retention_ms, kept_ms)
    if journal_ms == 0:
        tables.drop_journal(invocation)
    elif bucket_of(turn.now_ms + journal_ms) < bucket_of(invocation.expires_ms):
        expire_later(turn, invocation, turn.now_ms + journal_ms)
    if kept_ms > 0:
        expire_later(turn, invocation, invocation.expires_ms)


def expire_later(turn: Turn, invocation: Invocation, expires_ms: int) -> None:
    """Have *invocation* looked at when *expires_ms* is over."""
    expiries = turn.tables.expiries
    if expiries.add(expires_ms, invocation.raw):
        turn.actions.append(ArmTimer(bucket_of(expires_ms) * 1000, EXPIRY_TIMER))


def on_expiry_due(turn: Turn) -> None:
    """Remove one chunk of what is over, and have the timer armed for what is left."""
    expiries = turn.tables.expiries
    due_ms = expiries.due_ms
    if due_ms is not None and due_ms <= turn.now_ms:
        for raw in expiries.take():
            expire(turn, raw, due_ms // 1000)
        due_ms = expiries.due_ms
    if due_ms is not None:
        turn.actions.append(ArmTimer(due_ms, EXPIRY_TIMER))


def expire(turn: Turn, raw: bytes, bucket: int) -> None:
    """Forget the invocation *raw*, or its journal, if its time is over: its id may have been purged and live again."""
    invocation = turn.tables.invocation_at(raw)
    if invocation is None or invocation.status is not Status.COMPLETED:
        return
    if bucket_of(invocation.expires_ms) <= bucket:
        free(turn, invocation)
    elif invocation.journal_length and bucket_of(invocation.completed_ms + invocation.journal_retention_ms) <= bucket:
        turn.tables.drop_journal(invocation)


def free(turn: Turn, invocation: Invocation) -> None:
    """Forget a completed *invocation*; with a workflow's run go the state and promises of its key."""
    turn.tables.touch(invocation)
    disarm_timers(turn, invocation)
    advance(invocation, StatusEvent.PURGED)
    turn.tables.remove(invocation)
    key = invocation.target.key
    if invocation.handler_type is HandlerType.WORKFLOW and key is not None:
        turn.tables.objects.clear_all_state(invocation.target.service, key)
        forget_promises(turn, invocation.target.service, key)


def forget_promises(turn: Turn, service: str, key: str) -> None:
    """Forget the promises of a workflow; whoever still waits for one is told that it will not come (P5)."""
    promises = turn.tables.promises(service, key)
    # By name: after a reload they lie in another order than they were made in.
    for name in sorted(promises):
        for listener in promises[name].listeners:
            turn.answer(listener, PROMISE_GONE)
    turn.tables.objects.clear_promises(service, key)


def join(turn: Turn, invocation: Invocation, caller: Caller) -> None:
    """Let *caller* wait for the result of *invocation*, too.  Perhaps *invocation* waits for the caller already."""
    assert invocation.status is not Status.COMPLETED, "a result that is there is answered with"
    turn.tables.touch(invocation)
    invocation.callers.append(caller)
    if invocation.status is not Status.SCHEDULED:
        turn.actions.append(CheckDeadlock(invocation.id))


def on_attach(turn: Turn, command: Attach) -> None:
    """Answer the caller with the result of an invocation, now or when it completes."""
    invocation = turn.tables.invocation(command.invocation_id)
    caller = command.caller
    if invocation is None:
        turn.answer(caller, NOT_FOUND)
    elif invocation.status is Status.COMPLETED:
        turn.answer(caller, invocation.result)
    elif command.wait:
        join(turn, invocation, caller)
    else:
        turn.answer(caller, None)
