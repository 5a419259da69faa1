"""The machine: a record and the tables in, changed tables and actions out.

`apply` is pure: it never awaits, never reads a clock, never draws; time is the record's stamp.  HANDLERS has one
function per command.  Whatever it decides follows from the tables and the record alone, so a replay decides the same.
`outstanding` is all work the tables imply: what a leader starts with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from understudy_runtime.machine.attempts import on_attempt_output
from understudy_runtime.machine.completions import complete_with, on_complete
from understudy_runtime.machine.expiry import EXPIRY_TIMER
from understudy_runtime.machine.invocation import Invocation
from understudy_runtime.machine.invoke import on_invoke
from understudy_runtime.machine.lifecycle import TimerKind, admit, free, on_attach, on_expiry_due
from understudy_runtime.machine.mutations import on_mutate_state
from understudy_runtime.machine.pausing import on_pause, on_resume
from understudy_runtime.machine.restart import on_restart_as_new
from understudy_runtime.machine.rows import Timer
from understudy_runtime.machine.tables import Tables
from understudy_runtime.machine.termination import on_cancel, on_kill, on_purge, on_purge_journal, on_refuse, on_signal
from understudy_runtime.machine.turn import Turn
from understudy_runtime.model.actions import Action, ArmTimer, CheckDeadlock, Send, StartAttempt
from understudy_runtime.model.commands import (
    Attach,
    AttemptOutput,
    Cancel,
    Complete,
    Delivered,
    Invoke,
    Kill,
    LeaderElected,
    MutateState,
    OutboxDelivered,
    Pause,
    Purge,
    PurgeJournal,
    Record,
    Refuse,
    RestartAsNew,
    Resume,
    Signal,
    TimerFired,
)
from understudy_runtime.model.invocation import Status

# The rules this build applies.  A leader writes them into the log; records are applied by the rules in force.
# Rules 2: journals are kept, and what is kept expires through an index of its own.
RULES_CURRENT: Final = 2


# How many timers are armed at once unless a limit says otherwise.
TIMERS_MAX: Final = 4_096


class RulesUnknown(ValueError):
    """The log was led by a newer build: which rules it asks for, which this build has, what to do."""


def apply(tables: Tables, record: Record) -> list[Action]:
    """Change *tables* by *record* and return what is to be done once the record is durable.

    Raises RulesUnknown when a newer build has led the partition.
    """
    assert record.lsn == tables.applied_lsn + 1, f"the log has no gaps: {record.lsn} after {tables.applied_lsn}"
    turn = Turn(tables, record.time_ms)
    command = record.command
    HANDLERS[type(command)](turn, command)
    # The list grows while it is walked: what a message causes is applied behind it.
    for message in turn.messages:
        HANDLERS[type(message)](turn, message)
    tables.applied_lsn = record.lsn
    return turn.actions


def on_timer_fired(turn: Turn, command: TimerFired) -> None:
    """A timer came due.  One that is gone or was armed for another time is ignored (E3)."""
    if command.timer_id == EXPIRY_TIMER:
        on_expiry_due(turn)
        return
    timer = turn.tables.timers.find(command.due_ms, command.timer_id)
    if timer is None:
        return
    if turn.now_ms < timer.due_ms:
        # The leader's clock went back between the look at it and the append (P9): not yet.
        turn.actions.append(ArmTimer(timer.due_ms, command.timer_id))
        return
    invocation = turn.tables.invocation(timer.invocation_id)
    assert invocation is not None, "P10: no timer outlives its invocation"
    turn.tables.touch(invocation)
    turn.tables.timers.remove(command.due_ms, command.timer_id)
    del invocation.timers[command.timer_id]
    TIMER_HANDLERS[timer.kind](turn, invocation, timer)


def on_sleep_over(turn: Turn, invocation: Invocation, timer: Timer) -> None:
    complete_with(turn, invocation, timer.completion_id, None)


def on_start_due(turn: Turn, invocation: Invocation, _: Timer) -> None:
    assert invocation.status is Status.SCHEDULED, "only a scheduled invocation has a start to come"
    admit(turn, invocation)


def on_retention_over(turn: Turn, invocation: Invocation, _: Timer) -> None:
    assert invocation.status is Status.COMPLETED, "only a result is kept for a time"
    free(turn, invocation)


TIMER_HANDLERS: Final[Mapping[int, Callable[[Turn, Invocation, Timer], None]]] = MappingProxyType(
    {
        TimerKind.SLEEP: on_sleep_over,
        TimerKind.START: on_start_due,
        TimerKind.RETENTION: on_retention_over,
    }
)


def on_delivered(turn: Turn, command: Delivered) -> None:
    """A message of another partition: taken once."""
    if command.sequence <= turn.tables.dedup.get(command.source_partition, 0):
        return
    assert turn.tables.owns(command.message.invocation_id), "a message comes to the partition of its invocation"
    turn.tables.set_seen(command.source_partition, command.sequence)
    HANDLERS[type(command.message)](turn, command.message)


def on_outbox_delivered(turn: Turn, command: OutboxDelivered) -> None:
    """The receiver has everything up to a sequence: forget it, and no more than that (B1)."""
    pending = turn.tables.outbox.get(command.target_partition, {})
    for sequence in [sequence for sequence in pending if sequence <= command.sequence]:
        turn.tables.remove_message(command.target_partition, sequence)


def on_leader_elected(turn: Turn, command: LeaderElected) -> None:
    """From here on only the new leader's attempts count."""
    assert command.epoch > turn.tables.epoch, "epochs only grow"
    assert command.rule_version >= turn.tables.rule_version, "an older build stops at the first record of newer rules"
    if command.rule_version > RULES_CURRENT:
        raise RulesUnknown(
            f"partition {turn.tables.partition} was led under rules {command.rule_version}, "
            f"this build knows rules up to {RULES_CURRENT}: start it with the newer build"
        )
    turn.tables.epoch = command.epoch
    turn.tables.rule_version = command.rule_version


