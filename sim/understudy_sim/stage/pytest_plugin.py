"""Scenarios are tests: `pytest scenarios/` runs each over some seeds and fails with the story of what broke.

Works with pytest-trio's `trio_mode` on and off: a scenario is an item of its own, not an async function that somebody
would have to run.  A scenario declared with `fails=True` passes when a claim breaks.  A run that is written out
(`scenario.fixed(...)`, see `fixed.py`) is a test that runs once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from understudy_sim.stage.fixed import Fixed
    from understudy_sim.stage.report import Report
    from understudy_sim.stage.scenario import Scenario

SEEDS = 20
MARK = b"@scenario("
MARK_FIXED = b".fixed("


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("understudy")
    group.addoption(
        "--scenario-seeds",
        default=str(SEEDS),
        metavar="N",
        help=f"seeds to run of each scenario: a number, or 'all' for the scenario's own (default {SEEDS})",
    )


def pytest_configure(config: pytest.Config) -> None:
    wanted = config.getoption("--scenario-seeds")
    if wanted != "all" and not (wanted.isdecimal() and int(wanted) >= 1):
        raise pytest.UsageError(f"--scenario-seeds={wanted}: a number of seeds, or 'all', was expected")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Take scripts that declare a scenario or write a run out; test modules stay pytest's own."""
    if file_path.suffix != ".py" or file_path.name.startswith(("test_", "conftest")):
        return None
    text = file_path.read_bytes()
    if MARK not in text and not (MARK_FIXED in text and b"understudy_sim" in text):
        return None
    return ScenarioFile.from_parent(parent, path=file_path)


class ScenarioFile(pytest.File):
    """A script."""

    def collect(self) -> Iterator[pytest.Item]:
        from understudy_sim.stage.fixed import Fixed
        from understudy_sim.stage.script import load_module, scenarios_in

        module = load_module(str(self.path))
        for found in scenarios_in(module):
            yield ScenarioItem.from_parent(self, name=found.name, scenario=found)
        for name, fixed in vars(module).items():
            if isinstance(fixed, Fixed):
                yield FixedItem.from_parent(self, name=name, fixed=fixed)


class ScenarioBroke(Exception):
    """A claim of a scenario broke, or one that should have did not."""


class ScenarioItem(pytest.Item):
    """One scenario over its seeds."""

    def __init__(self, *, scenario: Scenario, **rest: Any) -> None:
        super().__init__(**rest)
        self.scenario = scenario
        self.obj = self.runtest  # pytest-trio looks at what an item calls: nothing asynchronous

    def runtest(self) -> None:
        from understudy_sim.stage.search import run_seeds
        from understudy_sim.stage.variation import AS_DRAWN

        wanted = self.config.getoption("--scenario-seeds")
        seeds = self.scenario.seeds if wanted == "all" else min(int(wanted), self.scenario.seeds)
        for report in run_seeds(self.scenario, range(seeds), AS_DRAWN):
            if report.failed and self.scenario.fails:
                return
            if report.failed:
                raise ScenarioBroke(self._story(report))
        if self.scenario.fails:
            raise ScenarioBroke(f"{self.scenario.name} is declared to fail, and none of {seeds} seeds broke a claim")

    def _story(self, report: Report) -> str:
        from understudy_sim.stage.banner import banner
        from understudy_sim.stage.story import describe_run, describe_story

        stories = "\n\n".join(describe_story(story) for story in report.stories)
        replay = f"understudy replay {self.path} --seed {report.seed:#x}"
        drawn = "\n".join(banner(report))
        return f"seed {report.seed:#x}\n{stories}\n{drawn}\n\n{describe_run(report)}\nreplay it with: {replay}"

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, ScenarioBroke):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.scenario.line - 1, f"scenario: {self.scenario.name}"


class FixedItem(pytest.Item):
    """One run that is written out: all claims must hold."""

    def __init__(self, *, fixed: Fixed, **rest: Any) -> None:
        super().__init__(**rest)
        self.fixed = fixed
        self.obj = self.runtest

    def runtest(self) -> None:
        from understudy_sim.stage.fixed import described

        report = self.fixed.run()
        if report.failed:
            raise ScenarioBroke(described(self.fixed.scenario, report))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, ScenarioBroke):
            return f"{excinfo.value}\n\nrun it again with: python {self.path}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"run of {self.fixed.scenario.name}: {self.path.stem}"
