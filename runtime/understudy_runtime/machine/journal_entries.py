"""The effect of each entry an attempt proposes, at the moment it is journaled.

ENTRY_HANDLERS has one function per message type.  Each journals the command as it was sent; what the command yields
at once is journaled right behind it; what it does to others leaves as a message.  Payloads were checked before they
came to the log (`validate.py`), so decoding cannot fail here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from understudy.protocol import service_pb2 as pb
from understudy.protocol.messages import MessageType

from understudy_runtime.machine import promises, wire
from understudy_runtime.machine.completions import append_command, complete, complete_with, issue
from understudy_runtime.machine.invocation import Invocation
from understudy_runtime.machine.lifecycle import TimerKind, arm_timer
from understudy_runtime.machine.turn import Turn
from understudy_runtime.model import ids
from understudy_runtime.model.commands import Attach, Callee, Caller, Invoke, ProposedEntry, Signal
from understudy_runtime.model.invocation import HandlerType, Result, ServiceType, Success, Target

EntryHandler = Callable[[Turn, Invocation, ProposedEntry], None]

_RUN_COMPLETION: Final = int(MessageType.RUN_COMPLETION)
_SLEEP_COMPLETION: Final = int(MessageType.SLEEP_COMPLETION)
_CALL_COMPLETION: Final = int(MessageType.CALL_COMPLETION)
_CALL_ID_COMPLETION: Final = int(MessageType.CALL_INVOCATION_ID_COMPLETION)
_STATE_COMPLETION: Final = int(MessageType.GET_LAZY_STATE_COMPLETION)
_STATE_KEYS_COMPLETION: Final = int(MessageType.GET_LAZY_STATE_KEYS_COMPLETION)
_GET_PROMISE_COMPLETION: Final = int(MessageType.GET_PROMISE_COMPLETION)
_PEEK_PROMISE_COMPLETION: Final = int(MessageType.PEEK_PROMISE_COMPLETION)
_COMPLETE_PROMISE_COMPLETION: Final = int(MessageType.COMPLETE_PROMISE_COMPLETION)
_ATTACH_COMPLETION: Final = int(MessageType.ATTACH_INVOCATION_COMPLETION)
_OUTPUT_COMPLETION: Final = int(MessageType.GET_INVOCATION_OUTPUT_COMPLETION)


def on_stored_only(turn: Turn, invocation: Invocation, proposed: ProposedEntry) -> None:
    """Output and eager reads: kept, nothing else."""
    append_command(turn, invocation, proposed.entry)


def on_run(turn: Turn, invocation: Invocation, proposed: ProposedEntry) -> None:
    command = pb.RunCommand.FromString(proposed.entry.payload)
    append_command(turn, invocation, proposed.entry)
    issue(invocation, command.result_completion_id, _RUN_COMPLETION)


def on_run_proposal(turn: Turn, invocation: Invocation, proposed: ProposedEntry) -> None:
    """The result of a run: recorded once (P3), later proposals for the same run are dropped."""
    proposal = pb.ProposeRunCompletion.FromString(proposed.entry.payload)
    completion_id = proposal.result_completion_id
    if invocation.open_completions.get(completion_id) != _RUN_COMPLETION:
        return
    if proposal.WhichOneof("result") == "failure":
        complete_with(turn, invocation, completion_id, wire.failure_from(proposal.failure))
    else:
        complete_with(turn, invocation, completion_id, Success(proposal.value))


def on_get_lazy_state(turn: Turn, invocation: Invocation, proposed: ProposedEntry) -> None:
    command = pb.GetLazyStateCommand.FromString(proposed.entry.payload)
    append_command(turn, invocation, proposed.entry)
    issue(invocation, command.result_completion_id, _STATE_COMPLETION)
    key = invocation.target.key
    value = None if key is None else turn.tables.state(invocation.target.service, key).get(command.key)
    complete_with(turn, invocation, command.result_completion_id, None if value is None else Success(value))


def on_get_lazy_state_keys(turn: Turn, invocation: Invocation, proposed: ProposedEntry) -> None:
    command = pb.GetLazyStateKeysCommand.FromString(proposed.entry.payload)
    append_command(turn, invocation, proposed.entry)
    completion_id = command.result_completion_id
    issue(invocation, completion_id, _STATE_KEYS_COMPLETION)
    key = invocation.target.key
    names = [] if key is None else sorted(turn.tables.state(invocation.target.service, key))
    complete(turn, invocation, completion_id, wire.state_keys_completion(completion_id, names))


def on_set_state(turn: Turn, invocation: Invocation, proposed: ProposedEntry) -> None:
    append_command(turn, invocation, proposed.entry)
    if not invocation.may_write_state:
        return
    command = pb.SetStateCommand.FromString(proposed.entry.payload)
    assert invocation.target.key is not None, "only keyed handlers write state"
    turn.tables.objects.set_state(invocation.target.service, invocation.target.key, command.key, command.value.content)


def on_clear_state(turn: Turn, invocation: Invocation, proposed: ProposedEntry) -> None:
    append_command(turn, invocation, proposed.entry)
    if not invocation.may_write_state:
        return
    command = pb.ClearStateCommand.FromString(proposed.entry.payload)
    assert invocation.target.key is not None, "only keyed handlers write state"
    turn.tables.objects.clear_state(invocation.target.service, invocation.target.key, command.key)


def on_clear_all_state(turn: Turn, invocation: Invocation, proposed: ProposedEntry) -> None:
    append_command(turn, invocation, proposed.entry)
    if not invocation.may_write_state:
        return
    assert invocation.target.key is not None, "only keyed handlers write state"
    turn.tables.objects.clear_all_state(invocation.target.service, invocation.target.key)


def on_get_promise(turn: Turn, invocation: Invocation, proposed: ProposedEntry) -> None:
    command = pb.GetPromiseCommand.FromString(proposed.entry.payload)
    append_command(turn, invocation, proposed.entry)
    issue(invocation, command.result_completion_id, _GET_PROMISE_COMPLETION)
    promises.get_promise(turn, invocation, command.key, command.result_completion_id)


def on_peek_promise(turn: Turn, invocation: Invocation, proposed: ProposedEntry) -> None:
    command = pb.PeekPromiseCommand.FromString(proposed.entry.payload)
    append_command(turn, invocation, proposed.entry)
    issue(invocation, command.result_completion_id, _PEEK_PROMISE_COMPLETION)
    promises.peek_promise(turn, invocation, command.key, command.result_completion_id)


def on_complete_promise(turn: Turn, invocation: Invocation, proposed: ProposedEntry) -> None:
    command = pb.CompletePromiseCommand.FromString(proposed.entry.payload)
    append_command(turn, invocation, proposed.entry)
    completion_id = command.result_completion_id
    issue(invocation, completion_id, _COMPLETE_PROMISE_COMPLETION)
    promises.complete_promise(turn, invocation, command.key, completion_id, promises.promise_result(command))


def on_sleep(turn: Turn, invocation: Invocation, proposed: ProposedEntry) -> None:
    command = pb.SleepCommand.FromString(proposed.entry.payload)
    append_command(turn, invocation, proposed.entry)
    completion_id = command.result_completion_id
    issue(invocation, completion_id, _SLEEP_COMPLETION)
    arm_timer(turn, invocation, command.wake_up_time, TimerKind.SLEEP, completion_id)


def on_call(turn: Turn, invocation: Invocation, proposed: ProposedEntry) -> None:
    command = pb.CallCommand.FromString(proposed.entry.payload)
    append_command(turn, invocation, proposed.entry)
    issue(invocation, command.invocation_id_notification_idx, _CALL_ID_COMPLETION)
    issue(invocation, command.result_completion_id, _CALL_COMPLETION)
    caller = Caller(invocation.id, command.result_completion_id, invocation.birth)
    invoke_callee(turn, invocation, proposed.callee, command, caller, execution_time_ms=0)


def on_one_way_call(turn: Turn, invocation: Invocation, proposed: ProposedEntry) -> None:
    command = pb.OneWayCallCommand.FromString(proposed.entry.payload)
    append_command(turn, invocation, proposed.entry)
    issue(invocation, command.invocation_id_notification_idx, _CALL_ID_COMPLETION)
    invoke_callee(turn, invocation, proposed.callee, command, None, command.invoke_time)


def invoke_callee(
    turn: Turn,
    invocation: Invocation,
    callee: Callee | None,
    command: pb.CallCommand | pb.OneWayCallCommand,
    caller: Caller | None,
    execution_time_ms: int,
) -> None:
    """Tell the caller its callee's id and send the callee its request."""
    assert callee is not None, "the proposer resolves whom a call addresses"
    id_completion = command.invocation_id_notification_idx
    complete(turn, invocation, id_completion, wire.invocation_id_completion(id_completion, callee.invocation_id))
    is_keyed = callee.service_type is not ServiceType.SERVICE
    has_idempotency_key = command.HasField("idempotency_key") and callee.handler_type is not HandlerType.WORKFLOW
    turn.send(
        Invoke(
            invocation_id=callee.invocation_id,
            target=Target(command.service_name, command.handler_name, command.key if is_keyed else None),
            service_type=callee.service_type,
            handler_type=callee.handler_type,
            payload=command.parameter,
            headers=tuple((header.key, header.value) for header in command.headers),
            idempotency_key=command.idempotency_key if has_idempotency_key else None,
            execution_time_ms=execution_time_ms,
            completion_retention_ms=callee.completion_retention_ms,
            random_seed=callee.random_seed,
            retry_policy=callee.retry_policy,
            caller=caller,
            schema_revision=callee.schema_revision,
            journal_retention_ms=callee.journal_retention_ms,
        )
    )


