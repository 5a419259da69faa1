"""One drawn rehearsal: a frozen value that runs, prints as Python, and fails with the story of what broke."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any, Final

import attrs

from understudy_sim.drawn.printing import as_python
from understudy_sim.stage.application import Application
from understudy_sim.stage.report import Report
from understudy_sim.stage.run import run_seed
from understudy_sim.stage.scenario import Scenario
from understudy_sim.stage.script import load_scenario
from understudy_sim.stage.shrunk_file import About, file_text
from understudy_sim.stage.silence import silent
from understudy_sim.stage.story import describe_run, describe_story
from understudy_sim.stage.strategies.port import Trial
from understudy_sim.stage.variation import AS_DRAWN, Variation

STORIES_MAX: Final = 3


class RehearsalFailed(AssertionError):
    """A claim broke: which, how, and how to run it again.  Each claim has a subclass of its own, so that Hypothesis
    does not take one failure for another while it shrinks."""


@attrs.frozen
class Run:
    """The rehearsal of *scenario* (`path/to/script.py::name`) under *seed*, as *variation* says."""

    scenario: str
    seed: int = attrs.field(default=0, kw_only=True)
    variation: Variation = attrs.field(default=AS_DRAWN, kw_only=True)
    _declared: Scenario | None = attrs.field(default=None, eq=False, repr=False, kw_only=True)
    _application: Application | None = attrs.field(default=None, eq=False, repr=False, kw_only=True)

    def __repr__(self) -> str:
        return as_python(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """How Hypothesis prints it."""
        printer.text(as_python(self))

    def run(self) -> Report:
        """Rehearse it once."""
        scenario = self._declared if self._declared is not None else load_scenario(self.scenario)
        application = self._application if self._application is not None else Application(scenario.app)
        with silent():
            return run_seed(scenario, application, self.seed, self.variation)

    def check(self) -> Report:
        """Rehearse it once.  Raises RehearsalFailed when a claim broke."""
        report = self.run()
        if report.failed:
            raise failure_of(report, f"{self!r}.check()")
        return report

    def as_file(self) -> str:
        """A Python file that is this run, written out: a test, and what `understudy replay FILE` takes.

        For regressions: write it beside your tests.  It is run once to be written.
        """
        report = self.run()
        first = report.violations[0] if report.violations else None
        about = About() if first is None else About(claim=first.claim, what=first.what)
        name = self.scenario.partition("::")[2] or load_scenario(self.scenario).name
        return file_text(self.scenario, name, Trial(self.seed, self.variation), report, about)


def failure_of(report: Report, again: str) -> RehearsalFailed:
    """What a failing *report* raises; *again* is the Python that runs it again."""
    assert report.failed, "only a failure is told"
    stories = "\n".join(describe_story(one) for one in report.stories[:STORIES_MAX])
    rest = len(report.stories) - STORIES_MAX
    more = f"\nand {rest} more" if rest > 0 else ""
    return kind_of(report.violations[0].claim)(f"{stories}{more}\n{describe_run(report)}\nagain: {again}")


@functools.cache
def kind_of(claim: str) -> type[RehearsalFailed]:
    """The type of a failure of *claim*."""
    return type(f"RehearsalFailed[{claim}]", (RehearsalFailed,), {"claim": claim})


def name_of(scenario: Scenario) -> str:
    """What `load_scenario` finds *scenario* by, from the working directory."""
    file = Path(scenario.filename)
    try:
        file = file.resolve().relative_to(Path.cwd().resolve())
    except ValueError:
        file = Path(os.path.relpath(file))
    return f"{file.as_posix()}::{scenario.name}"
