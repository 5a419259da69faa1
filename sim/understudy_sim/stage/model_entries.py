"""The reference model, second half: what each journaled command does.  Entries not named here are only stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from understudy.protocol import service_pb2 as pb
from understudy.protocol.messages import MessageType as M
from understudy_runtime.model import commands as c
from understudy_runtime.model.ids import parse_awakeable_id
from understudy_runtime.model.invocation import Failure, HandlerType, Result, Success, Target

from understudy_sim.stage.model_words import VOID, Invocation, Note, key_of, one_of

if TYPE_CHECKING:
    from understudy_sim.stage.model import PartitionModel

CANCEL: Final = 1


def _set_state(model: PartitionModel, inv: Invocation, payload: bytes, _: Any) -> None:
    command = pb.SetStateCommand.FromString(payload)
    if inv.command.handler_type is not HandlerType.SHARED:
        _state(model, inv)[command.key] = command.value.content


def _clear_state(model: PartitionModel, inv: Invocation, payload: bytes, _: Any) -> None:
    if inv.command.handler_type is not HandlerType.SHARED:
        _state(model, inv).pop(pb.ClearStateCommand.FromString(payload).key, None)


def _clear_all_state(model: PartitionModel, inv: Invocation, payload: bytes, _: Any) -> None:
    if inv.command.handler_type is not HandlerType.SHARED:
        _state(model, inv).clear()


def _state(model: PartitionModel, inv: Invocation) -> dict[bytes, bytes]:
    key = key_of(inv.command.target)
    model.effects.keys[key] = None
    return model.state.setdefault(key, {})


def _get_lazy_state(model: PartitionModel, inv: Invocation, payload: bytes, _: Any) -> None:
    command = pb.GetLazyStateCommand.FromString(payload)
    value = model.state.get(key_of(inv.command.target), {}).get(command.key)
    says = VOID if value is None else Success(value)
    model.notify(inv, Note(M.GET_LAZY_STATE_COMPLETION, command.result_completion_id, says))


def _get_lazy_state_keys(model: PartitionModel, inv: Invocation, payload: bytes, _: Any) -> None:
    command = pb.GetLazyStateKeysCommand.FromString(payload)
    keys = tuple(sorted(model.state.get(key_of(inv.command.target), {})))
    model.notify(inv, Note(M.GET_LAZY_STATE_KEYS_COMPLETION, command.result_completion_id, keys))


def _get_promise(model: PartitionModel, inv: Invocation, payload: bytes, _: Any) -> None:
    command = pb.GetPromiseCommand.FromString(payload)
    promise = _promise(model, inv, command.key)
    if isinstance(promise, list):
        inv.expects[command.result_completion_id] = M.GET_PROMISE_COMPLETION
        promise.append(c.Caller(inv.command.invocation_id, command.result_completion_id, inv.birth))
    else:
        model.notify(inv, Note(M.GET_PROMISE_COMPLETION, command.result_completion_id, promise))


def _peek_promise(model: PartitionModel, inv: Invocation, payload: bytes, _: Any) -> None:
    command = pb.PeekPromiseCommand.FromString(payload)
    promise = model.promises.get(key_of(inv.command.target), {}).get(command.key, [])
    says = VOID if isinstance(promise, list) else promise
    model.notify(inv, Note(M.PEEK_PROMISE_COMPLETION, command.result_completion_id, says))


def _complete_promise(model: PartitionModel, inv: Invocation, payload: bytes, _: Any) -> None:
    command = pb.CompletePromiseCommand.FromString(payload)
    promise = _promise(model, inv, command.key)
    says: Any = VOID
    if isinstance(promise, list):
        result = one_of(command, "completion")
        model.promises[key_of(inv.command.target)][command.key] = result
        for listener in promise:
            model.answer(listener, result)
    else:
        says = Failure(409, "")
    model.notify(inv, Note(M.COMPLETE_PROMISE_COMPLETION, command.result_completion_id, says))


def _promise(model: PartitionModel, inv: Invocation, name: str) -> Result | list[c.Caller]:
    key = key_of(inv.command.target)
    model.effects.keys[key] = None
    return model.promises.setdefault(key, {}).setdefault(name, [])


def _sleep(model: PartitionModel, inv: Invocation, payload: bytes, _: Any) -> None:
    command = pb.SleepCommand.FromString(payload)
    inv.expects[command.result_completion_id] = M.SLEEP_COMPLETION
    id_ = inv.command.invocation_id
    model.arm(command.wake_up_time, "sleep", id_, command.result_completion_id)


def _call(model: PartitionModel, inv: Invocation, payload: bytes, callee: c.Callee) -> None:
    command = pb.CallCommand.FromString(payload)
    inv.expects[command.result_completion_id] = M.CALL_COMPLETION
    caller = c.Caller(inv.command.invocation_id, command.result_completion_id, inv.birth)
    _place(model, inv, command, callee, caller, 0)


def _one_way_call(model: PartitionModel, inv: Invocation, payload: bytes, callee: c.Callee) -> None:
    command = pb.OneWayCallCommand.FromString(payload)
    _place(model, inv, command, callee, None, command.invoke_time)


def _place(
    model: PartitionModel, inv: Invocation, command: Any, callee: c.Callee, caller: c.Caller | None, at_ms: int
) -> None:
    inv.callees.append(callee.invocation_id)
    model.notify(
        inv, Note(M.CALL_INVOCATION_ID_COMPLETION, command.invocation_id_notification_idx, callee.invocation_id)
    )
    keyed = callee.service_type != 0
    target = Target(command.service_name, command.handler_name, command.key if keyed else None)
    # A workflow's run has the key of its workflow, no other.
    has_key = command.HasField("idempotency_key") and callee.handler_type is not HandlerType.WORKFLOW
    invoke = c.Invoke(
        invocation_id=callee.invocation_id,
        target=target,
        service_type=callee.service_type,
        handler_type=callee.handler_type,
        payload=command.parameter,
        headers=tuple((header.key, header.value) for header in command.headers),
        idempotency_key=command.idempotency_key if has_key else None,
        execution_time_ms=at_ms,
        completion_retention_ms=callee.completion_retention_ms,
        random_seed=callee.random_seed,
        retry_policy=callee.retry_policy,
        caller=caller,
        schema_revision=callee.schema_revision,
        journal_retention_ms=callee.journal_retention_ms,
    )
    model.effects.placed.append((inv.command.invocation_id, invoke))
    model.send(callee.invocation_id, invoke)


def _send_signal(model: PartitionModel, inv: Invocation, payload: bytes, _: Any) -> None:
    command = pb.SendSignalCommand.FromString(payload)
    result = one_of(command, "result")
    to = command.target_invocation_id
    if command.idx == CANCEL and not command.name:
        model.effects.cancels.append((inv.command.invocation_id, to))
    model.send(to, c.Signal(to, command.idx, command.name, None if result == VOID else result))


def _complete_awakeable(model: PartitionModel, inv: Invocation, payload: bytes, _: Any) -> None:
    command = pb.CompleteAwakeableCommand.FromString(payload)
    to, index = parse_awakeable_id(command.awakeable_id)
    if index is not None:
        model.send(to, c.Signal(to, index, "", one_of(command, "result")))


def _attach_invocation(model: PartitionModel, inv: Invocation, payload: bytes, callee: c.Callee) -> None:
    command = pb.AttachInvocationCommand.FromString(payload)
    inv.expects[command.result_completion_id] = M.ATTACH_INVOCATION_COMPLETION
    caller = c.Caller(inv.command.invocation_id, command.result_completion_id, inv.birth)
    model.send(callee.invocation_id, c.Attach(callee.invocation_id, caller, wait=True))


def _get_invocation_output(model: PartitionModel, inv: Invocation, payload: bytes, callee: c.Callee) -> None:
    command = pb.GetInvocationOutputCommand.FromString(payload)
    inv.expects[command.result_completion_id] = M.GET_INVOCATION_OUTPUT_COMPLETION
    caller = c.Caller(inv.command.invocation_id, command.result_completion_id, inv.birth)
    model.send(callee.invocation_id, c.Attach(callee.invocation_id, caller, wait=False))


def _run_step(model: PartitionModel, inv: Invocation, payload: bytes, _: Any) -> None:
    inv.expects[pb.RunCommand.FromString(payload).result_completion_id] = M.RUN_COMPLETION


ENTRY_RULES: Final[Mapping[int, Callable[[PartitionModel, Invocation, bytes, Any], None]]] = MappingProxyType(
    {
        M.SET_STATE: _set_state,
        M.CLEAR_STATE: _clear_state,
        M.CLEAR_ALL_STATE: _clear_all_state,
        M.GET_LAZY_STATE: _get_lazy_state,
        M.GET_LAZY_STATE_KEYS: _get_lazy_state_keys,
        M.GET_PROMISE: _get_promise,
        M.PEEK_PROMISE: _peek_promise,
        M.COMPLETE_PROMISE: _complete_promise,
        M.SLEEP: _sleep,
        M.CALL: _call,
        M.ONE_WAY_CALL: _one_way_call,
        M.RUN: _run_step,
        M.SEND_SIGNAL: _send_signal,
        M.COMPLETE_AWAKEABLE: _complete_awakeable,
        M.ATTACH_INVOCATION: _attach_invocation,
        M.GET_INVOCATION_OUTPUT: _get_invocation_output,
    }
)