def on_attach(turn: Turn, invocation: Invocation, proposed: ProposedEntry) -> None:
    command = pb.AttachInvocationCommand.FromString(proposed.entry.payload)
    append_command(turn, invocation, proposed.entry)
    issue(invocation, command.result_completion_id, _ATTACH_COMPLETION)
    ask_callee(turn, invocation, proposed.callee, command.result_completion_id, wait=True)


def on_get_output(turn: Turn, invocation: Invocation, proposed: ProposedEntry) -> None:
    command = pb.GetInvocationOutputCommand.FromString(proposed.entry.payload)
    append_command(turn, invocation, proposed.entry)
    issue(invocation, command.result_completion_id, _OUTPUT_COMPLETION)
    ask_callee(turn, invocation, proposed.callee, command.result_completion_id, wait=False)


def ask_callee(turn: Turn, invocation: Invocation, callee: Callee | None, completion_id: int, *, wait: bool) -> None:
    assert callee is not None, "the proposer resolves whom an attach addresses"
    turn.send(Attach(callee.invocation_id, Caller(invocation.id, completion_id, invocation.birth), wait))


def on_send_signal(turn: Turn, invocation: Invocation, proposed: ProposedEntry) -> None:
    command = pb.SendSignalCommand.FromString(proposed.entry.payload)
    append_command(turn, invocation, proposed.entry)
    result: Result | None = None
    kind = command.WhichOneof("result")
    if kind == "value":
        result = Success(command.value.content)
    elif kind == "failure":
        result = wire.failure_from(command.failure)
    turn.send(Signal(command.target_invocation_id, command.idx, command.name, result))


