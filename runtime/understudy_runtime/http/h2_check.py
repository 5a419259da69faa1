"""Whether a head that came over HTTP/2 is well formed (RFC 9113, 8.2 and 8.3).  Pure.

Ours instead of the library's: it costs a third, and a malformed head ends its stream, not the connection.  What is let
through can be written as HTTP/1.1 without breaking out of its line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import IntEnum
from typing import Final

NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
VALUE: Final = re.compile(rb"(?:[^\x00\r\n \t](?:[^\x00\r\n]*[^\x00\r\n \t])?)?").fullmatch
STATUS: Final = re.compile(rb"[1-9][0-9][0-9]").fullmatch
# HTTP/1.1's own: here they mean nothing, and smuggle.
OF_CONNECTIONS: Final = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})

BytePairs = Sequence[tuple[bytes, bytes]]


class Kind(IntEnum):
    """What a block of headers is."""

    REQUEST = 0
    RESPONSE = 1
    TRAILERS = 2


OF_REQUEST: Final = (b":method", b":scheme", b":path", b":authority")


def malformed(headers: BytePairs, kind: Kind) -> str | None:
    """What is wrong with *headers*; None for a head that may be believed."""
    pseudo: dict[bytes, bytes] = {}
    host = None
    is_regular = False
    for name, value in headers:
        if VALUE(value) is None:
            return f"the value of {name!r} holds a line break or a zero byte, or spaces at its ends"
        if name[:1] == b":":
            if is_regular or name in pseudo:
                return f"{name!r} comes twice, or after other headers"
            pseudo[name] = value
            continue
        is_regular = True
        if NAME(name) is None:
            return f"{name!r} is not a header's name in lower case"
        if name in OF_CONNECTIONS or (name == b"te" and value != b"trailers"):
            return f"{name!r} has no meaning in HTTP/2"
        if name == b"content-length" and not value.isdigit():
            return f"the content-length {value[:20]!r} is no number"
        if name == b"host":
            host = value
    if host is not None and pseudo.get(b":authority", host) != host:
        return "host and authority differ"
    return CHECKS[kind](pseudo)


def _wrong_request(pseudo: dict[bytes, bytes]) -> str | None:
    wanted = {b":method", b":authority"} if pseudo.get(b":method") == b"CONNECT" else {b":method", b":scheme", b":path"}
    missing = [name for name in OF_REQUEST if name in wanted and not pseudo.get(name)]
    if missing:
        return f"a request lacks {missing[0]!r}"
    allowed = wanted | {b":authority"}
    strange = [name for name in pseudo if name not in allowed]
    return f"a request has no {strange[0]!r}" if strange else None


def _wrong_response(pseudo: dict[bytes, bytes]) -> str | None:
    status = pseudo.get(b":status")
    if status is None or len(pseudo) != 1:
        return "a response has a status and nothing else that begins with a colon"
    return None if STATUS(status) is not None else f"{status!r} is not a status"


def _wrong_trailers(pseudo: dict[bytes, bytes]) -> str | None:
    return "trailers have nothing that begins with a colon" if pseudo else None


CHECKS: Final = (_wrong_request, _wrong_response, _wrong_trailers)
