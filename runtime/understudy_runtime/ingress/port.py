"""A request and its answer, as the ingress core sees them: no sockets, no parser.  The HTTP loop and the simulator's
clients
both hand these over."""

from __future__ import annotations

from understudy_runtime.model.values import frozen


@frozen
class Request:
    """One HTTP request.  `target` is the raw request target (path and query, still percent-encoded).

    Header names are lower-case, in arrival order; the body is complete.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@frozen
class Response:
    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
