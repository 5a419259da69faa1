"""What one seed showed: a value that crosses processes, prints as JSON and names the run by its digest."""

from __future__ import annotations

import attrs

from understudy_sim.stage.operations import Operation
from understudy_sim.stage.plan import Hops, Plan
from understudy_sim.stage.schedules import UNSAID, Decided
from understudy_sim.stage.tally import Firing
from understudy_sim.stage.watch import Violation


@attrs.frozen(kw_only=True)
class Story:
    """A broken claim: which operation, which fault, what differed; of who is stuck also who waits for whom."""

    claim: str
    operation: str
    fault: str
    difference: str
    at_ns: int
    chain: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Report:
    """One seed.  `faults` maps a kind to (fired, bit), `happened` what happened to
    its count, `sometimes` an id to whether it was seen."""

    seed: int
    digest: str
    violations: tuple[Violation, ...]
    stories: tuple[Story, ...]
    steps: int
    virtual_ns: int
    invocations: int
    attempts: int
    faults: dict[str, tuple[int, int]]
    happened: dict[str, int]
    sometimes: dict[str, bool]
    hits: dict[str, int]
    plan: Plan
    calls: tuple[Operation, ...]
    firings: tuple[Firing, ...]
    syncs: int  # of the server's disk: each is a place to lose power at
    cells: int = 0  # what was covered, as bits: see coverage.py
    schedule: Decided = UNSAID
    not_judged: tuple[str, ...] = ()  # which claims were not, of a guest, and why
    outcome: str = ""  # a digest of what came out of it, where that was compared with undisturbed orders
    waiters: tuple[str, ...] | None = None  # who waited for what, where the run was stopped at a step on request
    unmet: tuple[str, ...] = ()  # what a variation says about decisions that the run never took

    @property
    def hops(self) -> Hops:
        """What the hops spoke."""
        return self.plan.hops

    @property
    def partition_count(self) -> int:
        """How many partitions the server had."""
        return self.plan.partition_count

    @property
    def bytes_mode(self) -> bool:
        """Whether the hops carried bytes."""
        return self.hops.in_bytes

    @property
    def failed(self) -> bool:
        """Whether a claim broke."""
        return bool(self.violations)
