"""The schedulers, where they differ: what tells that a scope was entered around the current task."""

from __future__ import annotations

import asyncio
import math

import trio
from understudy.api.tasks import AsyncioTasks, TrioTasks, current_tasks


async def test_a_scope_entered_changes_the_token_and_leaving_it_brings_it_back() -> None:
    tasks = current_tasks()
    assert isinstance(tasks, TrioTasks)
    before = tasks.scopes()
    assert before is not None
    assert tasks.scopes() is before
    await trio.lowlevel.checkpoint()
    assert tasks.scopes() is before
    with trio.move_on_after(60):  # noqa: ASYNC100 - only looked at
        assert tasks.scopes() is not before
        assert tasks.deadline() < math.inf
    assert tasks.scopes() is before


async def test_a_nursery_around_us_changes_the_token() -> None:
    tasks = TrioTasks()
    before = tasks.scopes()
    async with trio.open_nursery():
        assert tasks.scopes() is not before


def test_asyncio_shows_no_scopes() -> None:
    async def main() -> None:
        tasks = current_tasks()
        assert isinstance(tasks, AsyncioTasks)
        before = tasks.scopes()
        async with asyncio.timeout(60):  # noqa: ASYNC100 - only looked at
            assert tasks.scopes() is before
            assert tasks.deadline() == math.inf

    asyncio.run(main())
