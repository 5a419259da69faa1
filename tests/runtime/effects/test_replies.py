"""Replies: registered before the proposal, answered once, gone when their task is."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked
from understudy_runtime.effects.replies import Replies
from understudy_runtime.model.actions import Completed, InvokeAcked, RequestAcked
from understudy_runtime.model.commands import Cancel, Command, Invoke
from understudy_runtime.model.invocation import HandlerType, ServiceType, Success, Target

INVOKE = Invoke("inv_1a", Target("S", "h"), ServiceType.SERVICE, HandlerType.SHARED, b"")
RESULT = Completed("inv_1a", Success(b"1"), 0)


@attrs.define
class Proposer:
    """A partition that answers inside `propose` when told to, as a fast one might."""

    replies: Replies
    answers_at_once: bool = False
    proposed: list[Command] = attrs.field(factory=list)

    def propose(self, command: Command) -> None:
        self.proposed.append(command)
        if self.answers_at_once:
            assert isinstance(command, Invoke)
            self.replies.acked(InvokeAcked(command.request_id, command.invocation_id, True, 0))
            self.replies.completed(RESULT)


async def test_an_answer_that_comes_at_once_is_not_lost() -> None:
    replies = Replies()
    acked, completed = await replies.invoke_and_wait(Proposer(replies, True), INVOKE)
    assert acked.accepted
    assert completed == RESULT
    assert replies.is_idle


async def test_a_result_between_acknowledgement_and_wait_is_not_lost() -> None:
    replies = Replies()
    partition = Proposer(replies)
    found: list[object] = []

    async def client() -> None:
        found.append(await replies.invoke_and_wait(partition, INVOKE))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(client)
        await wait_all_tasks_blocked()
        (command,) = partition.proposed
        assert isinstance(command, Invoke)
        acked = InvokeAcked(command.request_id, "inv_1a", True, 0)
        replies.acked(acked)
        replies.completed(RESULT)
    assert found == [(acked, RESULT)]
    assert replies.is_idle


async def test_a_conflict_waits_for_no_result() -> None:
    replies = Replies()
    partition = Proposer(replies)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(replies.invoke_and_wait, partition, attrs.evolve(INVOKE, request_id=7))
        await wait_all_tasks_blocked()
        replies.acked(InvokeAcked(7, "inv_1a", False, 0, conflict=True))
    assert replies.is_idle


async def test_waiters_of_one_invocation_all_get_the_first_answer() -> None:
    replies = Replies()
    found: list[Completed] = []

    async def client() -> None:
        found.append(await replies.result("inv_1a"))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(client)
        await wait_all_tasks_blocked()
        assert replies.result_count == 3
        replies.completed(RESULT)
        replies.completed(attrs.evolve(RESULT, expires_ms=5))
        replies.completed(Completed("inv_1other", Success(b""), 0))
    assert found == [RESULT] * 3


async def test_a_client_that_leaves_leaves_nothing() -> None:
    replies = Replies()
    partition = Proposer(replies)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(replies.invoke_and_wait, partition, INVOKE)
        nursery.start_soon(replies.request, partition, Cancel("inv_1a"))
        nursery.start_soon(replies.result, "inv_1a")
        await wait_all_tasks_blocked()
        assert (replies.ack_count, replies.result_count) == (2, 2)
        nursery.cancel_scope.cancel()
    assert (replies.ack_count, replies.result_count) == (0, 0)
    replies.acked(InvokeAcked(1, "inv_1a", True, 0))
    replies.completed(RESULT)


async def test_requests_have_ids_of_their_own() -> None:
    replies = Replies()
    partition = Proposer(replies)
    found: list[RequestAcked] = []

    async def client() -> None:
        found.append(await replies.request(partition, Cancel("inv_1a")))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(client)
        nursery.start_soon(client)
        await wait_all_tasks_blocked()
        first, second = partition.proposed
        assert isinstance(first, Cancel)
        assert isinstance(second, Cancel)
        assert first.request_id != second.request_id
        replies.acked(RequestAcked(second.request_id, "inv_1a", "second"))
        replies.acked(RequestAcked(first.request_id, "inv_1a", "first"))
    assert sorted(answer.outcome for answer in found) == ["first", "second"]


async def test_a_request_id_is_used_once() -> None:
    replies = Replies()
    partition = Proposer(replies)
    command = Cancel("inv_1a", request_id=9)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(replies.request, partition, command)
        await wait_all_tasks_blocked()
        with pytest.raises(AssertionError, match="used once"):
            await replies.request(partition, command)
        nursery.cancel_scope.cancel()
