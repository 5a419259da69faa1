"""What lands in a journal, and whom it wakes.

A completion is matched to its command by completion id; one nobody waits for is dropped.  Signals are kept even when
nobody waits yet.  A notification of a running invocation is handed to its attempt; of a suspended one it resumes what
it was waited for.
"""

from __future__ import annotations

from understudy.protocol.messages import MessageType, is_command

from understudy_runtime.machine import wire
from understudy_runtime.machine.invocation import SIGNAL_CANCEL, Invocation, is_resolvable
from understudy_runtime.machine.lifecycle import resume
from understudy_runtime.machine.turn import Turn
from understudy_runtime.model.actions import Notify
from understudy_runtime.model.commands import Complete
from understudy_runtime.model.invocation import Entry, Result, Status

_SIGNAL = int(MessageType.SIGNAL_NOTIFICATION)


def append_command(turn: Turn, invocation: Invocation, entry: Entry) -> None:
    """Journal a command exactly as it was sent."""
    assert is_command(entry.type), "only commands are counted"
    turn.tables.append(invocation, entry, turn.now_ms)
    invocation.command_count += 1


def issue(invocation: Invocation, completion_id: int, completion_type: int) -> None:
    """The command just journaled waits for *completion_id*."""
    invocation.open_completions[completion_id] = completion_type
    if completion_id > invocation.completion_id_last:
        invocation.completion_id_last = completion_id


def append_notification(turn: Turn, invocation: Invocation, entry: Entry) -> int:
    """Journal a notification, tell a running attempt, and return its journal index."""
    assert invocation.status is not Status.COMPLETED, "a completed invocation has no journal"
    index = turn.tables.append(invocation, entry, turn.now_ms)
    if invocation.status is Status.INVOKED and invocation.id != turn.silent:
        turn.actions.append(Notify(invocation.id, invocation.lease, entry))
    return index


def complete(turn: Turn, invocation: Invocation, completion_id: int, payload: bytes) -> None:
    """Journal *payload* as the completion of *completion_id* and resume who is suspended on it."""
    completion_type = invocation.open_completions.pop(completion_id, None)
    if completion_type is None:
        return
    append_notification(turn, invocation, Entry(completion_type, payload))
    wake(turn, invocation)


def complete_with(turn: Turn, invocation: Invocation, completion_id: int, result: Result | None) -> None:
    """Complete *completion_id* with a value, a failure or void."""
    if completion_id in invocation.open_completions:
        complete(turn, invocation, completion_id, wire.completion(completion_id, result))


def wake(turn: Turn, invocation: Invocation) -> None:
    """Resume a suspended *invocation* when something it awaits is there."""
    if invocation.status is not Status.SUSPENDED:
        return
    assert invocation.awaiting is not None, "a suspended invocation awaits something"
    if is_resolvable(invocation, invocation.awaiting):
        resume(turn, invocation)


def signal(turn: Turn, invocation: Invocation, index: int, name: str, result: Result | None) -> None:
    """Journal a signal and wake who waits for it; a cancel also wakes a paused invocation."""
    entry = Entry(_SIGNAL, wire.signal(index, name, result))
    invocation.signals[name or index] = append_notification(turn, invocation, entry)
    if invocation.status is Status.PAUSED and index == SIGNAL_CANCEL and not name:
        resume(turn, invocation)
    wake(turn, invocation)


def on_complete(turn: Turn, command: Complete) -> None:
    """A callee ended or an attach was answered.  A caller that is gone is ignored, also when its id lives again."""
    invocation = turn.tables.invocation(command.invocation_id)
    if invocation is None or invocation.status is Status.COMPLETED:
        return
    if command.birth not in (0, invocation.birth):
        return
    complete_with(turn, invocation, command.completion_id, command.result)