def on_complete_awakeable(turn: Turn, invocation: Invocation, proposed: ProposedEntry) -> None:
    command = pb.CompleteAwakeableCommand.FromString(proposed.entry.payload)
    append_command(turn, invocation, proposed.entry)
    target_id, index = ids.parse_awakeable_id(command.awakeable_id)
    if index is None:
        return
    result: Result = Success(command.value.content)
    if command.WhichOneof("result") == "failure":
        result = wire.failure_from(command.failure)
    turn.send(Signal(target_id, index, "", result))


ENTRY_HANDLERS: Final[Mapping[int, EntryHandler]] = MappingProxyType(
    {
        MessageType.PROPOSE_RUN_COMPLETION: on_run_proposal,
        MessageType.OUTPUT: on_stored_only,
        MessageType.GET_LAZY_STATE: on_get_lazy_state,
        MessageType.SET_STATE: on_set_state,
        MessageType.CLEAR_STATE: on_clear_state,
        MessageType.CLEAR_ALL_STATE: on_clear_all_state,
        MessageType.GET_LAZY_STATE_KEYS: on_get_lazy_state_keys,
        MessageType.GET_EAGER_STATE: on_stored_only,
        MessageType.GET_EAGER_STATE_KEYS: on_stored_only,
        MessageType.GET_PROMISE: on_get_promise,
        MessageType.PEEK_PROMISE: on_peek_promise,
        MessageType.COMPLETE_PROMISE: on_complete_promise,
        MessageType.SLEEP: on_sleep,
        MessageType.CALL: on_call,
        MessageType.ONE_WAY_CALL: on_one_way_call,
        MessageType.SEND_SIGNAL: on_send_signal,
        MessageType.RUN: on_run,
        MessageType.ATTACH_INVOCATION: on_attach,
        MessageType.GET_INVOCATION_OUTPUT: on_get_output,
        MessageType.COMPLETE_AWAKEABLE: on_complete_awakeable,
    }
)
