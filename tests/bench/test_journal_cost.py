"""The bench of the journal measures what it says, and a replay stays a small multiple of decoding.

Counted in calls and bytes, which a busy machine does not change.
"""

from __future__ import annotations

import pytest

from tests.bench.journal_cost import KINDS, awaits_cost, journal_of, step_cost
from tests.bench.journal_cost_plot import draw_log
from tests.bench.plot import Series

# Functions called per replayed entry, the attempt's own shared out among them.
CALLS_MAX = 40


@pytest.mark.parametrize("kind", KINDS)
async def test_a_replay_is_a_small_multiple_of_decoding(kind: str) -> None:
    cost = await step_cost(kind, count=100, rounds=3)
    assert cost.entries in (100, 200, 300)
    assert cost.replay_calls <= CALLS_MAX
    assert cost.replay_calls < cost.new_calls, "to replay is less than to do"
    assert cost.ratio < 10


async def test_what_is_replayed_grows_with_the_steps() -> None:
    assert len(await journal_of("runs", 10)) == 21
    assert len(await journal_of("calls", 10)) == 31


async def test_awaits_that_suspend_send_the_journal_again_and_again() -> None:
    kept, suspending = await awaits_cost("kept", 20, 1), await awaits_cost("suspending", 20, 1)
    assert (kept.attempts, suspending.attempts) == (1, 21)
    # Attempt k gets the start, the input and two entries for each of k steps.
    assert kept.entries == 2 + 20
    assert suspending.entries == sum(2 + 2 * steps for steps in range(21))
    assert suspending.sent_bytes > 8 * kept.sent_bytes


def test_a_power_is_a_straight_line() -> None:
    drawn = draw_log("title", "N", [10, 100, 1000], [Series("square", [1e2, 1e4, 1e6])])
    line = drawn.split('points="')[1].split('"')[0]
    (x1, y1), (x2, y2), (x3, y3) = (tuple(map(float, point.split(","))) for point in line.split())
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2)
    assert y1 - y2 == pytest.approx(y2 - y3, abs=0.2)
