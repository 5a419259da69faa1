"""The few hottest messages, written by hand: byte-equal to protobuf's encoding and several times as quick to build.

Everything that is not on the path of a plain step is built with `service_pb2`. A test holds each function
here to protobuf.
"""

from __future__ import annotations

from typing import Final

_SMALL: Final = tuple(bytes((n,)) for n in range(128))


def varint(number: int) -> bytes:
    """*number* (``>= 0``) in base 128, least significant group first."""
    if number < 128:
        return _SMALL[number]
    out = bytearray()
    while number > 127:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(tag: bytes, data: bytes) -> bytes:
    size = len(data)
    return tag + (_SMALL[size] if size < 128 else varint(size)) + data


def _value(tag: bytes, content: bytes) -> bytes:
    """A Value message holding *content* as the field *tag*."""
    return _field(tag, _field(b"\x0a", content) if content else b"")


def _name(name: str) -> bytes:
    return _field(b"\x62", name.encode()) if name else b""


def run_command(completion_id: int, name: str) -> bytes:
    """RunCommand."""
    return b"\x58" + varint(completion_id) + _name(name)


def propose_value(completion_id: int, value: bytes) -> bytes:
    """ProposeRunCompletion with a value."""
    return b"\x08" + varint(completion_id) + _field(b"\x72", value)


def output_value(value: bytes) -> bytes:
    """OutputCommand with a value."""
    return _value(b"\x72", value)


def set_state_command(key: bytes, value: bytes, name: str) -> bytes:
    """SetStateCommand."""
    return (_field(b"\x0a", key) if key else b"") + _value(b"\x1a", value) + _name(name)


def get_eager_state_command(key: bytes, value: bytes | None, name: str) -> bytes:
    """GetEagerStateCommand; None is "absent"."""
    head = _field(b"\x0a", key) if key else b""
    if value is None:
        return b"".join((head, _name(name), b"\x6a\x00"))
    return b"".join((head, _name(name), _value(b"\x72", value)))


def sleep_command(wake_up_time_ms: int, completion_id: int, name: str) -> bytes:
    """SleepCommand."""
    wake_up = b"\x08" + varint(wake_up_time_ms) if wake_up_time_ms else b""
    return b"".join((wake_up, b"\x58", varint(completion_id), _name(name)))
