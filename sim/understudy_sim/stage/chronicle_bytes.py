"""What bytes on a connection say: HTTP/1.1, HTTP/2 and lines of JSON, read after the run from what was sent.

Each chunk is told what begins in it.  A reader is no parser: what it does not understand is so many bytes, and nothing
in here fails for what a program under test has sent.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from hpack import Decoder
from hpack.exceptions import HPACKError
from understudy.protocol.framing import HEADER, PAYLOAD_BYTES_MAX

from understudy_sim.stage.chronicle_words import CONTROLS, shortened, type_text, value_text

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
REQUEST_LINE: Final = re.compile(rb"[A-Z]+ \S+ HTTP/1\.1\r\n")
ATTEMPTS: Final = "/invoke/"
FRAMES: Final = ("body", "headers", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH", "PING", "GOAWAY", "window", "headers")
DATA, HEADERS, CONTINUATION = 0, 1, 9
PADDED, PRIORITY, END_HEADERS = 0x8, 0x20, 0x4
TEXT_CHARACTERS_MAX: Final = 160


class Mark(NamedTuple):
    """At byte *at* of a pipe something begins."""

    at: int
    what: str
    invocation: str = ""


class Chunk(Protocol):
    """A message of a pipe, in the order of sending."""

    number: int
    item: Any


class Attempt(NamedTuple):
    """What the head of a request says about the exchange it begins."""

    invocation: str = ""
    is_attempt: bool = False


def readings(pipes: Mapping[int, Sequence[Chunk]]) -> dict[int, tuple[str, str]]:
    """For each message of bytes: what begins in it, and the invocation it is about.

    *pipes* are even for what a client sends; the answers to pipe n are in pipe n + 1.
    """
    told: dict[int, tuple[str, str]] = {}
    for forward in dict.fromkeys(number & ~1 for number in pipes):
        asked, answered = pipes.get(forward, ()), pipes.get(forward | 1, ())
        if not any(isinstance(one.item, bytes) for one in (*asked, *answered)):
            continue
        there, back = _marks(_joined(asked), _joined(answered))
        told.update(_placed(asked, there))
        told.update(_placed(answered, back))
    return told


def _joined(chunks: Sequence[Chunk]) -> bytes:
    return b"".join(one.item for one in chunks if isinstance(one.item, bytes))


def _marks(asked: bytes, answered: bytes) -> tuple[list[Mark], list[Mark]]:
    if asked.startswith(PREFACE[: len(asked)]) and asked:
        streams: dict[int, Attempt] = {}
        return list(_h2(asked, streams, len(PREFACE))), list(_h2(answered, streams, 0))
    if REQUEST_LINE.match(asked):
        exchanges: list[Attempt] = []
        return list(_h1(asked, exchanges, is_request=True)), list(_h1(answered, exchanges, is_request=False))
    return list(_lines(asked)), list(_lines(answered))


def _placed(chunks: Sequence[Chunk], marks: Sequence[Mark]) -> Iterator[tuple[int, tuple[str, str]]]:
    """Each chunk with the marks that lie in it; one without any goes on with what began before."""
    at, index, invocation = 0, 0, ""
    for chunk in chunks:
        if not isinstance(chunk.item, bytes):
            yield chunk.number, (CONTROLS.get(chunk.item, str(chunk.item)), invocation)
            continue
        at += len(chunk.item)
        begun: list[Mark] = []
        while index < len(marks) and marks[index].at < at:
            begun.append(marks[index])
            index += 1
        what = ", ".join(dict.fromkeys(mark.what for mark in begun)) or f"{len(chunk.item)} bytes more"
        about = next((mark.invocation for mark in begun if mark.invocation), "") if begun else invocation
        yield chunk.number, (shortened(what, TEXT_CHARACTERS_MAX), about)
        invocation = begun[-1].invocation if begun else invocation


def _lines(data: bytes) -> Iterator[Mark]:
    at = 0
    for line in data.splitlines(keepends=True):
        yield Mark(at, value_text(line.rstrip()))
        at += len(line)


class Messages:
    """Finds where the service protocol's messages begin in a body that comes in pieces."""

    def __init__(self, invocation: str) -> None:
        self._invocation = invocation
        self._body = bytearray()
        self._pieces: list[tuple[int, int]] = []  # where in the body, where in the pipe
        self._next = 0

    def feed(self, at: int, piece: bytes) -> Iterator[Mark]:
        """*piece* of the body lies at byte *at* of the pipe."""
        self._pieces.append((len(self._body), at))
        self._body += piece
        while len(self._body) >= self._next + HEADER.size:
            type_, _, length = HEADER.unpack_from(self._body, self._next)
            if length > PAYLOAD_BYTES_MAX:
                return
            begin, place = self._pieces[bisect_right(self._pieces, (self._next, 1 << 62)) - 1]
            yield Mark(place + self._next - begin, type_text(type_), self._invocation)
            self._next += HEADER.size + length


