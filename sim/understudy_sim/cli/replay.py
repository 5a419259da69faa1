"""`understudy replay`: one run again, every step the same; to its end, or up to a step, where one may look around."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click

from understudy_sim.cli.meant import Meant, meant
from understudy_sim.cli.pages import write_page
from understudy_sim.cli.repl import walk
from understudy_sim.cli.shared import FAULTS, SEED, NewFile
from understudy_sim.stage.faults import FaultSet
from understudy_sim.stage.report import Report
from understudy_sim.stage.search import Summary
from understudy_sim.stage.story import describe_run, describe_story


@click.command(short_help="Run one seed of a scenario again, every step the same.")
@click.argument("script")
@click.option("--seed", type=SEED, help="The seed, decimal or 0x hexadecimal.")
@click.option("--until", type=click.IntRange(min=1), help="Stop after this step; at a terminal, look around there.")
@click.option("--repl", is_flag=True, help="Look around where it stops, also when commands come from a file.")
@click.option("--faults", type=FAULTS, help="The faults of the run to repeat, if it did not use the scenario's.")
@click.option("--shrunk", type=click.Path(exists=True, dir_okay=False), help="A file written by `understudy shrink`.")
@click.option(
    "--variation", metavar="TEXT", help="How the run differs from its seed, as `understudy simulate` says it."
)
@click.option("--html", type=NewFile(), help="Write the run as a page to look at.")
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON.")
def replay(
    script: str,
    seed: int | None,
    until: int | None,
    repl: bool,
    faults: FaultSet | None,
    shrunk: str | None,
    variation: str | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Make one run of the scenario in SCRIPT again and tell what happens in it.

    SCRIPT is a scenario's file, with --seed, or a file written by `understudy shrink`.  With --until, at a terminal, or
    with --repl, the world stands where the run stops and can be looked at; `help` says how.
    """
    run = meant(script, seed, faults, shrunk, variation)
    if repl or (until is not None and sys.stdin.isatty() and html is None and not as_json):
        sys.exit(1 if walk(run, until) else 0)
    started = time.monotonic()
    report = run.run(steps_max=until) if html is None else write_page(html, run, until)
    took = time.monotonic() - started
    tell(run, report, until)
    if html is not None:
        click.echo(f"the run is in {html}")
    if as_json:
        summary = Summary()
        summary.add(report)
        click.echo(json.dumps({**summary.as_json(took), "seed": run.seed}))
    sys.exit(1 if report.failed else 0)


def tell(run: Meant, report: Report, until: int | None) -> None:
    """What happened, which claims broke, and where it was stopped."""
    steps = f"{report.steps} steps, {report.virtual_ns / 1e9:.3f} virtual seconds"
    click.echo(f"{run.scenario.name}, seed {run.seed}: {steps}")
    click.echo(describe_run(report))
    crash = run.variation.crash_at
    if crash is not None and not any(firing.what.endswith(str(crash)) for firing in report.firings):
        click.echo(f"nobody lost power: {crash} was never passed")
    for story in report.stories:
        click.echo(f"\n{describe_story(story)}")
    if report.waiters is not None:
        click.echo("stopped; who waits for what")
        for waiter in report.waiters:
            click.echo(f"  {waiter}")
    elif until is not None:
        click.echo(f"it does not have {until} steps: this is its end")
    click.echo(f"digest {report.digest}")
