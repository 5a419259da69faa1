"""The front of a node: its ingress and its admin behind HTTP loops; and of an endpoint: its ASGI application.

Command line and simulator build their ports from these.  A node is the `Backend` of the first two.  Every port speaks
HTTP/1.1 and HTTP/2 with prior knowledge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from understudy_runtime.admin.shell import Admin
from understudy_runtime.http.asgi import AsgiServer
from understudy_runtime.http.asgi_messages import AsgiApp
from understudy_runtime.http.guard import Check, guarded
from understudy_runtime.http.h1_parse import Refusal
from understudy_runtime.http.server import HttpServer
from understudy_runtime.ingress import answers
from understudy_runtime.ingress.port import Response
from understudy_runtime.ingress.shell import Ingress
from understudy_runtime.limits import Limits
from understudy_runtime.model.events import Observe
from understudy_runtime.node import Node


def refusal_page(refusal: Refusal) -> Response:
    """The HTTP loop's own errors in the ingress's words; a body refused by its announced length is plain text."""
    if refusal.announced:
        return Response(refusal.status, (("content-type", "text/plain; charset=utf-8"),), refusal.message.encode())
    return answers.refused(refusal.status, refusal.message)


def ingress_server(node: Node, *, observe: Observe | None = None, checks: Sequence[Check] = ()) -> HttpServer:
    """The server of *node*'s ingress: call `serve` with a listener once the node runs.

    *checks* may answer a request in the ingress's stead.
    """
    ingress = Ingress(node, node.limits, observe)
    handler = guarded(ingress.handle, checks) if checks else ingress.handle
    return HttpServer(handler, node.limits, now_ms=node.now_ms, refusal_page=refusal_page)


def admin_server(
    node: Node,
    *,
    version: str,
    ingress_endpoint: str,
    cluster_name: str = "localcluster",
    checks: Sequence[Check] = (),
) -> HttpServer:
    """The server of *node*'s admin."""
    admin = Admin(node, version=version, ingress_endpoint=ingress_endpoint, cluster_name=cluster_name)
    handler = guarded(admin.handle, checks) if checks else admin.handle
    return HttpServer(handler, node.limits, now_ms=node.now_ms)


def asgi_server(app: AsgiApp, limits: Limits, *, report: Callable[[Exception], None]) -> AsgiServer:
    """The server of *app*, full duplex; *report* is told of exceptions that leave it."""
    return AsgiServer(app, limits, report=report)
