"""One run with all its parts, as `run.py` has built it, and who may look at it.

An observer is attached before the first step and told when the loop has stopped, while the world still stands: it may
read everything and must change nothing, or equal seeds would not be equal runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import attrs

from understudy_sim.kernel.choices import Choices
from understudy_sim.kernel.kernel import Kernel, KernelOutcome
from understudy_sim.stage.application import Application
from understudy_sim.stage.cluster import Cluster
from understudy_sim.stage.operations import Operation
from understudy_sim.stage.plan import Plan
from understudy_sim.stage.play import Stage
from understudy_sim.stage.scenario import Scenario
from understudy_sim.stage.tally import Tally
from understudy_sim.stage.truth import Truth
from understudy_sim.stage.variation import Variation
from understudy_sim.stage.watch import Property, Watch


@attrs.frozen(kw_only=True)
class Rehearsal:
    """Everything of one run."""

    scenario: Scenario
    application: Application
    variation: Variation
    choices: Choices
    plan: Plan
    calls: tuple[Operation, ...]
    kernel: Kernel
    watch: Watch
    truth: Truth
    tally: Tally
    properties: Sequence[Property]
    cluster: Cluster
    stage: Stage


class Observer(Protocol):
    """Somebody who looks on."""

    def attach(self, rehearsal: Rehearsal) -> None:
        """Before the first step: subscribe to what you want to see."""

    def stopped(self, rehearsal: Rehearsal, ended: KernelOutcome) -> None:
        """The loop has stopped, by itself or at `steps_max`; every process and task is still there to be looked at."""
