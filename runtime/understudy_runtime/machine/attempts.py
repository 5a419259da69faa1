"""What an attempt sent: honoured only from the one that speaks for the invocation, entry by entry, then its end.

Nothing here knows what an entry does; `journal_entries.py` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from understudy.protocol import service_pb2 as pb
from understudy.protocol.messages import MessageType

from understudy_runtime.machine.invocation import SIGNAL_CANCEL, Invocation, is_resolvable, was_consumed
from understudy_runtime.machine.journal_entries import ENTRY_HANDLERS
from understudy_runtime.machine.lifecycle import complete_invocation, resume
from understudy_runtime.machine.status import StatusEvent, advance
from understudy_runtime.machine.tables import Tables
from understudy_runtime.machine.turn import Turn
from understudy_runtime.machine.wire import failure_from
from understudy_runtime.model.commands import AttemptOutput, Finished, GaveUp, Suspend
from understudy_runtime.model.invocation import Failure, Result, Status, Success

NO_OUTPUT = Failure(500, "the handler ended without a result")
_OUTPUT = int(MessageType.OUTPUT)


def on_attempt_output(turn: Turn, command: AttemptOutput) -> None:
    """Journal what the attempt proposes and take note of how it ended."""
    invocation = turn.tables.invocation(command.invocation_id)
    if invocation is None or is_stale(turn.tables, invocation, command):
        return
    turn.tables.touch(invocation)
    invocation.attempt_epoch = command.epoch
    invocation.attempt_last = command.attempt
    if command.entries and not invocation.deployment_id:
        invocation.deployment_id = command.deployment_id
        invocation.protocol_version = command.protocol_version
    if command.end is not None:
        turn.silent = invocation.id
    for proposed in command.entries:
        ENTRY_HANDLERS[proposed.entry.type](turn, invocation, proposed)
    if command.end is not None:
        END_HANDLERS[type(command.end)](turn, invocation, command.end)


def is_stale(tables: Tables, invocation: Invocation, command: AttemptOutput) -> bool:
    """Whether the attempt no longer speaks for *invocation* (P1)."""
    if command.epoch != tables.epoch:
        return True
    if invocation.status is not Status.INVOKED:
        return True
    if command.lease != invocation.lease or command.birth not in (0, invocation.birth):
        return True
    return command.epoch == invocation.attempt_epoch and command.attempt < invocation.attempt_last


def on_suspend(turn: Turn, invocation: Invocation, suspend: Suspend) -> None:
    """Wait for what the attempt awaits, unless some of it is there already (F2)."""
    advance(invocation, StatusEvent.SUSPENDED)
    invocation.awaiting = suspend
    if is_resolvable(invocation, suspend):
        resume(turn, invocation)


def on_finished(turn: Turn, invocation: Invocation, _: Finished) -> None:
    """The handler is done: its last Output is the result."""
    complete_invocation(turn, invocation, last_output(turn, invocation), StatusEvent.FINISHED)


def last_output(turn: Turn, invocation: Invocation) -> Result:
    """The result the journal ends with."""
    for entry in reversed(turn.tables.entries(invocation)):
        if entry.type == _OUTPUT:
            output = pb.OutputCommand.FromString(entry.payload)
            if output.WhichOneof("result") == "failure":
                return failure_from(output.failure)
            return Success(output.value.content)
    return NO_OUTPUT


def on_gave_up(turn: Turn, invocation: Invocation, end: GaveUp) -> None:
    """The retry policy ran out: wait for a human, or end with the failure.

    A cancel resumes who is paused, also one that came while the last attempt failed.
    """
    if not end.pause:
        complete_invocation(turn, invocation, end.failure, StatusEvent.FINISHED)
        return
    advance(invocation, StatusEvent.PAUSED)
    if SIGNAL_CANCEL in invocation.signals and not was_consumed(invocation, SIGNAL_CANCEL):
        resume(turn, invocation)


END_HANDLERS: Final[Mapping[type, Callable[[Turn, Invocation, Any], None]]] = MappingProxyType(
    {Suspend: on_suspend, Finished: on_finished, GaveUp: on_gave_up}
)
