"""Frames: how messages lie in a byte stream, in both directions of the service protocol.

A frame is an 8-byte big-endian header, ``type(u16) flags(u16) length(u32)``, and *length* bytes of payload.  HTTP chunk
and DATA boundaries carry no meaning, so the decoder buffers across them.  This module knows no message but the ranges
of
type codes; it does no I/O.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

HEADER = struct.Struct(">HHI")
FLAG_REQUESTED_ACK = 0x8000
PAYLOAD_BYTES_MAX = 32 * 1024 * 1024


class Frame(NamedTuple):
    """One message on the wire: its type code, its flags and its protobuf payload, unread."""

    type: int
    payload: bytes
    flags: int = 0


class FramingError(ValueError):
    """The peer sent bytes that are no frame."""


def encode_frames(frames: Iterable[Frame]) -> bytes:
    """Join *frames* into the bytes that cross the wire.

    >>> encode_frames([Frame(0x0003, b"")]).hex()
    '0003000000000000'
    """
    parts: list[bytes] = []
    for type_, payload, flags in frames:
        parts.append(HEADER.pack(type_, flags, len(payload)))
        parts.append(payload)
    return b"".join(parts)


class FrameDecoder:
    """Bytes in, whole frames out.  Keeps what is incomplete until the rest arrives."""

    __slots__ = ("_buffer", "_payload_bytes_max")

    def __init__(self, payload_bytes_max: int = PAYLOAD_BYTES_MAX) -> None:
        self._buffer = bytearray()
        self._payload_bytes_max = payload_bytes_max

    @property
    def pending_bytes(self) -> int:
        """Bytes received that do not make a whole frame yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """Take *data* and return the frames it completes.

        Raises FramingError when a header announces a payload above the bound; the stream is unusable then.
        """
        buffer = self._buffer
        buffer += data
        frames: list[Frame] = []
        at = 0
        while len(buffer) - at >= HEADER.size:
            type_, flags, length = HEADER.unpack_from(buffer, at)
            if length > self._payload_bytes_max:
                raise FramingError(
                    f"the peer announced a message (type 0x{type_:04X}) of {length} bytes, "
                    f"above the limit of {self._payload_bytes_max}"
                )
            end = at + HEADER.size + length
            if len(buffer) < end:
                break
            frames.append(Frame(type_, bytes(buffer[at + HEADER.size : end]), flags))
            at = end
        if at:
            del buffer[:at]
        return frames
