"""`understudy shrink`: the smallest run that still fails."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from understudy_sim.cli.shared import FAULTS, SEED, run_one, scenario_of, tell_shrunk
from understudy_sim.stage.faults import FaultSet
from understudy_sim.stage.shrink import shrink as shrink_run
from understudy_sim.stage.shrunk_file import save_variation
from understudy_sim.stage.variation import Variation


@click.command(short_help="Find the smallest run of a seed that still fails.")
@click.argument("script")
@click.option("--seed", type=SEED, required=True, help="A seed that fails.")
@click.option("--faults", type=FAULTS, help="The faults it fails under, if not the scenario's.")
@click.option("--output", type=click.Path(dir_okay=False), help="Where to write the smaller run (default: beside you).")
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON.")
def shrink(script: str, seed: int, faults: FaultSet | None, output: str | None, as_json: bool) -> None:
    """Leave out operations and faults of a failing seed for as long as the same claim breaks."""
    scenario = scenario_of(script)
    variation = Variation(faults=faults)
    report = run_one(scenario, seed, variation)
    if not report.failed:
        raise click.ClickException(f"seed {seed} does not fail: there is nothing to shrink")
    shrunk = shrink_run(scenario, report, variation)
    name = output or f"{Path(script.partition('::')[0]).stem}-seed-{seed}.json"
    save_variation(Path(name), script, seed, shrunk.variation)
    tell_shrunk(scenario, shrunk)
    click.echo(f"replay it with: understudy replay {script} --seed {seed:#x} --shrunk {name}")
    if as_json:
        operations = [str(call) for call in shrunk.report.calls]
        kinds = sorted({one.kind for one in shrunk.report.firings})
        click.echo(
            json.dumps({"seed": seed, "runs": shrunk.runs, "operations": operations, "faults": kinds, "file": name})
        )
    sys.exit(1)
