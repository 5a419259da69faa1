"""Durable promises of a workflow key: completed once, read by any handler of the key.

Only handlers of workflows get here; a promise command of another service is journaled and never answered
(`validate.py` refuses it before the log).
"""

from __future__ import annotations

from understudy.protocol import service_pb2 as pb

from understudy_runtime.machine.completions import complete_with
from understudy_runtime.machine.invocation import Invocation
from understudy_runtime.machine.rows import Promise
from understudy_runtime.machine.turn import Turn
from understudy_runtime.machine.wire import failure_from
from understudy_runtime.model.commands import Caller
from understudy_runtime.model.invocation import Failure, Result, ServiceType, Success

ALREADY_COMPLETED = Failure(409, "this promise was completed before; it keeps its first result")


def workflow_key(invocation: Invocation) -> tuple[str, str] | None:
    """The (service, key) whose promises *invocation* may use; None outside workflows."""
    if invocation.service_type is not ServiceType.WORKFLOW or invocation.target.key is None:
        return None
    return invocation.target.service, invocation.target.key


def get_promise(turn: Turn, invocation: Invocation, name: str, completion_id: int) -> None:
    """Answer with the promise's result, or listen until it has one."""
    place = workflow_key(invocation)
    if place is None:
        return
    promise = turn.tables.promises(*place).get(name, Promise())
    if promise.result is not None:
        complete_with(turn, invocation, completion_id, promise.result)
        return
    listeners = (*promise.listeners, Caller(invocation.id, completion_id, invocation.birth))
    turn.tables.objects.set_promise(*place, name, Promise(None, listeners))


def peek_promise(turn: Turn, invocation: Invocation, name: str, completion_id: int) -> None:
    """Answer with the promise's result, or void while it has none."""
    place = workflow_key(invocation)
    if place is None:
        return
    promise = turn.tables.promises(*place).get(name)
    complete_with(turn, invocation, completion_id, None if promise is None else promise.result)


def complete_promise(turn: Turn, invocation: Invocation, name: str, completion_id: int, result: Result) -> None:
    """Give the promise its result, unless it has one (I5), and answer who listens."""
    place = workflow_key(invocation)
    if place is None:
        return
    promise = turn.tables.promises(*place).get(name, Promise())
    if promise.result is not None:
        complete_with(turn, invocation, completion_id, ALREADY_COMPLETED)
        return
    turn.tables.objects.set_promise(*place, name, Promise(result))
    for listener in promise.listeners:
        turn.answer(listener, result)
    complete_with(turn, invocation, completion_id, None)


def promise_result(command: pb.CompletePromiseCommand) -> Result:
    """What a CompletePromise command wants the result to be."""
    if command.WhichOneof("completion") == "completion_failure":
        return failure_from(command.completion_failure)
    return Success(command.completion_value.content)
