"""The node as the ingress wants it (`ingress/backend.py`)."""

from __future__ import annotations

from understudy_runtime.effects import replies
from understudy_runtime.ingress.backend import Known, Overloaded
from understudy_runtime.model.actions import Completed, InvokeAcked, RequestAcked
from understudy_runtime.model.commands import Cancel, Invoke, Kill, Purge, Signal
from understudy_runtime.model.invocation import Status
from understudy_runtime.model.schema import Schema
from understudy_runtime.node import Node


class NodeBackend:
    def __init__(self, node: Node) -> None:
        self._node = node

    @property
    def schema(self) -> Schema:
        return self._node.schema

    def now_ms(self) -> int:
        return self._node.world.now_ms()

    def entropy(self, length: int) -> bytes:
        return self._node.world.entropy(length)

    def new_request_id(self) -> int:
        return self._node.replies.new_request_id()

    async def submit(self, command: Invoke) -> InvokeAcked:
        try:
            return await self._node.replies.invoke(self._node.partition_for(command.invocation_id), command)
        except replies.Overloaded as error:
            raise Overloaded(str(error)) from error

    async def call(self, command: Invoke) -> tuple[InvokeAcked, Completed | None]:
        try:
            return await self._node.replies.invoke_and_wait(self._node.partition_for(command.invocation_id), command)
        except replies.Overloaded as error:
            raise Overloaded(str(error)) from error

    async def result(self, invocation_id: str) -> Completed | None:
        known = self.known(invocation_id)
        if known is None:
            return None
        if known.result is not None:
            return Completed(invocation_id, known.result, known.expires_ms)
        return await self._node.replies.result(invocation_id)

    def known(self, invocation_id: str) -> Known | None:
        found = self._node.partition_for(invocation_id).tables.invocation(invocation_id)
        if found is None:
            return None
        result = found.result if found.status is Status.COMPLETED else None
        return Known(found.target, found.status, result, found.expires_ms)

    async def request(self, command: Signal | Cancel | Kill | Purge) -> RequestAcked:
        return await self._node.replies.request(self._node.partition_for(command.invocation_id), command)