# --- HTTP/1.1 ---------------------------------------------------------------------------------------------------


def _h1(data: bytes, exchanges: list[Attempt], *, is_request: bool) -> Iterator[Mark]:
    """Heads, and what lies in their bodies; requests fill *exchanges*, answers read them."""
    at, number = 0, 0
    while (end := data.find(b"\r\n\r\n", at)) >= 0:
        first, *lines = data[at:end].decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        about = _about(headers, first.split(" ")[1] if " " in first else "")
        if is_request:
            exchanges.append(about)
        elif number < len(exchanges):
            about = Attempt(about.invocation or exchanges[number].invocation, exchanges[number].is_attempt)
        what = first.rpartition(" ")[0] if is_request else first.partition(" ")[2]
        yield Mark(at, shortened(what, TEXT_CHARACTERS_MAX), about.invocation)
        number += is_request or not first.startswith("HTTP/1.1 1")
        pieces, at = _h1_body(data, end + 4, headers, is_request)
        messages = Messages(about.invocation)
        for place, piece in pieces:
            if about.is_attempt:
                yield from messages.feed(place, piece)


def _about(headers: Mapping[str, str], path: str) -> Attempt:
    invocation = headers.get("x-restate-invocation-id", "") or headers.get("x-restate-id", "")
    return Attempt(invocation, ATTEMPTS in path)


def _h1_body(data: bytes, at: int, headers: Mapping[str, str], is_request: bool) -> tuple[list[tuple[int, bytes]], int]:
    """(where, what) of each piece of a body, and where the next head begins."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return _chunked(data, at)
    length = headers.get("content-length", "0" if is_request else "")
    size = int(length) if length.isdecimal() else len(data) - at
    return [(at, data[at : at + size])], at + size


def _chunked(data: bytes, at: int) -> tuple[list[tuple[int, bytes]], int]:
    pieces: list[tuple[int, bytes]] = []
    while (end := data.find(b"\r\n", at)) >= 0:
        digits = data[at:end].partition(b";")[0]
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", digits):
            break
        size = int(digits, 16)
        if size == 0:
            return pieces, end + 4
        pieces.append((end + 2, data[end + 2 : end + 2 + size]))
        at = end + 2 + size + 2
    return pieces, len(data)


# --- HTTP/2 -----------------------------------------------------------------------------------------------------


def _h2(data: bytes, streams: dict[int, Attempt], at: int) -> Iterator[Mark]:
    """Heads, and what lies in the bodies of attempts; other frames by their name."""
    if at:
        yield Mark(0, "HTTP/2")
    decoder, block = Decoder(), b""
    bodies: dict[int, Messages] = {}
    while at + 9 <= len(data):
        length, type_, flags = int.from_bytes(data[at : at + 3], "big"), data[at + 3], data[at + 4]
        stream = int.from_bytes(data[at + 5 : at + 9], "big") & 0x7FFF_FFFF
        payload = data[at + 9 : at + 9 + length]
        about = streams.get(stream, Attempt())
        if type_ in (HEADERS, CONTINUATION):
            block += _unpadded(payload, flags, type_)
            if flags & END_HEADERS:
                what, about = _h2_head(decoder, block, about)
                streams[stream] = about
                yield Mark(at, what, about.invocation)
                block = b""
        elif type_ == DATA and about.is_attempt:
            body = bodies.setdefault(stream, Messages(about.invocation))
            yield from body.feed(at + 9, _unpadded(payload, flags, type_))
        else:
            yield Mark(at, FRAMES[type_] if type_ < len(FRAMES) else f"frame {type_}", about.invocation)
        at += 9 + length


def _unpadded(payload: bytes, flags: int, type_: int) -> bytes:
    if type_ == CONTINUATION or not payload:
        return payload
    padding = payload[0] if flags & PADDED else 0
    begin = (1 if flags & PADDED else 0) + (5 if type_ == HEADERS and flags & PRIORITY else 0)
    return payload[begin : len(payload) - padding]


def _h2_head(decoder: Decoder, block: bytes, before: Attempt) -> tuple[str, Attempt]:
    try:
        headers = {_text(name): _text(value) for name, value in decoder.decode(block)}
    except HPACKError:
        return "headers", before
    path = headers.get(":path", "")
    about = _about(headers, path)
    if path:
        return shortened(f"{headers.get(':method', '')} {path}", TEXT_CHARACTERS_MAX), about
    return headers.get(":status", "trailers"), Attempt(about.invocation or before.invocation, before.is_attempt)


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
