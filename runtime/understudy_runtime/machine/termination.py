"""Signals, cancel, kill, refusal and purge: an invocation is told something from outside, or ended.

Cancelling is asking: a started invocation gets signal 1 and its handler decides; one that has not started ends at once.
Killing asks nobody and goes on to whatever the invocation called, one-way calls included.
"""

from __future__ import annotations

from collections.abc import Iterator

from understudy.protocol import service_pb2 as pb
from understudy.protocol.messages import MessageType

from understudy_runtime.machine.completions import signal
from understudy_runtime.machine.invocation import SIGNAL_CANCEL, Invocation
from understudy_runtime.machine.lifecycle import complete_invocation, free
from understudy_runtime.machine.status import WAITING, StatusEvent
from understudy_runtime.machine.turn import Turn
from understudy_runtime.model.actions import AbortAttempt, RequestAcked
from understudy_runtime.model.commands import (
    Cancel,
    Kill,
    Pause,
    Purge,
    PurgeJournal,
    Refuse,
    RestartAsNew,
    Resume,
    Signal,
)
from understudy_runtime.model.invocation import Failure, Status

Request = Signal | Cancel | Kill | Purge | PurgeJournal | Pause | Resume | RestartAsNew

CANCELLED = Failure(409, "cancelled before it started")
KILLED = Failure(409, "killed")

ACCEPTED = "accepted"
DONE = "done"
NOT_FOUND = "not_found"
ALREADY_COMPLETED = "already_completed"
NOT_COMPLETED = "not_completed"
NOT_STARTED = "not_started"
NOT_MOVABLE = "not_movable"

_CALL_ID_COMPLETION = int(MessageType.CALL_INVOCATION_ID_COMPLETION)


def on_signal(turn: Turn, command: Signal) -> None:
    """Deliver a signal; signal 1 is a cancel."""
    invocation = turn.tables.invocation(command.invocation_id)
    if command.index == SIGNAL_CANCEL and not command.name:
        outcome = cancel(turn, invocation)
    else:
        outcome = deliver(turn, invocation, command)
    acknowledge(turn, command, outcome)


def deliver(turn: Turn, invocation: Invocation | None, command: Signal) -> str:
    """Journal the signal, wherever the invocation stands, as long as it is not over."""
    if invocation is None:
        return NOT_FOUND
    if invocation.status is Status.COMPLETED:
        return ALREADY_COMPLETED
    signal(turn, invocation, command.index, command.name, command.result)
    return ACCEPTED


def on_cancel(turn: Turn, command: Cancel) -> None:
    outcome = cancel(turn, turn.tables.invocation(command.invocation_id))
    acknowledge(turn, command, outcome)


def cancel(turn: Turn, invocation: Invocation | None) -> str:
    """End what has not started; tell what has."""
    if invocation is None:
        return NOT_FOUND
    if invocation.status is Status.COMPLETED:
        return ALREADY_COMPLETED
    if invocation.status in WAITING:
        complete_invocation(turn, invocation, CANCELLED, StatusEvent.TERMINATED)
        return DONE
    signal(turn, invocation, SIGNAL_CANCEL, "", None)
    return ACCEPTED


def on_kill(turn: Turn, command: Kill) -> None:
    outcome = kill(turn, turn.tables.invocation(command.invocation_id))
    acknowledge(turn, command, outcome)


def kill(turn: Turn, invocation: Invocation | None) -> str:
    """End *invocation* now, cut its attempt, and kill what it called."""
    if invocation is None:
        return NOT_FOUND
    if invocation.status is Status.COMPLETED:
        return ALREADY_COMPLETED
    if invocation.status is Status.INVOKED:
        turn.actions.append(AbortAttempt(invocation.id, invocation.lease))
    for callee_id in called_by(turn, invocation):
        turn.send(Kill(callee_id))
    complete_invocation(turn, invocation, KILLED, StatusEvent.TERMINATED)
    return DONE


def called_by(turn: Turn, invocation: Invocation) -> Iterator[str]:
    """Whom *invocation* called, in order: each call was answered with its callee's id."""
    for entry in turn.tables.entries(invocation):
        if entry.type == _CALL_ID_COMPLETION:
            yield pb.Notification.FromString(entry.payload).invocation_id


def on_purge(turn: Turn, command: Purge) -> None:
    outcome = purge(turn, turn.tables.invocation(command.invocation_id))
    acknowledge(turn, command, outcome)


def purge(turn: Turn, invocation: Invocation | None) -> str:
    """Forget a completed invocation before its time."""
    if invocation is None:
        return NOT_FOUND
    if invocation.status is not Status.COMPLETED:
        return NOT_COMPLETED
    free(turn, invocation)
    return DONE


def on_purge_journal(turn: Turn, command: PurgeJournal) -> None:
    outcome = purge_journal(turn, turn.tables.invocation(command.invocation_id))
    acknowledge(turn, command, outcome)


def purge_journal(turn: Turn, invocation: Invocation | None) -> str:
    """Forget the journal of a completed invocation; the result stays for its time."""
    if invocation is None:
        return NOT_FOUND
    if invocation.status is not Status.COMPLETED:
        return NOT_COMPLETED
    turn.tables.drop_journal(invocation)
    return DONE


def on_refuse(turn: Turn, command: Refuse) -> None:
    """End an invocation that would wait for its lock for ever, unless it has it by now."""
    invocation = turn.tables.invocation(command.invocation_id)
    if invocation is None or invocation.status is not Status.INBOXED:
        return
    if command.birth in (0, invocation.birth):
        complete_invocation(turn, invocation, command.failure, StatusEvent.TERMINATED)


def acknowledge(turn: Turn, command: Request, outcome: str) -> None:
    """Tell the one who asked what became of it."""
    if command.request_id:
        turn.actions.append(RequestAcked(command.request_id, command.invocation_id, outcome))
