"""Reading the journal: notifications into results, and recorded commands against attempted ones.

Recorded bytes come back as they were sent, so equal bytes are the normal case; only when they differ are both
messages decoded and compared field by field, minus the fields in `NOT_COMPARED`.
"""

from __future__ import annotations

from types import EllipsisType, MappingProxyType
from typing import Final

from google.protobuf.message import DecodeError, Message

from understudy.protocol import service_pb2 as pb
from understudy.protocol.messages import MESSAGES, MessageType
from understudy.vm import codes
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


def decode_plain(payload: bytes) -> tuple[Leaf, Result] | None:
    """A notification in the form nearly all have: a completion by id, void or with a short value.  None: another form.

    By hand, because most of a replay is to read such messages; a test holds it to protobuf.

    >>> decode_plain(bytes.fromhex("08022a050a03227222")), decode_plain(bytes.fromhex("08032200"))
    ((2, ('value', b'"r"')), (3, ('void', None)))
    """
    size = len(payload)
    if size < 4 or payload[0] != 0x08:
        return None
    key, at = payload[1], 2
    if key > 127:
        high = payload[2]
        if high > 127 or size < 5:
            return None
        key, at = key & 127 | high << 7, 3
    tag, left = payload[at], size - at - 2
    if payload[at + 1] != left or left > 127:
        return None
    if tag == 0x2A:
        if not left:
            return key, ("value", b"")
        if left > 1 and payload[at + 2] == 0x0A and payload[at + 3] == left - 2:
            return key, ("value", payload[at + 4 :])
    elif tag == 0x22 and not left:
        return key, EMPTY_VOID
    return None


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
    if recorded == attempted or (type_ == codes.SLEEP and same_sleep(recorded, attempted)):
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


def same_sleep(recorded: bytes, attempted: bytes) -> bool:
    """Whether two sleeps have the same name, told without decoding.  False: look closer."""
    try:
        return recorded[_after_times(recorded) :] == attempted[_after_times(attempted) :]
    except IndexError:
        return False


def _after_times(payload: bytes) -> int:
    """Where a sleep's name begins: after the wake-up time and the completion id.  Raises IndexError on what is cut."""
    at = 0
    for tag in (0x08, 0x58):
        if payload[at] != tag:
            raise IndexError
        at += 1
        while payload[at] > 127:
            at += 1
        at += 1
    return at


def eager_value(payload: bytes, head: bytes) -> bytes | EllipsisType | None:
    """The value in an eager read whose message begins with *head*, None for absent; `...` for another form of it.

    >>> eager_value(bytes.fromhex("0a016b72030a0131"), bytes.fromhex("0a016b"))
    b'1'
    """
    if not payload.startswith(head):
        return ...
    rest = payload[len(head) :]
    if rest == b"\x6a\x00":
        return None
    size = len(rest)
    if 1 < size < 130 and rest[0] == 0x72 and rest[1] == size - 2:
        if size == 2:
            return b""
        if size > 3 and rest[2] == 0x0A and rest[3] == size - 4:
            return rest[4:]
    return ...


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
