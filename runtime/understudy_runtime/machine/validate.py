"""What an SDK may propose: checked before the log, so that applying a durable record can never fail on its content.

`validate_entry` is the invoker's gate for every entry; `addressed` tells it whom an entry is about, so that it can
write the callee into the command.  Both decode the payload once each; neither looks anything up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Final

import attrs
from google.protobuf.message import DecodeError
from understudy.protocol import service_pb2 as pb
from understudy.protocol.messages import MESSAGES, MessageType

from understudy_runtime.machine.journal_entries import ENTRY_HANDLERS
from understudy_runtime.model import ids
from understudy_runtime.model.invocation import Entry, HandlerType, ServiceType


class InvalidEntry(ValueError):
    """The SDK proposed what the journal cannot take: which message, what was found, what was expected."""


# What may be journaled, by the number on the wire: an enum is slow to build from its value.
JOURNALED: Final[Mapping[int, MessageType]] = MappingProxyType({int(t): MessageType(t) for t in ENTRY_HANDLERS})
STATE_WRITES: Final = (MessageType.SET_STATE, MessageType.CLEAR_STATE, MessageType.CLEAR_ALL_STATE)
PROMISE_COMMANDS: Final = (MessageType.GET_PROMISE, MessageType.PEEK_PROMISE, MessageType.COMPLETE_PROMISE)
# What not every handler may do.
RESTRICTED: Final = frozenset((*STATE_WRITES, *PROMISE_COMMANDS))


def validate_entry(
    entry: Entry, service_type: ServiceType | None = None, handler_type: HandlerType | None = None
) -> None:
    """Refuse what must not come to the log.  With the handler's types also what this handler may not do.

    Raises InvalidEntry.
    """
    accepted = ACCEPTED.get(entry.type)
    if accepted is None:
        raise InvalidEntry(f"a message of type 0x{entry.type:04X} cannot be journaled: it is no command of an SDK")
    type_, parse, checks = accepted
    try:
        message = parse(entry.payload)
    except DecodeError as error:
        raise InvalidEntry(f"{type_.name} cannot be decoded: {error}") from error
    for check in checks:
        check(type_, message)
    if type_ in RESTRICTED:
        _refuse_by_handler(type_, service_type, handler_type)


def _refuse_by_handler(type_: MessageType, service_type: ServiceType | None, handler_type: HandlerType | None) -> None:
    if handler_type is HandlerType.SHARED and type_ in STATE_WRITES:
        raise InvalidEntry(f"{type_.name} from a shared handler: make the handler exclusive to write state")
    if service_type not in (None, ServiceType.WORKFLOW) and type_ in PROMISE_COMMANDS:
        raise InvalidEntry(f"{type_.name} outside a workflow: only workflows have promises")


def _completion(type_: MessageType, message: Any) -> None:
    if message.result_completion_id == 0:
        raise InvalidEntry(f"{type_.name} has no completion id: ids start at 1")


def _callee(type_: MessageType, message: Any) -> None:
    if message.invocation_id_notification_idx == 0:
        raise InvalidEntry(f"{type_.name} has no completion id for its callee's id: ids start at 1")
    if not message.service_name or not message.handler_name:
        raise InvalidEntry(f"{type_.name} names no callee: service and handler are needed")
    if message.HasField("idempotency_key") and not message.idempotency_key:
        raise InvalidEntry(f"{type_.name} has an empty idempotency key: leave it out or fill it")


def _result(type_: MessageType, message: Any) -> None:
    if message.WhichOneof("result") is None:
        raise InvalidEntry(f"{type_.name} has no result: a value or a failure is needed")


def _promise_completion(type_: MessageType, message: Any) -> None:
    if message.WhichOneof("completion") is None:
        raise InvalidEntry(f"{type_.name} has no completion: a value or a failure is needed")


def _signal(type_: MessageType, message: pb.SendSignalCommand) -> None:
    _invocation_id(type_, message.target_invocation_id)
    if not message.idx and not message.name:
        raise InvalidEntry(f"{type_.name} names no signal: an index from 1 or a name is needed")


def _awakeable(type_: MessageType, message: pb.CompleteAwakeableCommand) -> None:
    try:
        ids.parse_awakeable_id(message.awakeable_id)
    except ids.InvalidId as error:
        raise InvalidEntry(f"{type_.name}: {error}") from error


def _target(type_: MessageType, message: Any) -> None:
    kind = message.WhichOneof("target")
    if kind == "invocation_id":
        _invocation_id(type_, message.invocation_id)
    elif kind == "workflow_target":
        if not message.workflow_target.workflow_name:
            raise InvalidEntry(f"{type_.name} names no workflow")
    elif kind == "idempotent_request_target":
        target = message.idempotent_request_target
        if not (target.service_name and target.handler_name and target.idempotency_key):
            raise InvalidEntry(f"{type_.name} needs service, handler and idempotency key")
    else:
        raise InvalidEntry(f"{type_.name} addresses nothing: an invocation, a request or a workflow is needed")


def _invocation_id(type_: MessageType, text: str) -> None:
    try:
        ids.raw_id(text)
    except ids.InvalidId as error:
        raise InvalidEntry(f"{type_.name}: {error}") from error


CHECKS: Final[Mapping[MessageType, tuple[Callable[[MessageType, Any], None], ...]]] = MappingProxyType(
    {
        MessageType.PROPOSE_RUN_COMPLETION: (_completion, _result),
        MessageType.OUTPUT: (_result,),
        MessageType.GET_LAZY_STATE: (_completion,),
        MessageType.SET_STATE: (),
        MessageType.CLEAR_STATE: (),
        MessageType.CLEAR_ALL_STATE: (),
        MessageType.GET_LAZY_STATE_KEYS: (_completion,),
        MessageType.GET_EAGER_STATE: (),
        MessageType.GET_EAGER_STATE_KEYS: (),
        MessageType.GET_PROMISE: (_completion,),
        MessageType.PEEK_PROMISE: (_completion,),
        MessageType.COMPLETE_PROMISE: (_completion, _promise_completion),
        MessageType.SLEEP: (_completion,),
        MessageType.CALL: (_completion, _callee),
        MessageType.ONE_WAY_CALL: (_callee,),
        MessageType.SEND_SIGNAL: (_signal, _result),
        MessageType.RUN: (_completion,),
        MessageType.ATTACH_INVOCATION: (_completion, _target),
        MessageType.GET_INVOCATION_OUTPUT: (_completion, _target),
        MessageType.COMPLETE_AWAKEABLE: (_awakeable, _result),
    }
)


Check = Callable[[MessageType, Any], None]
# By the number on the wire: the type, how it is decoded, what is checked.
ACCEPTED: Final = MappingProxyType[int, tuple[MessageType, Callable[[bytes], Any], tuple[Check, ...]]](
    {number: (type_, MESSAGES[type_].FromString, CHECKS[type_]) for number, type_ in JOURNALED.items()}
)


class AddressKind(IntEnum):
    """How an entry names the invocation it is about."""

    CALL = 1  # A new request: service, handler, key, perhaps an idempotency key.
    REQUEST = 2  # An earlier request, by its idempotency key.
    WORKFLOW_RUN = 3  # The run of a workflow: service and key.
    INVOCATION = 4  # By id.


@attrs.frozen
class Addressed:
    """Whom an entry is about.

    `key` of a CALL is as on the wire: "" also stands for none, the callee's schema knows.  Elsewhere None is none.
    """

    kind: AddressKind
    service: str = ""
    handler: str = ""
    key: str | None = None
    idempotency_key: str | None = None
    invocation_id: str = ""


def addressed(entry: Entry) -> Addressed | None:
    """Whom a validated *entry* is about; None when it is about nobody else."""
    address = ADDRESSES.get(entry.type)
    return None if address is None else address(entry.payload)


def _address_call(payload: bytes) -> Addressed:
    return _address_request(pb.CallCommand.FromString(payload))


def _address_one_way_call(payload: bytes) -> Addressed:
    return _address_request(pb.OneWayCallCommand.FromString(payload))


def _address_request(command: pb.CallCommand | pb.OneWayCallCommand) -> Addressed:
    idempotency_key = command.idempotency_key if command.HasField("idempotency_key") else None
    return Addressed(AddressKind.CALL, command.service_name, command.handler_name, command.key, idempotency_key)


def _address_attach(payload: bytes) -> Addressed:
    return _address_target(pb.AttachInvocationCommand.FromString(payload))


def _address_get_output(payload: bytes) -> Addressed:
    return _address_target(pb.GetInvocationOutputCommand.FromString(payload))


def _address_target(command: pb.AttachInvocationCommand | pb.GetInvocationOutputCommand) -> Addressed:
    kind = command.WhichOneof("target")
    if kind == "workflow_target":
        workflow = command.workflow_target
        return Addressed(AddressKind.WORKFLOW_RUN, workflow.workflow_name, "", workflow.workflow_key)
    if kind == "idempotent_request_target":
        request = command.idempotent_request_target
        key = request.service_key if request.HasField("service_key") else None
        return Addressed(AddressKind.REQUEST, request.service_name, request.handler_name, key, request.idempotency_key)
    assert kind == "invocation_id", "a validated entry addresses something"
    return Addressed(AddressKind.INVOCATION, invocation_id=command.invocation_id)


def _address_signal(payload: bytes) -> Addressed:
    command = pb.SendSignalCommand.FromString(payload)
    return Addressed(AddressKind.INVOCATION, invocation_id=command.target_invocation_id)


def _address_awakeable(payload: bytes) -> Addressed:
    command = pb.CompleteAwakeableCommand.FromString(payload)
    return Addressed(AddressKind.INVOCATION, invocation_id=ids.parse_awakeable_id(command.awakeable_id)[0])


ADDRESSES: Final[Mapping[int, Callable[[bytes], Addressed]]] = MappingProxyType(
    {
        MessageType.CALL: _address_call,
        MessageType.ONE_WAY_CALL: _address_one_way_call,
        MessageType.ATTACH_INVOCATION: _address_attach,
        MessageType.GET_INVOCATION_OUTPUT: _address_get_output,
        MessageType.SEND_SIGNAL: _address_signal,
        MessageType.COMPLETE_AWAKEABLE: _address_awakeable,
    }
)
