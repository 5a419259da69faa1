"""What the commands share: how a seed and faults are written, and how a script is found and run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, Final

import attrs
import click

from understudy_sim.stage import faults as fault_kinds
from understudy_sim.stage.application import Application, NoApplication
from understudy_sim.stage.faults import FaultSet, UnknownFault
from understudy_sim.stage.fixed import Fixed
from understudy_sim.stage.operations import Operation
from understudy_sim.stage.rehearsal import Observer
from understudy_sim.stage.report import Report
from understudy_sim.stage.run import outline_of, run_seed
from understudy_sim.stage.scenario import Scenario
from understudy_sim.stage.script import NoScenario, load_scenario
from understudy_sim.stage.shrink import Shrunk
from understudy_sim.stage.shrunk_file import load_fixed, written
from understudy_sim.stage.silence import silence_for_good, silent
from understudy_sim.stage.story import describe_run, describe_story
from understudy_sim.stage.variation import AS_DRAWN, BadVariation, Variation
from understudy_sim.stage.variation_text import to_text

SEED_MAX: Final = 2**64 - 1


class NotFoundOut(click.ClickException):
    """What was asked could not be found out: that is neither yes (0) nor no (1)."""

    exit_code = 2


class SeedType(click.ParamType[int]):
    """A seed: decimal, or hexadecimal with 0x."""

    name = "seed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            seed = int(str(value), 0)
        except ValueError:
            self.fail(f"{value!r} is not a seed: a seed is a number, such as 7 or 0x5EED", param, ctx)
        if not 0 <= seed <= SEED_MAX:
            self.fail(f"{value} is not a seed: it must lie between 0 and {SEED_MAX}", param, ctx)
        return seed


class NewFile(click.Path):
    """A file that will be written: its folder must be there, and its name right, before anything is run."""

    def __init__(self, suffix: str = "") -> None:
        super().__init__(dir_okay=False, path_type=Path)
        self._suffix = suffix

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(str(super().convert(value, param, ctx)))
        if not path.parent.is_dir():
            self.fail(f"there is no folder {str(path.parent)!r} to write {path.name!r} into: make it first", param, ctx)
        if not path.name.endswith(self._suffix):
            self.fail(f"{path.name!r} must end with {self._suffix}: that is what is written", param, ctx)
        return path


class FaultsType(click.ParamType[FaultSet]):
    """`all`, `none`, or kinds separated by commas."""

    name = "faults"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> FaultSet:
        if isinstance(value, FaultSet):
            return value
        try:
            return fault_kinds.parse(str(value))
        except UnknownFault as error:
            self.fail(str(error), param, ctx)


SEED: Final = SeedType()
FAULTS: Final = FaultsType()


def scenario_of(script: str) -> Scenario:
    """The scenario in *script*, whose applications are there and whose workload draws operations.

    Raises click.UsageError.
    """
    silence_for_good()
    try:
        scenario = load_scenario(script)
        application = Application(scenario.app)
        for one in (application, *map(application.later, scenario.later)):
            _ = one.manifest
    except (NoScenario, NoApplication) as error:
        raise click.UsageError(str(error)) from error
    try:
        _, calls = outline_of(scenario, application, 0, AS_DRAWN)
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
        raise click.UsageError(f"the plan and the operations of {scenario.name} cannot be drawn: {found}") from error
    wrong = next((one for one in calls if not isinstance(one, Operation)), None)
    if wrong is not None:
        kind = type(wrong).__name__
        raise click.UsageError(f"the workload of {scenario.name} draws {wrong!r}, of {kind}: Call(...) was expected")
    return scenario


def run_one(scenario: Scenario, seed: int, variation: Variation, *observers: Observer) -> Report:
    """One run.  Raises click.UsageError where none of the scenario can vary so."""
    with silent():
        try:
            return run_seed(scenario, Application(scenario.app), seed, variation, observers)
        except BadVariation as error:
            raise click.UsageError(f"{scenario.name} has no such run: {error}") from error


def variation_of(name: str) -> Variation:
    return fixed_of(name).trial.variation


def fixed_of(name: str) -> Fixed:
    try:
        return load_fixed(Path(name))
    except (NoScenario, ValueError) as error:
        raise click.UsageError(str(error)) from error


def write_shrunk(file: Path, script: str, scenario: Scenario, seed: int, shrunk: Shrunk) -> str:
    """Write the file; returns the first difference from the nearest run that holds, in words."""
    text, difference = written(script, scenario, shrunk, f"seed {seed:#x}")
    file.write_text(text)
    if load_fixed(file).run().digest != shrunk.report.digest:
        raise click.ClickException(f"{file} is not the run that was found: some of it cannot be written")
    return difference


def tell_shrunk(scenario: Scenario, shrunk: Shrunk) -> None:
    click.echo(f"\nthe smallest run that still breaks {shrunk.claim!r} ({shrunk.runs} tries)")
    click.echo(describe_run(shrunk.report))
    click.echo(describe_story(shrunk.story))


def replay_line(script: str, seed: int, variation: Variation) -> str:
    """The command that makes a run again."""
    line = f"understudy replay {script} --seed {seed:#x}"
    rest = attrs.evolve(variation, faults=None)
    if rest != AS_DRAWN:
        return f"{line} --variation {shlex.quote(to_text(variation))}"
    if variation.faults is not None:
        kinds = variation.faults.kinds
        line += f" --faults {'all' if kinds == fault_kinds.everything().kinds else ','.join(kinds) or 'none'}"
    return line
