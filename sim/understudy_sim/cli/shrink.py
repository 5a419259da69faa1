"""`understudy shrink`: the smallest run that still fails, as a Python file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import attrs
import click

from understudy_sim.cli.shared import FAULTS, SEED, NewFile, run_one, scenario_of, tell_shrunk, write_shrunk
from understudy_sim.stage.faults import FaultSet
from understudy_sim.stage.report import Report
from understudy_sim.stage.shrink import RUNS_MAX, NotRepeated
from understudy_sim.stage.shrink import shrink as shrink_run
from understudy_sim.stage.shrunk_file import is_fixed
from understudy_sim.stage.variation import Variation
from understudy_sim.stage.variation_text import from_text


@click.command(short_help="Find the smallest run of a seed that still fails.")
@click.argument("script")
@click.option("--seed", type=SEED, required=True, help="A seed that fails.")
@click.option("--variation", default="", metavar="TEXT", help="How the run differs from its seed: of a replay line.")
@click.option("--faults", type=FAULTS, help="The faults it fails under, if not the scenario's.")
@click.option("--runs", type=click.IntRange(min=2), default=RUNS_MAX, show_default=True, help="Runs to spend on it.")
@click.option("--output", metavar="FILE.py", type=NewFile(".py"), help="Where to write the smaller run.")
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON.")
def shrink(
    script: str, seed: int, variation: str, faults: FaultSet | None, runs: int, output: Path | None, as_json: bool
) -> None:
    """Leave out faults, operations and everything else of a failing run for as long as the same claim breaks.

    What is left is a Python file that runs alone: it ends with 1 while the claim breaks, with 0 once it holds.
    """
    if is_fixed(Path(script)):
        raise click.UsageError(f"{script} is one run, made small already; `understudy replay {script}` runs it")
    scenario = scenario_of(script)
    try:
        how = from_text(variation)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    how = how if faults is None else attrs.evolve(how, faults=faults)
    report = run_one(scenario, seed, how)
    if not report.failed:
        raise click.ClickException(f"seed {seed} does not fail: there is nothing to shrink")
    try:
        shrunk = shrink_run(scenario, report, how, runs, tell=lambda line: click.echo(f"  {line}", err=True))
    except NotRepeated as error:
        raise click.ClickException(str(error)) from error
    file = output or Path(f"{scenario.name}_{seed:#x}.py")
    difference = write_shrunk(file, script, scenario, seed, shrunk)
    tell_shrunk(scenario, shrunk)
    if difference:
        click.echo(f"\n{difference}")
    click.echo(f"\nrun it again with: python {file}")
    if as_json:
        click.echo(json.dumps(_as_json(seed, str(file), shrunk.runs, shrunk.report, shrunk.variation)))
    sys.exit(1)


def _as_json(seed: int, name: str, runs: int, report: Report, variation: Variation) -> dict[str, Any]:
    schedule = variation.schedule
    return {
        "seed": seed,
        "runs": runs,
        "operations": [str(call) for call in report.calls],
        "faults": [one.kind for one in report.firings],
        "deviations": len(schedule.deviations) if schedule is not None else None,
        "decisions": len(variation.overrides or {}),
        "file": name,
    }
