"""Which run a command line means: a script with a seed and perhaps a variation, or a file that has it all."""

from __future__ import annotations

from pathlib import Path

import attrs
import click

from understudy_sim.cli.shared import fixed_of, scenario_of, variation_of
from understudy_sim.stage.application import Application
from understudy_sim.stage.faults import FaultSet
from understudy_sim.stage.rehearsal import Observer
from understudy_sim.stage.report import Report
from understudy_sim.stage.run import run_seed
from understudy_sim.stage.scenario import Scenario
from understudy_sim.stage.shrunk_file import is_fixed
from understudy_sim.stage.silence import silence_for_good, silent
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
        """Make it, to its end or to the step *steps_max*."""
        variation = attrs.evolve(self.variation, steps_max=steps_max)
        with silent():
            return run_seed(self.scenario, Application(self.scenario.app), self.seed, variation, observers)


def meant(script: str, seed: int | None, faults: FaultSet | None, shrunk: str | None, variation: str | None) -> Meant:
    """The run of *script* that the options name.  Raises click.UsageError."""
    if is_fixed(Path(script)):
        if (seed, faults, shrunk, variation) != (None, None, None, None):
            raise click.UsageError(f"{script} is one run, written out: leave out --seed and what goes with it")
        silence_for_good()
        fixed = fixed_of(script)
        return Meant(scenario=fixed.scenario, seed=fixed.trial.seed, variation=fixed.trial.variation, line=script)
    if seed is None:
        raise click.UsageError("which run? Name it with --seed SEED, or give a file written by `understudy shrink`")
    if sum(one is not None for one in (faults, shrunk, variation)) > 1:
        raise click.UsageError("one of --faults, --shrunk and --variation is enough")
    line = f"{script} --seed {seed:#x}"
    if shrunk is not None:
        varied, line = variation_of(shrunk), f"{line} --shrunk {shrunk}"
    elif variation is not None:
        varied, line = _varied(variation), f"{line} --variation '{variation}'"
    else:
        varied = Variation(faults=faults)
        line = line if faults is None else f"{line} --faults {','.join(faults.kinds) or 'none'}"
    return Meant(scenario=scenario_of(script), seed=seed, variation=varied, line=line)


def _varied(text: str) -> Variation:
    try:
        return from_text(text)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
