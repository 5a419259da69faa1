"""An attempt leaves nothing for the collector: what it was made of goes when it ends, by counting references alone."""

from __future__ import annotations

import collections
import gc
from collections.abc import Iterator

import pytest
from trio.testing import wait_all_tasks_blocked
from understudy_runtime.ingress.port import Request
from understudy_runtime.limits import Limits

from tests.bench.cpu_cost import JSON
from tests.bench.pressure import serving

REQUESTS = {
    "an echo": Request("POST", "/Echo/echo", JSON, b'"x"'),
    "ten steps": Request("POST", "/Steps/ten", JSON, b"1"),
    "a fan-out": Request("POST", "/Fan/out", JSON, b"1"),
    "a suspension": Request("POST", "/Sleeper/hour/send", JSON, b"1"),
}


@pytest.fixture
def garbage() -> Iterator[list[object]]:
    """What only the collector can free, while it is kept from doing so."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
async def test_an_attempt_leaves_no_cycles(request_: Request, garbage: list[object]) -> None:
    async with serving(Limits()) as (_, ingress):
        for _ in range(3):
            response = await ingress.handle(request_)
            assert response.status in (200, 202), response
            await wait_all_tasks_blocked()
        gc.collect()
        garbage.clear()
        for _ in range(5):
            await ingress.handle(request_)
            await wait_all_tasks_blocked()
        gc.collect()
        assert collections.Counter(type(item).__name__ for item in garbage) == {}
