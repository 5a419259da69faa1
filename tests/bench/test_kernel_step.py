"""A simulated step stays cheap: a ratio taken in one process, so that a slow machine makes no difference."""

from __future__ import annotations

import pytest

from tests.bench.kernel_step import ratio

RATIO_MAX = 1.5
TRIES = 3


@pytest.mark.parametrize("tasks", [1, 10, 100])
def test_a_step_costs_little_more_than_a_bare_checkpoint(tasks: int) -> None:
    assert min(ratio(tasks)[0] for _ in range(TRIES)) <= RATIO_MAX
