"""Header blocks: those we send, literals without a dynamic table, encoded once and kept; those we get, read once.

An encoder need not compress (RFC 7541): what every request repeats is a look-up here, what differs is a copy, and no
search, no Huffman code and no state is shared between streams.  The block is some hundred bytes longer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import hpack

# Static table entries: whole fields, and names.
INDEXED: Final = (
    (b":method", b"GET", 2),
    (b":method", b"POST", 3),
    (b":path", b"/", 4),
    (b":scheme", b"http", 6),
    (b":scheme", b"https", 7),
    (b":status", b"200", 8),
    (b":status", b"204", 9),
    (b":status", b"206", 10),
    (b":status", b"304", 11),
    (b":status", b"400", 12),
    (b":status", b"404", 13),
    (b":status", b"500", 14),
)
NAMES: Final = (
    (b":authority", 1),
    (b":path", 4),
    (b":status", 8),
    (b"accept", 19),
    (b"content-length", 28),
    (b"content-type", 31),
    (b"date", 33),
)
NO_TABLE: Final = b"\x20"
KEPT_MAX: Final = 256
# Longer fields are not kept: they hardly repeat.
KEPT_BYTES_MAX: Final = 128


class PlainEncoder:
    """Takes the place of the library's encoder.  The first block tells the peer that our table has no room."""

    def __init__(self) -> None:
        self.header_table_size = 4096  # The peer's bound for a table we do not use.
        self._kept = {(name, value): bytes((0x80 | index,)) for name, value, index in INDEXED}
        self._name_parts = {name: encode_integer(index, 4) for name, index in NAMES}
        self._kept_max = len(self._kept) + KEPT_MAX
        self._opening = NO_TABLE

    def encode(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """The block of *headers*: lower-case names, in order."""
        kept = self._kept
        parts = [kept.get((name, value)) or self._literal(name, value) for name, value in headers]
        opening, self._opening = self._opening, b""
        return opening + b"".join(parts)

    def _literal(self, name: bytes, value: bytes) -> bytes:
        name_part = self._name_parts.get(name)
        if name_part is None:
            name_part = b"\0" + encode_text(name)
        field = name_part + encode_text(value)
        if len(self._kept) < self._kept_max and len(field) <= KEPT_BYTES_MAX and name not in UNIQUE:
            self._kept[name, value] = field
        return field


# Blocks kept by a decoder, and their length: few differ, and long ones seldom come again.
READ_MAX: Final = 64
READ_BYTES_MAX: Final = 512
# Values that differ from request to request.
UNIQUE: Final = (b"x-restate-invocation-id", b"x-restate-service-key", b"x-restate-jwt-v1", b"x-restate-id", b"date")


class KeepingDecoder(hpack.Decoder):
    """Takes the place of the library's decoder.  A block that came before, and changed no table, is not read again."""

    def __init__(self) -> None:
        super().__init__()
        self._read: dict[bytes, list[hpack.HeaderTuple]] = {}

    def decode(self, data: bytes, raw: bool = False) -> list[hpack.HeaderTuple]:
        """The fields in *data*.  Raises hpack.HPACKError."""
        assert raw, "the library asks for bytes"
        block = bytes(data)
        read = self._read.get(block)
        if read is not None:
            return read
        table = self.header_table
        entries = table.dynamic_entries
        count, youngest, size_max = len(entries), entries[0] if entries else None, table.maxsize
        headers = list(super().decode(block, raw=True))
        # An entry that is added is a new object at the front.
        is_same = len(entries) == count and (not entries or entries[0] is youngest) and table.maxsize == size_max
        if not is_same or len(self._read) >= READ_MAX:
            self._read.clear()
        elif len(block) <= READ_BYTES_MAX:
            self._read[block] = headers
        return headers


def encode_text(text: bytes) -> bytes:
    """A string literal, not compressed."""
    return encode_integer(len(text), 7) + text


def encode_integer(value: int, prefix_bits: int) -> bytes:
    """An integer with a prefix of *prefix_bits*, whose upper bits are zero (RFC 7541, 5.1).

    >>> encode_integer(10, 5), encode_integer(1337, 5)
    (b'\\n', b'\\x1f\\x9a\\n')
    """
    assert value >= 0, "lengths and indices are not negative"
    limit = (1 << prefix_bits) - 1
    if value < limit:
        return bytes((value,))
    out = [limit]
    value -= limit
    while value >= 0x80:
        out.append(0x80 | (value & 0x7F))
        value >>= 7
    out.append(value)
    return bytes(out)
