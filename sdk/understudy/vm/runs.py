"""Runs: the side effects of an invocation, their standing in this attempt, and when a failed one is tried again."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

import attrs

INITIAL_INTERVAL_MS: Final = 50
FACTOR: Final = 2.0
INTERVAL_MS_MAX: Final = 10_000


class RunStanding(Enum):
    """What this attempt has done about a run whose result is not known."""

    ISSUED = auto()
    EXECUTING = auto()
    PROPOSED = auto()


@attrs.define
class Run:
    """One run of this attempt."""

    command_index: int
    name: str
    standing: RunStanding = RunStanding.ISSUED


@attrs.frozen
class RunRetryPolicy:
    """How a run that fails is tried again.  Attempts count the first execution; durations are milliseconds."""

    attempts_max: int | None = None
    duration_ms_max: int | None = None
    initial_interval_ms: int = INITIAL_INTERVAL_MS
    factor: float = FACTOR
    interval_ms_max: int = INTERVAL_MS_MAX


@attrs.frozen
class RetryBase:
    """What happened to the run before this execution."""

    count: int = 0
    duration_ms: int = 0


def next_delay_ms(
    policy: RunRetryPolicy, base: RetryBase, elapsed_ms: int, fixed_delay_ms: int | None = None
) -> int | None:
    """The pause before the next try of a run that has just failed, or None to give up.

    *elapsed_ms* is how long this execution took; *fixed_delay_ms* replaces the exponential back-off.

    >>> next_delay_ms(RunRetryPolicy(), RetryBase(), 0), next_delay_ms(RunRetryPolicy(), RetryBase(3), 0)
    (50, 400)
    """
    assert elapsed_ms >= 0, elapsed_ms
    count = base.count + 1
    elapsed_total_ms = base.duration_ms + elapsed_ms
    if policy.attempts_max is not None and policy.attempts_max <= count:
        return None
    if policy.duration_ms_max is not None and policy.duration_ms_max <= elapsed_total_ms:
        return None
    if fixed_delay_ms is not None:
        return fixed_delay_ms
    # Past some hundred doublings a float power overflows; the ceiling was reached long before.
    exponent = min(count - 1, 64)
    return int(min(float(policy.interval_ms_max), policy.initial_interval_ms * policy.factor**exponent))
