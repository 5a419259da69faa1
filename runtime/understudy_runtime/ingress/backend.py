"""What the ingress and the admin want of the node behind them.  `node.py` satisfies it by shape; tests bring fakes.

Waits are registered before anything is proposed, and a cancelled wait leaves nothing behind.  A cancel never takes back
what was proposed.
"""

from __future__ import annotations

from typing import Protocol

import attrs

from understudy_runtime.model.actions import Completed, InvokeAcked, RequestAcked
from understudy_runtime.model.commands import Cancel, Invoke, Kill, Purge, Signal
from understudy_runtime.model.invocation import Result, Status, Target
from understudy_runtime.model.schema import Schema


class Overloaded(Exception):
    """The partition's queue is full: nothing was proposed.  The client should retry later."""


class Unavailable(Exception):
    """The partition takes no requests now (it stops, or has no leader): whether the request was taken in is unknown."""


@attrs.frozen
class Known:
    """What the tables say about an invocation.  `result` None: not completed.  `expires_ms` 0: not retained."""

    target: Target
    status: Status
    result: Result | None = None
    expires_ms: int = 0


class Backend(Protocol):
    """The node, as its clients' side sees it.  All methods may raise Overloaded or Unavailable."""

    @property
    def schema(self) -> Schema: ...

    def now_ms(self) -> int: ...

    def entropy(self, length: int) -> bytes: ...

    def new_request_id(self) -> int:
        """A number no other request of this node has had since it started."""

    async def submit(self, command: Invoke) -> InvokeAcked:
        """Propose *command* and wait until it is applied."""

    async def call(self, command: Invoke) -> tuple[InvokeAcked, Completed | None]:
        """Propose *command* and wait for the result as well; None when it has a conflict, or is no longer known."""

    async def result(self, invocation_id: str) -> Completed | None:
        """Wait until *invocation_id* is completed; None when there is no such invocation."""

    def known(self, invocation_id: str) -> Known | None:
        """What the tables say about *invocation_id* now."""

    async def request(self, command: Signal | Cancel | Kill | Purge) -> RequestAcked:
        """Propose *command* and wait until it is applied."""
