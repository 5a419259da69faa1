"""Reading the journal: notifications into results, and recorded commands against attempted ones.

Recorded bytes come back as they were sent, so equal bytes are the normal case; only when they differ are both
messages decoded and compared field by field, minus the fields in `NOT_COMPARED`.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from google.protobuf.message import DecodeError, Message

from understudy.protocol import service_pb2 as pb
from understudy.protocol.messages import MESSAGES, MessageType
from understudy.vm.awaits import Failure, Leaf, Result
from understudy.vm.errors import InternalError

_T = MessageType

NOT_COMPARED: Final = MappingProxyType(
    {
        _T.SLEEP: ("wake_up_time", "result_completion_id"),
        _T.ONE_WAY_CALL: ("invoke_time",),
    }
)
"""Fields computed from a clock: the recorded value is the truth and the new one is ignored."""

VALUES: Final = MappingProxyType(
    {
        _T.OUTPUT: "value",
        _T.SET_STATE: "value",
        _T.CALL: "parameter",
        _T.ONE_WAY_CALL: "parameter",
        _T.SEND_SIGNAL: "value",
        _T.COMPLETE_PROMISE: "completion_value",
        _T.COMPLETE_AWAKEABLE: "value",
    }
)
"""Where a command keeps a value of the user's: not compared when a codec may write the same value in other bytes."""

EMPTY_VOID: Final[Result] = ("void", None)


def type_name(type_: int) -> str:
    """A message type as people know it, for error texts."""
    try:
        return MessageType(type_).name.lower()
    except ValueError:
        return f"message type 0x{type_:04X}"


def decode(type_: int, payload: bytes) -> Message:
    """The message of *type_* in *payload*.  Raises InternalError when the bytes are no such message."""
    class_ = MESSAGES.get(type_)
    if class_ is None:
        raise ValueError(f"{type_name(type_)} is none of the protocol's")
    try:
        return class_.FromString(payload)
    except DecodeError as error:
        raise InternalError(
            f"the server sent a {type_name(type_)} message that cannot be decoded ({len(payload)} bytes)"
        ) from error


def decode_failure(failure: pb.Failure) -> Failure:
    """A Failure message as a value."""
    metadata = tuple((entry.key, entry.value) for entry in failure.metadata)
    return Failure(failure.code, failure.message, metadata)


def encode_failure(failure: Failure) -> pb.Failure:
    """A failure as a message."""
    message = pb.Failure(code=failure.code, message=failure.message)
    for key, value in failure.metadata:
        message.metadata.add(key=key, value=value)
    return message


def decode_notification(type_: int, payload: bytes) -> tuple[Leaf, Result]:
    """Which await a notification answers, and with what.  Raises InternalError when either is missing."""
    try:
        note = pb.Notification.FromString(payload)
    except DecodeError as error:
        raise InternalError(
            f"the server sent a {type_name(type_)} notification that cannot be decoded ({len(payload)} bytes)"
        ) from error
    which = note.WhichOneof("id")
    key: Leaf
    if which == "completion_id":
        key = note.completion_id
    elif which == "signal_id":
        key = -note.signal_id
    elif which == "signal_name":
        key = note.signal_name
    else:
        raise InternalError(f"the server sent a {type_name(type_)} notification without an id")
    return key, _result(type_, note)


def _result(type_: int, note: pb.Notification) -> Result:
    kind = note.WhichOneof("result")
    if kind == "value":
        return "value", note.value.content
    if kind == "void":
        return EMPTY_VOID
    if kind == "failure":
        return "failure", decode_failure(note.failure)
    if kind == "invocation_id":
        return "invocation_id", note.invocation_id
    if kind == "state_keys":
        return "state_keys", tuple(note.state_keys.keys)
    raise InternalError(f"the server sent a {type_name(type_)} notification without a result")


def same_command(type_: int, recorded: bytes, attempted: bytes, *, compares_values: bool = True) -> bool:
    """Whether the *recorded* command says the same as the *attempted* one of the same type.

    Without *compares_values* the bytes of a user's value do not count; that there is one does.
    """
    if recorded == attempted:
        return True
    old, new = decode(type_, recorded), decode(type_, attempted)
    for field in NOT_COMPARED.get(MessageType(type_), ()):
        old.ClearField(field)
        new.ClearField(field)
    value = None if compares_values else VALUES.get(MessageType(type_))
    if value is not None:
        _forget(old, value)
        _forget(new, value)
    return old == new


def _forget(message: Message, field: str) -> None:
    """Empty a value, but leave that it is there."""
    value = getattr(message, field)
    if isinstance(value, bytes):
        message.ClearField(field)
    elif message.HasField(field):
        value.Clear()
        value.SetInParent()


def describe(type_: int, payload: bytes) -> str:
    """A command in one line, without payload bytes: type, name and the plain fields that tell it from others."""
    message = decode(type_, payload)
    parts = []
    for descriptor, value in message.ListFields():
        if descriptor.name.endswith(("_id", "_idx")) and descriptor.name != "target_invocation_id":
            continue
        if isinstance(value, bytes) and descriptor.name == "key":
            value = value.decode("utf-8", "replace")
        if isinstance(value, str | int):
            parts.append(f"{descriptor.name}={value!r}")
    return f"{type_name(type_)}({', '.join(parts)})"
