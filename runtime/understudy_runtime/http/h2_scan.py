"""Frame boundaries of an HTTP/2 connection, read before the library sees the bytes.  Sans-IO, no clock.

Not a parser: payloads are skipped.  It is here for two things the `h2` library does not do: GOAWAY frames are taken out
(to the library a GOAWAY ends the connection at once, while ours must let the streams below it finish), and frames that
cost us more than they cost the peer are counted.
"""

from __future__ import annotations

from typing import Final

import attrs

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_BYTES: Final = 9
DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PING: Final = 0x6
GOAWAY: Final = 0x7
CONTINUATION: Final = 0x9
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
# What GOAWAY says at least: the last stream and a code.
GOAWAY_BYTES_MIN: Final = 8
DEBUG_BYTES_MAX: Final = 1024
# The first bit of a stream's id means nothing.
STREAM_BITS: Final = 0x7FFFFFFF
# What our settings allow.
FRAME_BYTES_MAX: Final = 64 * 1024
# Frames a peer can send for nothing.
CHEAP: Final = (PRIORITY, RST_STREAM, SETTINGS, PING, CONTINUATION)


@attrs.frozen
class GoAway:
    """The peer opens no more: streams of ours above `last_stream` were not processed."""

    last_stream: int
    code: int
    debug: bytes = b""


class FrameTooLarge(Exception):
    """A frame announces more than our settings allow."""


class FrameScanner:
    """One direction of one connection.  `cheap` counts the frames that can flood; the owner judges the count."""

    def __init__(self, *, preface: bool) -> None:
        self.cheap = 0
        self.in_head = False
        self._skip = len(PREFACE) if preface else 0
        self._partial = b""

    def feed(self, data: bytes) -> list[bytes | GoAway]:
        """*data* in pieces for the library, with what was taken out in its place.  Raises FrameTooLarge."""
        if self._partial:
            data = self._partial + data
            self._partial = b""
        pieces: list[bytes | GoAway] = []
        start = 0
        at = self._skip
        end = len(data)
        while at + HEADER_BYTES <= end:
            length = int.from_bytes(data[at : at + 3], "big")
            if length > FRAME_BYTES_MAX:
                raise FrameTooLarge(f"a frame of {length} bytes: at most {FRAME_BYTES_MAX} are allowed")
            kind = data[at + 3]
            following = at + HEADER_BYTES + length
            if kind == GOAWAY and self._is_readable(data, at, length):
                if following > end:
                    break
                if at > start:
                    pieces.append(data[start:at])
                pieces.append(read_goaway(data[at + HEADER_BYTES : following]))
                start = following
            else:
                self._count(kind, data[at + 4], length)
            at = following
        if at >= end:
            self._skip = at - end
            at = end
        else:
            self._skip = 0
            self._partial = data[at:]
        if at > start:
            pieces.append(data[start:at])
        return pieces

    def _is_readable(self, data: bytes, at: int, length: int) -> bool:
        """A well-formed GOAWAY between header blocks; the others are the library's to refuse."""
        stream = int.from_bytes(data[at + 5 : at + HEADER_BYTES], "big") & STREAM_BITS
        return stream == 0 and length >= GOAWAY_BYTES_MIN and not self.in_head

    def _count(self, kind: int, flags: int, length: int) -> None:
        if kind in (HEADERS, CONTINUATION):
            self.in_head = not flags & END_HEADERS
        if kind in CHEAP or (kind == DATA and length == 0 and not flags & END_STREAM):
            self.cheap += 1


def read_goaway(payload: bytes) -> GoAway:
    """The frame in *payload*."""
    assert len(payload) >= GOAWAY_BYTES_MIN, "checked before it was taken out"
    last_stream = int.from_bytes(payload[:4], "big") & STREAM_BITS
    return GoAway(last_stream, int.from_bytes(payload[4:8], "big"), payload[8:])


def encode_goaway(last_stream: int, code: int, debug: bytes = b"") -> bytes:
    """The frame that says: nothing above *last_stream* was or will be processed."""
    assert 0 <= last_stream < 1 << 31, "a stream id has 31 bits"
    assert len(debug) <= DEBUG_BYTES_MAX, "a few words at most"
    length = GOAWAY_BYTES_MIN + len(debug)
    head = length.to_bytes(3, "big") + bytes((GOAWAY, 0)) + b"\0\0\0\0"
    return head + last_stream.to_bytes(4, "big") + code.to_bytes(4, "big") + debug
