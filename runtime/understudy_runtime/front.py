"""The front of a node: what joins its partitions to the ingress, and the ingress to a port.

`NodeBackend` is the ingress's `Backend` over a `Node`; `ingress_server` is the HTTP loop in front of it.  The command line
and the simulator both build their servers from these.
"""

from __future__ import annotations

from collections.abc import Sequence

from understudy_runtime.admin.shell import Admin
from understudy_runtime.effects import replies
from understudy_runtime.http.guard import Check, guarded
from understudy_runtime.http.h1_parse import Refusal
from understudy_runtime.http.h1_server import H1Server
from understudy_runtime.ingress import answers
from understudy_runtime.ingress.backend import Known, Overloaded
from understudy_runtime.ingress.port import Response
from understudy_runtime.ingress.shell import Ingress
from understudy_runtime.model.actions import Completed, InvokeAcked, RequestAcked
from understudy_runtime.model.commands import Cancel, Invoke, Kill, Purge, Signal
from understudy_runtime.model.events import Observe
from understudy_runtime.model.schema import Schema
from understudy_runtime.node import Node


class NodeBackend:
    """A node, as its ingress and admin see it; see `Backend`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._replies = node.replies
        self.now_ms = node.world.now_ms
        self.entropy = node.world.entropy
        self.new_request_id = node.replies.new_request_id

    @property
    def schema(self) -> Schema:
        return self._node.schema

    async def submit(self, command: Invoke) -> InvokeAcked:
        try:
            return await self._replies.invoke(self._node.partition_for(command.invocation_id), command)
        except replies.Overloaded as error:
            raise Overloaded(str(error)) from None

    async def call(self, command: Invoke) -> tuple[InvokeAcked, Completed | None]:
        try:
            return await self._replies.invoke_and_wait(self._node.partition_for(command.invocation_id), command)
        except replies.Overloaded as error:
            raise Overloaded(str(error)) from None

    async def result(self, invocation_id: str) -> Completed | None:
        known = self.known(invocation_id)
        if known is None:
            return None
        if known.result is not None:
            return Completed(invocation_id, known.result, known.expires_ms)
        return await self._replies.result(invocation_id)

    def known(self, invocation_id: str) -> Known | None:
        row = self._node.partition_for(invocation_id).tables.invocation(invocation_id)
        return None if row is None else Known(row.target, row.status, row.result, row.expires_ms)

    async def request(self, command: Signal | Cancel | Kill | Purge) -> RequestAcked:
        try:
            return await self._replies.request(self._node.partition_for(command.invocation_id), command)
        except replies.Overloaded as error:
            raise Overloaded(str(error)) from None


def refusal_page(refusal: Refusal) -> Response:
    """The HTTP loop's own errors in the ingress's words; a body refused by its announced length is plain text."""
    if refusal.announced:
        return Response(refusal.status, (("content-type", "text/plain; charset=utf-8"),), refusal.message.encode())
    return answers.refused(refusal.status, refusal.message)


def ingress_server(node: Node, *, observe: Observe | None = None, checks: Sequence[Check] = ()) -> H1Server:
    """The server of *node*'s ingress: call `serve` with a listener once the node runs.

    *checks* may answer a request in the ingress's stead.
    """
    ingress = Ingress(NodeBackend(node), node.limits, observe)
    handler = guarded(ingress.handle, checks) if checks else ingress.handle
    return H1Server(handler, node.limits, now_ms=node.world.now_ms, refusal_page=refusal_page)


def admin_server(node: Node, *, version: str, ingress_endpoint: str, checks: Sequence[Check] = ()) -> H1Server:
    """The server of *node*'s admin."""
    admin = Admin(NodeBackend(node), version=version, ingress_endpoint=ingress_endpoint)
    handler = guarded(admin.handle, checks) if checks else admin.handle
    return H1Server(handler, node.limits, now_ms=node.world.now_ms)
