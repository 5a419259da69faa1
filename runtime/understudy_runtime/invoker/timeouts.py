"""When an attempt is asked to suspend, and when it is cut: arithmetic on one monotonic clock, in milliseconds.

Silence for the inactivity timeout: the SDK is asked to suspend.  Silence for the abort timeout after that: the attempt
is cut and tried again.  A dialogue that is over has DRAIN_MS until the endpoint closes its side.
"""

from __future__ import annotations

from typing import Final

import attrs

from understudy_runtime.limits import Limits
from understudy_runtime.model.schema import Handler

DRAIN_MS: Final = 5_000
# An attempt silent for so long counts as one that only waits, when others wait for its slot.
YIELD_IDLE_MS: Final = 50


@attrs.define
class Timeouts:
    """The clocks of one attempt."""

    inactivity_ms: int
    abort_ms: int
    heard_ms: int
    closed_ms: int | None = None
    over_ms: int | None = None
    was_early: bool = False

    @classmethod
    def for_handler(cls, handler: Handler, limits: Limits, now_ms: int) -> Timeouts:
        """The handler's timeouts, else the server's.  An inactivity timeout of 0 means request and response."""
        options = handler.options
        inactivity, abort = options.inactivity_timeout_ms, options.abort_timeout_ms
        inactivity = limits.inactivity_timeout_ms if inactivity is None else inactivity
        abort = limits.abort_timeout_ms if abort is None else abort
        return cls(inactivity, abort, now_ms, closed_ms=now_ms if inactivity == 0 else None)

    @property
    def has_closed(self) -> bool:
        """Whether the SDK was asked to suspend."""
        return self.closed_ms is not None

    @property
    def due_ms(self) -> int:
        """When something must be done if nothing is heard until then."""
        if self.over_ms is not None:
            return self.over_ms + DRAIN_MS
        if self.was_early:
            return self.heard_ms + self.inactivity_ms + self.abort_ms
        if self.closed_ms is not None:
            return max(self.closed_ms, self.heard_ms) + self.abort_ms
        return self.heard_ms + self.inactivity_ms

    @property
    def cut_reason(self) -> str:
        """Why an attempt that did not end by itself was cut."""
        return f"the endpoint was silent for {self.abort_ms} ms after it was asked to suspend"

    def heard(self, now_ms: int) -> None:
        """A message passed, in either direction."""
        self.heard_ms = now_ms

    def closed(self, now_ms: int) -> None:
        """The SDK is asked to suspend."""
        if self.closed_ms is None:
            self.closed_ms = now_ms

    def yielded(self, now_ms: int) -> None:
        """The SDK is asked to suspend before its time, because others wait: it is cut no sooner for that."""
        self.was_early = not self.has_closed
        self.closed(now_ms)

    def over(self, now_ms: int) -> None:
        """The dialogue is over."""
        assert self.over_ms is None, "a dialogue ends once"
        self.over_ms = now_ms

    def must_close(self, now_ms: int) -> bool:
        """Whether to ask the SDK to suspend."""
        return self.over_ms is None and self.closed_ms is None and now_ms >= self.due_ms

    def must_cut(self, now_ms: int) -> bool:
        """Whether to reset the exchange."""
        return (self.over_ms is not None or self.closed_ms is not None) and now_ms >= self.due_ms

    def may_yield(self, now_ms: int) -> bool:
        """Whether the attempt seems to wait only, so that its slot can go to another."""
        return now_ms - self.heard_ms >= YIELD_IDLE_MS
