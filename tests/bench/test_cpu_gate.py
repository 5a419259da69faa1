"""The CPU gate: an echo and ten steps stay within twice what they cost when the first rehearsal was done.

Costs are ratios to a calibration loop in the same process (see `cpu_cost.py`), so that a slow or busy machine does not
fail the suite and a slow change does.
"""

from __future__ import annotations

import pytest
import trio

from tests.bench.cpu_cost import RequestOf, echo_request, measure, steps_request

# Calibration loops per op, measured when the gate was set.
ECHO_RATIO = 0.12
STEPS_RATIO = 0.50
ALLOWED = 2


@pytest.mark.parametrize(
    ("request_of", "ops", "ratio_then"),
    [(echo_request, 600, ECHO_RATIO), (steps_request, 100, STEPS_RATIO)],
    ids=["echo", "ten steps"],
)
def test_cost_stays_within_twice_what_it_was(request_of: RequestOf, ops: int, ratio_then: float) -> None:
    cost = trio.run(measure, request_of, ops, 5)
    assert cost.ratio <= ALLOWED * ratio_then, (
        f"{cost.us_per_op:.0f} µs CPU are {cost.ratio:.3f} calibration loops; at most {ALLOWED * ratio_then:.3f}"
    )
