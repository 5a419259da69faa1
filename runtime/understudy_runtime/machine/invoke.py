"""A request arrives: deduplicated by its id, then scheduled, queued for its object's lock, or started.

The Input command is journaled on acceptance, so that the payload lies in one place only.
"""

from __future__ import annotations

from understudy.protocol.messages import MessageType

from understudy_runtime.machine import wire
from understudy_runtime.machine.completions import append_command
from understudy_runtime.machine.invocation import Invocation
from understudy_runtime.machine.lifecycle import admit, join, schedule
from understudy_runtime.machine.turn import Turn
from understudy_runtime.model.actions import Completed, InvokeAcked
from understudy_runtime.model.commands import Invoke
from understudy_runtime.model.invocation import Entry, Failure, HandlerType, Status

ALREADY_INVOKED = Failure(409, "this workflow's run was invoked before; it runs once per key")
_INPUT = int(MessageType.INPUT)


def on_invoke(turn: Turn, command: Invoke) -> None:
    """Accept a request, or attach a repeated one to what is there."""
    assert turn.tables.owns(command.invocation_id), "a request comes to the partition of its invocation"
    known = turn.tables.invocation(command.invocation_id)
    if known is not None:
        on_repeat(turn, known, command)
        return
    invocation = accept(turn, command)
    if invocation.execution_time_ms > turn.now_ms:
        schedule(turn, invocation)
    else:
        admit(turn, invocation)
    acknowledge(turn, command, invocation, accepted=True)


def accept(turn: Turn, command: Invoke) -> Invocation:
    """Take in a new invocation with its Input."""
    invocation = Invocation(
        id=command.invocation_id,
        target=command.target,
        service_type=command.service_type,
        handler_type=command.handler_type,
        idempotency_key=command.idempotency_key,
        execution_time_ms=command.execution_time_ms,
        created_ms=turn.now_ms,
        completion_retention_ms=command.completion_retention_ms,
        random_seed=command.random_seed,
        retry_policy=command.retry_policy,
        schema_revision=command.schema_revision,
        journal_retention_ms=command.journal_retention_ms,
        birth=turn.tables.applied_lsn + 1,
    )
    if command.caller is not None:
        invocation.callers.append(command.caller)
    turn.tables.add(invocation)
    append_command(turn, invocation, Entry(_INPUT, wire.input_command(command.headers, command.payload)))
    return invocation


def on_repeat(turn: Turn, known: Invocation, command: Invoke) -> None:
    """A request whose id is known: a workflow's second run is refused, anything else joins the first request."""
    if known.handler_type is HandlerType.WORKFLOW:
        acknowledge(turn, command, known, accepted=False, conflict=True)
        if command.caller is not None:
            turn.answer(command.caller, ALREADY_INVOKED)
        return
    acknowledge(turn, command, known, accepted=False)
    if known.status is Status.COMPLETED:
        answer_again(turn, known, command)
    elif command.caller is not None:
        join(turn, known, command.caller)


def answer_again(turn: Turn, known: Invocation, command: Invoke) -> None:
    """Answer a repeated request with the result that is kept (P4)."""
    assert known.result is not None, "a completed invocation has its result"
    if command.caller is not None:
        turn.answer(command.caller, known.result)
    if command.request_id:
        turn.actions.append(Completed(known.id, known.result, known.expires_ms))


def acknowledge(turn: Turn, command: Invoke, invocation: Invocation, *, accepted: bool, conflict: bool = False) -> None:
    """Tell the ingress what became of its request."""
    if command.request_id:
        turn.actions.append(
            InvokeAcked(command.request_id, invocation.id, accepted, invocation.execution_time_ms, conflict)
        )
