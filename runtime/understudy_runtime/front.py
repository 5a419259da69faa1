"""The front of a node: its ingress and its admin behind HTTP loops.

Command line and simulator build their ports from these.  A node is the `Backend` of both.
"""

from __future__ import annotations

from collections.abc import Sequence

from understudy_runtime.admin.shell import Admin
from understudy_runtime.http.guard import Check, guarded
from understudy_runtime.http.h1_parse import Refusal
from understudy_runtime.http.h1_server import H1Server
from understudy_runtime.ingress import answers
from understudy_runtime.ingress.port import Response
from understudy_runtime.ingress.shell import Ingress
from understudy_runtime.model.events import Observe
from understudy_runtime.node import Node


def refusal_page(refusal: Refusal) -> Response:
    """The HTTP loop's own errors in the ingress's words; a body refused by its announced length is plain text."""
    if refusal.announced:
        return Response(refusal.status, (("content-type", "text/plain; charset=utf-8"),), refusal.message.encode())
    return answers.refused(refusal.status, refusal.message)


def ingress_server(node: Node, *, observe: Observe | None = None, checks: Sequence[Check] = ()) -> H1Server:
    """The server of *node*'s ingress: call `serve` with a listener once the node runs.

    *checks* may answer a request in the ingress's stead.
    """
    ingress = Ingress(node, node.limits, observe)
    handler = guarded(ingress.handle, checks) if checks else ingress.handle
    return H1Server(handler, node.limits, now_ms=node.now_ms, refusal_page=refusal_page)


def admin_server(node: Node, *, version: str, ingress_endpoint: str, checks: Sequence[Check] = ()) -> H1Server:
    """The server of *node*'s admin."""
    admin = Admin(node, version=version, ingress_endpoint=ingress_endpoint)
    handler = guarded(admin.handle, checks) if checks else admin.handle
    return H1Server(handler, node.limits, now_ms=node.now_ms)
