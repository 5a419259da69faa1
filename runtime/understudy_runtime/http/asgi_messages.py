"""What an ASGI application is given and may say, in either HTTP version."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from enum import IntEnum
from typing import Any, Final
from urllib.parse import unquote

from understudy_runtime.http.h1_parse import Headers

Message = MutableMapping[str, Any]
AsgiApp = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

DISCONNECT: Final = "http.disconnect"


class ApplicationError(Exception):
    """The application broke the ASGI protocol: what it did, what was expected."""


class ClientGone(OSError):
    """The peer has gone: what the application sends goes nowhere."""


class Sent(IntEnum):
    """How much of the answer has been sent."""

    NOTHING = 0
    STARTED = 1  # the head is known but not on the wire
    BODY = 2
    ALL = 3


def http_scope(http_version: str, method: str, target: str, headers: Headers) -> Message:
    """The ASGI scope of a request."""
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": http_version,
        "method": method,
        "scheme": "http",
        "path": unquote(path, errors="replace"),
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        "client": None,
        "server": None,
    }
