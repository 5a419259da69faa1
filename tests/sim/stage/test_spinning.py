"""A handler that spins is named with the process and the task that run it, and the story tells of nobody else."""

from __future__ import annotations

import attrs
import pytest
from understudy_sim.kernel.kernel import KernelOutcome
from understudy_sim.stage.application import Application
from understudy_sim.stage.operations import Call
from understudy_sim.stage.rehearsal import Rehearsal
from understudy_sim.stage.report import Story
from understudy_sim.stage.run import ENDED_EARLY, run_seed
from understudy_sim.stage.silence import silent
from understudy_sim.stage.story import describe_story
from understudy_sim.stage.variation import Variation

from tests.sim.stage.spinning_app import spinning


@attrs.frozen
class Impatient:
    """Waits less long for a step that never ends."""

    def attach(self, rehearsal: Rehearsal) -> None:
        rehearsal.kernel.loop.patience_s = 0.2

    def stopped(self, rehearsal: Rehearsal, ended: KernelOutcome) -> None:
        pass


def told(handler: str, seed: int) -> tuple[Story, Story]:
    calls = (Call(client="ann", service="Spin", handler=handler),)
    with silent():
        report = run_seed(spinning, Application(spinning.app), seed, Variation(calls=calls), [Impatient()])
    (claim,) = [one for one in report.stories if one.claim.startswith("P16")]
    (ended,) = [one for one in report.stories if one.claim == ENDED_EARLY]
    return claim, ended


@pytest.mark.parametrize(("handler", "share"), [("polls", "% of the steps: "), ("together", "of 10 tasks: ")])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_task_its_process_and_its_handler_are_named(handler: str, share: str, seed: int) -> None:
    story, ended = told(handler, seed)
    _, spinner, whose = story.difference.splitlines()
    assert f"{share}endpoint: " in spinner
    assert "waits in turn (tests/sim/stage/spinning_app.py:" in spinner
    assert f"in the handler of Spin/{handler} (inv_1" in whose
    assert f"came to Spin/{handler}" in story.operation
    assert "it spins" in describe_story(ended)
    assert ended.chain == (), "nobody who waits is to blame"
    assert "waits in" not in describe_story(ended)


def test_so_is_who_makes_a_step_that_never_ends() -> None:
    story, _ = told("burns", 0)
    assert "broken off in burns (" in story.difference
    assert ", by endpoint: " in story.difference
    assert "in the handler of Spin/burns (inv_1" in story.difference
