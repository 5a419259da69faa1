"""What one seed showed: a value that crosses processes, prints as JSON and names the run by its digest."""

from __future__ import annotations

import attrs

from understudy_sim.stage.operations import Call
from understudy_sim.stage.tally import Firing
from understudy_sim.stage.watch import Violation


@attrs.frozen(kw_only=True)
class Story:
    """A broken claim: which operation, which fault, what differed."""

    claim: str
    operation: str
    fault: str
    difference: str
    at_ns: int


@attrs.frozen(kw_only=True)
class Report:
    """One seed.  `faults` maps a kind to (fired, bit), `sometimes` an id to whether it was seen."""

    seed: int
    digest: str
    violations: tuple[Violation, ...]
    stories: tuple[Story, ...]
    steps: int
    virtual_ns: int
    invocations: int
    attempts: int
    faults: dict[str, tuple[int, int]]
    sometimes: dict[str, bool]
    hits: dict[str, int]
    bytes_mode: bool
    partition_count: int
    calls: tuple[Call, ...]
    firings: tuple[Firing, ...]
    syncs: int  # of the server's disk: each is a place to lose power at
    waiters: tuple[str, ...] | None = None  # who waited for what, where the run was stopped at a step on request

    @property
    def failed(self) -> bool:
        """Whether a claim broke."""
        return bool(self.violations)