HANDLERS: Final[Mapping[type, Callable[[Turn, Any], None]]] = MappingProxyType(
    {
        Invoke: on_invoke,
        AttemptOutput: on_attempt_output,
        TimerFired: on_timer_fired,
        Complete: on_complete,
        Signal: on_signal,
        Attach: on_attach,
        Cancel: on_cancel,
        Kill: on_kill,
        Purge: on_purge,
        Delivered: on_delivered,
        OutboxDelivered: on_outbox_delivered,
        LeaderElected: on_leader_elected,
        MutateState: on_mutate_state,
        PurgeJournal: on_purge_journal,
        Resume: on_resume,
        Pause: on_pause,
        RestartAsNew: on_restart_as_new,
        Refuse: on_refuse,
    }
)


def outstanding(tables: Tables, timers_max: int = TIMERS_MAX, *, checks_deadlocks: bool = False) -> list[Action]:
    """All work *tables* imply, in a fixed order: attempts as they were started, timers, outbox (P8).

    Of the timers the nearest *timers_max* and one more: whoever fires them asks for the next when these are gone.
    With *checks_deadlocks* also a look at each call that waits for a lock; that reads all of them.
    """
    actions: list[Action] = [StartAttempt(one.id, one.lease, one.birth) for one in tables.running()]
    actions += [ArmTimer(due_ms, timer_id) for due_ms, timer_id in tables.timers.nearest(None, timers_max + 1)]
    due_ms = tables.expiries.due_ms
    if due_ms is not None:
        actions.append(ArmTimer(due_ms, EXPIRY_TIMER))
    for target in sorted(tables.outbox):
        actions += [Send(target, sequence, message) for sequence, message in tables.outbox[target].items()]
    if checks_deadlocks:
        actions += [CheckDeadlock(one.id) for one in tables.calls_waiting()]
    return actions
