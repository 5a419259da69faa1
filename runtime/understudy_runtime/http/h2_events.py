"""What an HTTP/2 connection tells its owner, and the error codes both sides know.  Values, no more."""

from __future__ import annotations

from typing import Final, NamedTuple

from understudy_runtime.http.h1_parse import Headers
from understudy_runtime.http.h2_scan import GoAway

NO_ERROR: Final = 0x0
PROTOCOL_ERROR: Final = 0x1
INTERNAL_ERROR: Final = 0x2
FRAME_SIZE_ERROR: Final = 0x6
REFUSED_STREAM: Final = 0x7
CANCEL: Final = 0x8
ENHANCE_YOUR_CALM: Final = 0xB
HTTP_1_1_REQUIRED: Final = 0xD

BytePairs = list[tuple[bytes, bytes]]


class Head(NamedTuple):
    """The headers of a request or a response (pseudo-headers first); `ended`: nothing follows."""

    stream: int
    headers: Headers
    ended: bool


class Data(NamedTuple):
    """A part of a body.  `size` is what it took of the windows: give it back with `credit`."""

    stream: int
    data: bytes
    size: int
    ended: bool


class Ended(NamedTuple):
    """The peer's side of the stream has ended (by trailers)."""

    stream: int


class Reset(NamedTuple):
    """The stream is gone: the peer reset it, or we did because what came on it was malformed (`why`)."""

    stream: int
    code: int
    why: str = ""


class Pong(NamedTuple):
    """Our ping was answered."""


class Ready(NamedTuple):
    """The peer's settings have come."""


Event = Head | Data | Ended | Reset | Pong | Ready | GoAway
