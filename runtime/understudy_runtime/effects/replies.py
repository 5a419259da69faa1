"""Who on this node waits for what: acknowledgements by request id, results by invocation id.

A waiter is registered before its command is proposed and removed when its task leaves, however it leaves: nothing is
lost and nothing leaks.  Replies are not durable; after a restart clients ask again by key.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

import attrs

from understudy_runtime.model.actions import Completed, InvokeAcked, RequestAcked
from understudy_runtime.model.commands import (
    Cancel,
    Command,
    Invoke,
    Kill,
    MutateState,
    Pause,
    Purge,
    PurgeJournal,
    RestartAsNew,
    Resume,
    Signal,
)
from understudy_runtime.slot import Slot

A = TypeVar("A")
# What is said to an invocation, and what else is answered by a RequestAcked.
ToInvocation = Signal | Cancel | Kill | Purge | PurgeJournal | Pause | Resume | RestartAsNew
Request = ToInvocation | MutateState


class Proposer(Protocol):
    """A partition, as the replies see it."""

    def propose(self, command: Command) -> None: ...


class Waiter(Generic[A]):
    """One task that waits for one answer."""

    __slots__ = ("_answer", "_slot")

    def __init__(self) -> None:
        self._slot = Slot()
        self._answer: A | None = None

    @property
    def awaits_result(self) -> bool:
        """Whether nothing was given yet."""
        return self._answer is None

    def give(self, answer: A) -> None:
        """Answer; the first answer counts."""
        if self._answer is None:
            self._answer = answer
            self._slot.wake()

    async def wait(self) -> A:
        while self._answer is None:
            await self._slot.park()
        return self._answer


class CallWaiter:
    """One task that waits for an acknowledgement and a result: woken once, when it has both or there is a conflict."""

    __slots__ = ("_acked", "_completed", "_slot")

    def __init__(self) -> None:
        self._slot = Slot()
        self._acked: InvokeAcked | None = None
        self._completed: Completed | None = None

    @property
    def awaits_result(self) -> bool:
        """Whether only the result is missing."""
        return self._acked is not None and not self._acked.conflict and self._completed is None

    def give(self, answer: InvokeAcked | RequestAcked | Completed) -> None:
        """One of the two; the first of each counts."""
        if isinstance(answer, Completed):
            if self._completed is None:
                self._completed = answer
                if self._acked is not None:
                    self._slot.wake()
        elif self._acked is None:
            assert isinstance(answer, InvokeAcked), "an Invoke is answered by InvokeAcked"
            self._acked = answer
            if answer.conflict or self._completed is not None:
                self._slot.wake()

    async def wait(self) -> tuple[InvokeAcked, Completed | None]:
        while True:
            acked = self._acked
            if acked is not None:
                if acked.conflict:
                    return acked, None
                if self._completed is not None:
                    return acked, self._completed
            await self._slot.park()


class Replies:
    """The waiters of one node."""

    def __init__(self) -> None:
        self._request_id_last = 0
        self._acks: dict[int, Waiter[InvokeAcked | RequestAcked] | CallWaiter] = {}
        self._results: dict[str, list[Waiter[Completed] | CallWaiter]] = {}

    @property
    def ack_count(self) -> int:
        """Requests whose record is not applied yet."""
        return len(self._acks)

    @property
    def result_count(self) -> int:
        """Tasks that wait for a result."""
        return sum(len(waiters) for waiters in self._results.values())

    @property
    def unanswered(self) -> list[str]:
        """The invocations somebody still waits for: the request is acknowledged or was none, no result came."""
        return [id_ for id_, waiters in self._results.items() if any(waiter.awaits_result for waiter in waiters)]

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits."""
        return not self._acks and not self._results

    def new_request_id(self) -> int:
        """A request id no other request of this node has."""
        self._request_id_last += 1
        return self._request_id_last

    async def invoke(self, partition: Proposer, command: Invoke) -> InvokeAcked:
        """Propose *command* and wait until it is durable and applied."""
        if command.request_id == 0:
            command = attrs.evolve(command, request_id=self.new_request_id())
        answer = await self._acked(partition, command)
        assert isinstance(answer, InvokeAcked), "an Invoke is answered by InvokeAcked"
        return answer

    async def invoke_and_wait(self, partition: Proposer, command: Invoke) -> tuple[InvokeAcked, Completed | None]:
        """Propose *command* and wait for the invocation's result; None when the request was a conflict."""
        if command.request_id == 0:
            command = attrs.evolve(command, request_id=self.new_request_id())
        request_id, invocation_id = command.request_id, command.invocation_id
        assert request_id not in self._acks, "a request id is used once"
        waiter = CallWaiter()
        self._acks[request_id] = waiter
        self._results.setdefault(invocation_id, []).append(waiter)
        try:
            partition.propose(command)
            return await waiter.wait()
        finally:
            self._acks.pop(request_id, None)
            self._given_up(invocation_id, waiter)

    async def result(self, invocation_id: str) -> Completed:
        """Wait for the result of an invocation that, as of this step, has not completed."""
        waiter = self._awaiting(invocation_id)
        try:
            return await waiter.wait()
        finally:
            self._given_up(invocation_id, waiter)

    async def request(self, partition: Proposer, command: Request) -> RequestAcked:
        """Propose *command* and wait until it is durable and applied."""
        if command.request_id == 0:
            command = attrs.evolve(command, request_id=self.new_request_id())
        answer = await self._acked(partition, command)
        assert isinstance(answer, RequestAcked), "a request is answered by RequestAcked"
        return answer

    def acked(self, action: InvokeAcked | RequestAcked) -> None:
        """Answer the request *action* names; nobody may be waiting any more."""
        waiter = self._acks.pop(action.request_id, None)
        if waiter is not None:
            waiter.give(action)

    def completed(self, action: Completed) -> None:
        """Answer everybody who waits for this result."""
        for waiter in self._results.get(action.invocation_id, ()):
            waiter.give(action)

    async def _acked(self, partition: Proposer, command: Invoke | Request) -> InvokeAcked | RequestAcked:
        """Propose *command* and wait for its answer."""
        request_id = command.request_id
        assert request_id not in self._acks, "a request id is used once"
        waiter: Waiter[InvokeAcked | RequestAcked] = Waiter()
        self._acks[request_id] = waiter
        try:
            partition.propose(command)
            return await waiter.wait()
        finally:
            self._acks.pop(request_id, None)

    def _awaiting(self, invocation_id: str) -> Waiter[Completed]:
        waiter: Waiter[Completed] = Waiter()
        self._results.setdefault(invocation_id, []).append(waiter)
        return waiter

    def _given_up(self, invocation_id: str, waiter: Waiter[Completed] | CallWaiter) -> None:
        """*waiter* has its answer or wants none any more."""
        waiters = self._results[invocation_id]
        waiters.remove(waiter)
        if not waiters:
            del self._results[invocation_id]
