"""Who may talk to a port at all: by the name they call it, and by a token.  Pure checks in front of a handler.

The `Host` check is against DNS rebinding: a page in a browser can make a name of its own point here, but it cannot make
the browser send another name.  Numeric addresses cannot be rebound.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import Final

from understudy_runtime.http.h1_server import Handler
from understudy_runtime.ingress.port import Request, Response

# Gives the answer to a request that is not let through, None for one that is.
Check = Callable[[Request], Response | None]
ErrorPage = Callable[[int, str], Response]

LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")
WILDCARDS: Final = ("0.0.0.0", "::", "")


def guarded(handler: Handler, checks: Sequence[Check]) -> Handler:
    """*handler* behind *checks*, in their order."""

    async def handle(request: Request) -> Response:
        for check in checks:
            refusal = check(request)
            if refusal is not None:
                return refusal
        return await handler(request)

    return handle


class HostCheck:
    """Lets requests through whose `Host` names this server: a local name, *bind*, or one of *names*.

    Bound to every address, any numeric host is ours too.
    """

    def __init__(self, bind: str, names: Iterable[str], page: ErrorPage) -> None:
        self._names = frozenset(name.lower().strip("[]") for name in (*LOCAL_NAMES, bind, *names) if name)
        self._numeric = bind in WILDCARDS
        self._page = page
        self._good = ""

    def __call__(self, request: Request) -> Response | None:
        host = next((value for name, value in request.headers if name == "host"), "")
        if host == self._good and host:
            return None
        name = host_name(host)
        if name in self._names or (self._numeric and is_numeric(name)):
            self._good = host
            return None
        return self._page(
            421,
            f"the Host {host!r} is not a name of this server: call it localhost or by its address, "
            "or start it with --allow-host",
        )


class TokenCheck:
    """Lets requests through that carry `authorization: Bearer` *token*."""

    def __init__(self, token: str, page: ErrorPage) -> None:
        assert token, "an empty token protects nothing"
        self._expected = f"Bearer {token}".encode()
        self._page = page

    def __call__(self, request: Request) -> Response | None:
        given = next((value for name, value in request.headers if name == "authorization"), "")
        if hmac.compare_digest(given.encode(), self._expected):
            return None
        return self._page(401, "this port wants the token it was started with: send authorization: Bearer <token>")


def host_name(host: str) -> str:
    """The name in a `Host` header: lower-case, without port and brackets.

    >>> host_name("[::1]:8080"), host_name("Localhost:8080"), host_name("example.org.")
    ('::1', 'localhost', 'example.org')
    """
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().rstrip(".")


def is_numeric(name: str) -> bool:
    """Whether *name* is an IP address."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
