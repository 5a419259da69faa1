"""The few forms of CBOR a record is made of, written as bytes directly.

A general encoder spends more time on finding out what a value is than on writing it; the codec knows from the model.
The bytes are those of canonical CBOR (shortest heads, no indefinite lengths); tests hold them equal to `cbor2`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

_HEADS: Final = (
    (1 << 8, 24, struct.Struct(">BB")),
    (1 << 16, 25, struct.Struct(">BH")),
    (1 << 32, 26, struct.Struct(">BI")),
    (1 << 64, 27, struct.Struct(">BQ")),
)
UNSIGNED: Final = 0x00
NEGATIVE: Final = 0x20
BYTES: Final = 0x40
TEXT: Final = 0x60
ARRAY: Final = 0x80
MAP: Final = 0xA0
NONE: Final = b"\xf6"
_TRUE: Final = b"\xf5"
_FALSE: Final = b"\xf4"


def head(major: int, number: int) -> bytes:
    """The head of an item: its major type and a count or value of at most 64 bits.

    >>> head(ARRAY, 2).hex(), head(UNSIGNED, 1000).hex()
    ('82', '1903e8')
    """
    assert 0 <= number < 1 << 64, "a head holds 64 bits"
    if number < 24:
        return bytes((major | number,))
    for bound, info, form in _HEADS:
        if number < bound:
            return form.pack(major | info, number)
    raise AssertionError("unreachable: the last bound is 64 bits")


_UNSIGNED_HEADS: Final = tuple(head(UNSIGNED, number) for number in range(256))
_BYTES_HEADS: Final = tuple(head(BYTES, number) for number in range(256))
_TEXT_HEADS: Final = tuple(head(TEXT, number) for number in range(256))
_ARRAY_HEADS: Final = tuple(head(ARRAY, number) for number in range(256))
MAP_HEADS: Final = tuple(head(MAP, number) for number in range(24))


def encode_int(value: int) -> bytes:
    """An integer from -2**64 to 2**64 - 1."""
    if 0 <= value < 256:
        return _UNSIGNED_HEADS[value]
    if 0 <= value < 65_536:
        return b"\x19" + value.to_bytes(2, "big")  # Type codes of messages are of this size.
    return head(UNSIGNED, value) if value >= 0 else head(NEGATIVE, -1 - value)


def encode_bytes(value: bytes) -> bytes:
    length = len(value)
    return (_BYTES_HEADS[length] if length < 256 else head(BYTES, length)) + value


def encode_text(value: str) -> bytes:
    data = value.encode()
    length = len(data)
    return (_TEXT_HEADS[length] if length < 256 else head(TEXT, length)) + data


def encode_bool(value: bool) -> bytes:
    return _TRUE if value else _FALSE


def encode_array(items: Sequence[bytes]) -> bytes:
    """An array of items that are encoded already."""
    length = len(items)
    return (_ARRAY_HEADS[length] if length < 256 else head(ARRAY, length)) + b"".join(items)


def encode_map(items: Mapping[int, bytes]) -> bytes:
    """A map from integers to items that are encoded already, in the order given."""
    parts = [head(MAP, len(items))]
    for key, item in items.items():
        parts += (encode_int(key), item)
    return b"".join(parts)


def encode_plain(value: object) -> bytes:
    """None, numbers, text, bytes, and lists and maps of them.  Raises TypeError for anything else."""
    if type(value) is int:
        return encode_int(value)  # Most are.
    encode = _PLAIN.get(type(value))
    if encode is None and isinstance(value, int):
        encode = encode_int
    if encode is None:
        raise TypeError(f"{type(value).__name__} has no plain form")
    return encode(value)


def _encode_plain_map(value: Mapping[object, object]) -> bytes:
    return head(MAP, len(value)) + b"".join([encode_plain(k) + encode_plain(v) for k, v in value.items()])


_PLAIN: Final = MappingProxyType[type, Callable[[Any], bytes]](
    {
        str: encode_text,
        bytes: encode_bytes,
        bool: encode_bool,
        type(None): lambda value: NONE,
        list: lambda value: encode_array([encode_plain(item) for item in value]),
        tuple: lambda value: encode_array([encode_plain(item) for item in value]),
        dict: _encode_plain_map,
    }
)
