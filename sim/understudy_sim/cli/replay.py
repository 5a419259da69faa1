"""`understudy replay`: one run again, every step the same."""

from __future__ import annotations

import json
import sys
import time

import attrs
import click

from understudy_sim.cli.shared import FAULTS, SEED, run_one, scenario_of, variation_of
from understudy_sim.stage.faults import FaultSet
from understudy_sim.stage.search import Summary
from understudy_sim.stage.story import describe_run, describe_story
from understudy_sim.stage.variation import Variation


@click.command(short_help="Run one seed of a scenario again, every step the same.")
@click.argument("script")
@click.option("--seed", type=SEED, required=True, help="The seed, decimal or 0x hexadecimal.")
@click.option("--until", type=click.IntRange(min=1), help="Stop after this step and say who waits for what.")
@click.option("--faults", type=FAULTS, help="The faults of the run to repeat, if it did not use the scenario's.")
@click.option("--shrunk", type=click.Path(exists=True, dir_okay=False), help="A file written by `understudy shrink`.")
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON.")
def replay(
    script: str, seed: int, until: int | None, faults: FaultSet | None, shrunk: str | None, as_json: bool
) -> None:
    """Run one seed of the scenario in SCRIPT again and tell what happens in it."""
    scenario = scenario_of(script)
    variation = Variation(faults=faults) if shrunk is None else variation_of(shrunk)
    variation = attrs.evolve(variation, steps_max=until)
    started = time.monotonic()
    report = run_one(scenario, seed, variation)
    took = time.monotonic() - started
    summary = Summary()
    summary.add(report)
    click.echo(f"{scenario.name}, seed {seed}: {report.steps} steps, {report.virtual_ns / 1e9:.3f} virtual seconds")
    click.echo(describe_run(report))
    for story in report.stories:
        click.echo(f"\n{describe_story(story)}")
    if report.waiters is not None:
        click.echo("stopped; who waits for what")
        for waiter in report.waiters:
            click.echo(f"  {waiter}")
    click.echo(f"digest {report.digest}")
    if as_json:
        click.echo(json.dumps({**summary.as_json(took), "seed": seed}))
    sys.exit(1 if report.failed else 0)
