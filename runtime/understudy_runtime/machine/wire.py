"""The few messages the machine writes itself, byte for byte what protobuf makes of them, without building objects.

Notifications, the Input command and the start message are written for every step of every invocation; everything else
goes through `service_pb2`.  Tests hold each function equal to protobuf.
"""

from __future__ import annotations

from collections.abc import Iterable

from understudy.protocol import service_pb2 as pb

from understudy_runtime.model.invocation import Failure, Result, Success

_ONE_BYTE = tuple(bytes((value,)) for value in range(128))
_VOID_RESULT = b"\x22\x00"


def varint(value: int) -> bytes:
    """*value* in base 128, least significant group first."""
    assert value >= 0, "only unsigned numbers are written"
    if value < 128:
        return _ONE_BYTE[value]
    groups = bytearray()
    while value >= 128:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def chunk(tag: bytes, content: bytes) -> bytes:
    """A length-delimited field: *tag*, the length of *content*, *content*."""
    length = len(content)
    return tag + (_ONE_BYTE[length] if length < 128 else varint(length)) + content


def value_message(content: bytes) -> bytes:
    """A Value."""
    return chunk(b"\x0a", content) if content else b""


def failure_message(failure: Failure) -> bytes:
    """A Failure."""
    message = pb.Failure(code=failure.code, message=failure.message)
    for key, value in failure.metadata:
        message.metadata.add(key=key, value=value)
    return message.SerializeToString()


def result_field(result: Result | None) -> bytes:
    """The result of a notification: void, value or failure."""
    if result is None:
        return _VOID_RESULT
    if type(result) is Success:
        return chunk(b"\x2a", value_message(result.value))
    assert type(result) is Failure, "a result is a success or a failure"
    return chunk(b"\x32", failure_message(result))


def completion(completion_id: int, result: Result | None) -> bytes:
    """A notification that completes *completion_id*."""
    return b"\x08" + varint(completion_id) + result_field(result)


def invocation_id_completion(completion_id: int, invocation_id: str) -> bytes:
    """A notification that tells a caller its callee's id."""
    return b"\x08" + varint(completion_id) + chunk(b"\x82\x01", invocation_id.encode())


def state_keys_completion(completion_id: int, keys: Iterable[bytes]) -> bytes:
    """A notification that lists the keys of a state."""
    body = b"".join([chunk(b"\x0a", key) for key in keys])
    return b"\x08" + varint(completion_id) + chunk(b"\x8a\x01", body)


def signal(index: int, name: str, result: Result | None) -> bytes:
    """A signal notification: by *name* when there is one, else by *index*."""
    if name:
        return chunk(b"\x1a", name.encode()) + result_field(result)
    return b"\x10" + varint(index) + result_field(result)


def input_command(headers: Iterable[tuple[str, str]], payload: bytes) -> bytes:
    """The Input command: journal entry 0."""
    parts: list[bytes] = []
    for key, value in headers:
        pair = (chunk(b"\x0a", key.encode()) if key else b"") + (chunk(b"\x12", value.encode()) if value else b"")
        parts.append(chunk(b"\x0a", pair))
    parts.append(chunk(b"\x72", value_message(payload)))
    return b"".join(parts)


def failure_from(message: pb.Failure) -> Failure:
    """A protobuf Failure as a value of the model."""
    return Failure(message.code, message.message, tuple((pair.key, pair.value) for pair in message.metadata))
