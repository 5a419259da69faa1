"""The CPU gate: an echo, ten steps and a fan-out stay within twice what they cost when it was set.

Costs are ratios to a calibration loop in the same process (see `cpu_cost.py`), so that a slow or busy machine does not
fail the suite and a slow change does.
"""

from __future__ import annotations

from types import MappingProxyType

import pytest
import trio

from tests.bench.cpu_cost import CASES, measure

# Calibration loops per op, measured when the gate was set.
RATIOS = MappingProxyType({"echo": 0.10, "ten steps": 0.45, "fan-out": 2.7})
ALLOWED = 2


@pytest.mark.parametrize("case", CASES)
def test_cost_stays_within_twice_what_it_was(case: str) -> None:
    request_of, ops = CASES[case]
    cost = trio.run(measure, request_of, ops, 5)
    assert cost.ratio <= ALLOWED * RATIOS[case], (
        f"{cost.us_per_op:.0f} µs CPU are {cost.ratio:.3f} calibration loops; at most {ALLOWED * RATIOS[case]:.3f}"
    )
