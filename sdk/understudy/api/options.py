"""The knobs of a run and of an invocation's retries, as a handler author writes them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Generic, Literal, TypeVar

import attrs

from understudy.api.serde import DefaultSerde, Serde
from understudy.vm.runs import FACTOR, INITIAL_INTERVAL_MS, INTERVAL_MS_MAX, RunRetryPolicy

T = TypeVar("T")


def milliseconds(duration: timedelta) -> int:
    """*duration* in whole milliseconds, fractions cut off."""
    return duration // timedelta(milliseconds=1)


@attrs.frozen
class RunOptions(Generic[T]):
    """How a run's value crosses the journal and how a run that fails is tried again.

    With no retry option set, the invocation's own policy decides and the run is tried without end.
    *max_attempts* counts the first execution.
    """

    serde: Serde[T] = attrs.field(factory=DefaultSerde)
    type_hint: Any = None
    max_attempts: int | None = None
    max_duration: timedelta | None = None
    initial_retry_interval: timedelta | None = None
    max_retry_interval: timedelta | None = None
    retry_interval_factor: float | None = None
    max_retry_duration: timedelta | None = None
    """The older name of *max_duration*."""

    def retry_policy(self) -> RunRetryPolicy | None:
        """The run's own policy, None when no option asks for one."""
        duration = self.max_duration if self.max_duration is not None else self.max_retry_duration
        knobs = (
            self.max_attempts,
            duration,
            self.initial_retry_interval,
            self.max_retry_interval,
            self.retry_interval_factor,
        )
        if all(knob is None for knob in knobs):
            return None
        first, longest = self.initial_retry_interval, self.max_retry_interval
        return RunRetryPolicy(
            attempts_max=self.max_attempts,
            duration_ms_max=None if duration is None else milliseconds(duration),
            initial_interval_ms=INITIAL_INTERVAL_MS if first is None else milliseconds(first),
            factor=FACTOR if self.retry_interval_factor is None else self.retry_interval_factor,
            interval_ms_max=INTERVAL_MS_MAX if longest is None else milliseconds(longest),
        )


@attrs.frozen
class InvocationRetryPolicy:
    """How the server retries an invocation whose attempts fail; what is not given is the server's choice."""

    initial_interval: timedelta | None = None
    exponentiation_factor: float | None = None
    max_interval: timedelta | None = None
    max_attempts: int | None = None
    on_max_attempts: Literal["pause", "kill"] | None = None
