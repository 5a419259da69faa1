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
    if number < 16_384:
        return bytes((number & 0x7F | 0x80, number >> 7))
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
    data = name.encode()
    size = len(data)
    if not 0 < size < 128:
        return b"\x58" + varint(completion_id) + _name(name)
    number = _SMALL[completion_id] if completion_id < 128 else varint(completion_id)
    return b"".join((b"\x58", number, b"\x62", _SMALL[size], data))


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
    head = eager_state_head(key, name)
    return head + b"\x6a\x00" if value is None else head + _value(b"\x72", value)


def eager_state_head(key: bytes, name: str) -> bytes:
    """What a GetEagerStateCommand begins with: all but its result."""
    head = _field(b"\x0a", key) if key else b""
    return head + _name(name) if name else head


def call_command(target: tuple[str, str, str, str | None], parameter: bytes, id_key: int, result_key: int) -> bytes:
    """CallCommand without headers; *target* is service, handler, key and idempotency key."""
    service, handler, key, idempotency_key = target
    target_bytes = _target(service.encode(), handler.encode())
    body = _field(b"\x1a", parameter) if parameter else b""
    if key:
        body += _text(b"\x2a", key)
    if idempotency_key is not None:
        body += _field(b"\x32", idempotency_key.encode())
    if id_key < 128 and result_key < 128:
        return b"%b%b\x50%c\x58%c" % (target_bytes, body, id_key, result_key)
    return b"".join((target_bytes, body, b"\x50", varint(id_key), b"\x58", varint(result_key)))


def _target(service: bytes, handler: bytes) -> bytes:
    """The first two fields of a call: who is called."""
    size, other = len(service), len(handler)
    if 0 < size < 128 and 0 < other < 128:
        return b"\x0a%c%b\x12%c%b" % (size, service, other, handler)
    return (_field(b"\x0a", service) if service else b"") + (_field(b"\x12", handler) if handler else b"")


def _text(tag: bytes, value: str) -> bytes:
    return _field(tag, value.encode()) if value else b""


def sleep_command(wake_up_time_ms: int, completion_id: int, name: str) -> bytes:
    """SleepCommand."""
    wake_up = b"\x08" + varint(wake_up_time_ms) if wake_up_time_ms else b""
    return b"".join((wake_up, b"\x58", varint(completion_id), _name(name)))
