"""Which run a command line means: a script with a seed and perhaps a variation, or a file that has it all."""

from __future__ import annotations

import shlex
from pathlib import Path

import attrs
import click

from understudy_sim.cli.shared import fixed_of, replay_line, run_one, scenario_of, variation_of
from understudy_sim.stage.faults import FaultSet
from understudy_sim.stage.rehearsal import Observer
from understudy_sim.stage.report import Report
from understudy_sim.stage.scenario import Scenario
from understudy_sim.stage.shrunk_file import is_fixed
from understudy_sim.stage.silence import silence_for_good
from understudy_sim.stage.variation import Variation
from understudy_sim.stage.variation_text import from_text


@attrs.frozen(kw_only=True)
class Meant:
    """One run.  *line* is what names it on a command line, behind the command."""

    scenario: Scenario
    seed: int
    variation: Variation
    line: str

    def run(self, *observers: Observer, steps_max: int | None = None) -> Report:
        """Make it, to its end or to the step *steps_max*.  Raises click.UsageError."""
        variation = attrs.evolve(self.variation, steps_max=steps_max)
        return run_one(self.scenario, self.seed, variation, *observers)


def meant(script: str, seed: int | None, faults: FaultSet | None, shrunk: str | None, variation: str | None) -> Meant:
    """The run of *script* that the options name.  Raises click.UsageError."""
    if is_fixed(Path(script)):
        if (seed, faults, shrunk, variation) != (None, None, None, None):
            raise click.UsageError(f"{script} is one run, written out: leave out --seed and what goes with it")
        silence_for_good()
        fixed = fixed_of(script)
        return Meant(scenario=fixed.scenario, seed=fixed.trial.seed, variation=fixed.trial.variation, line=script)
    file = Path(script.partition("::")[0])
    if not file.is_file():
        is_folder = f"{str(file)!r} is a folder: name the script in it"
        raise click.UsageError(is_folder if file.is_dir() else f"there is no file {str(file)!r}")
    if seed is None:
        raise click.UsageError("which run? Name it with --seed SEED, or give a file written by `understudy shrink`")
    if sum(one is not None for one in (faults, shrunk, variation)) > 1:
        raise click.UsageError("one of --faults, --shrunk and --variation is enough")
    if shrunk is not None:
        line = f"{script} --seed {seed:#x} --shrunk {shlex.quote(shrunk)}"
        return Meant(scenario=scenario_of(script), seed=seed, variation=variation_of(shrunk), line=line)
    varied = Variation(faults=faults) if variation is None else _varied(variation)
    return named(script, scenario_of(script), seed, varied)


def named(script: str, scenario: Scenario, seed: int, variation: Variation) -> Meant:
    """The run of the *scenario* in *script* that these name."""
    line = replay_line(script, seed, variation).removeprefix("understudy replay ")
    return Meant(scenario=scenario, seed=seed, variation=variation, line=line)


def _varied(text: str) -> Variation:
    try:
        return from_text(text)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
