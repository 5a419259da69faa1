"""The host of an endpoint on a real machine: what it hands to a thread comes back as it was made."""

from __future__ import annotations

from collections.abc import Awaitable

import anyio
import pytest
from understudy.host import RealHost


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_a_lambda_may_make_a_coroutine(backend: str) -> None:
    async def ask() -> str:
        await anyio.lowlevel.checkpoint()
        return "answer"

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            made: Awaitable[str] = await RealHost(tasks).run_sync(lambda: ask())
            assert await made == "answer"

    anyio.run(main, backend=backend)
