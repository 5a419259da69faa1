"""`understudy simulate`: search a scenario for failures.

With `--expect-failure` a broken claim is what was wanted: 0 when one broke, 1 when all held.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Final

import click

from understudy_sim.cli.shared import FAULTS, SEED, replay_line, scenario_of, tell_shrunk
from understudy_sim.stage.faults import FaultSet
from understudy_sim.stage.scenario import Scenario
from understudy_sim.stage.search import Search, Summary, search
from understudy_sim.stage.shrink import shrink as shrink_run
from understudy_sim.stage.story import describe_story
from understudy_sim.stage.telling import Progress, tell_summary
from understudy_sim.stage.variation import Variation

CLAIMS_TOLD_MAX: Final = 8


@click.command(short_help="Search a scenario for failures, seed by seed.")
@click.argument("script")
@click.option("--seeds", type=click.IntRange(min=1), help="How many seeds (default: the scenario's own number).")
@click.option("--seed", type=SEED, help="This one seed only.")
@click.option("--first-seed", type=SEED, default=0, show_default=True, help="Where to begin.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes to use.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after this long.")
@click.option("--faults", type=FAULTS, help="none, all, or kinds separated by commas (default: the scenario's).")
@click.option("--expect-failure", is_flag=True, help="Succeed when a claim breaks.")
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON.")
def simulate(
    script: str,
    seeds: int | None,
    seed: int | None,
    first_seed: int,
    jobs: int,
    seconds: float | None,
    faults: FaultSet | None,
    expect_failure: bool,
    as_json: bool,
) -> None:
    """Rehearse the scenario in SCRIPT under many seeds.  Each seed is another order of events and other accidents."""
    scenario = scenario_of(script)
    if seed is not None and (seeds is not None or first_seed):
        raise click.UsageError("--seed runs one seed; leave out --seeds and --first-seed")
    wanted = Search(
        script=script,
        first_seed=first_seed if seed is None else seed,
        seeds=1 if seed is not None else (seeds or scenario.seeds),
        jobs=jobs,
        seconds=seconds,
        variation=Variation(faults=faults),
    )
    progress = Progress(scenario.name, wanted.seeds)
    started = time.monotonic()
    summary = search(wanted, progress.show)
    took = time.monotonic() - started
    progress.clear()
    # A claim about many seeds is judged over as many as the scenario asks for, with all its faults.
    missed = summary.never_seen if faults is None and summary.seeds >= scenario.seeds and not expect_failure else []
    tell_summary(click.echo, scenario, summary, took, missed)
    if summary.failures:
        tell_failures(script, scenario, summary, wanted.variation)
    broke = bool(summary.failures) or bool(missed)
    if expect_failure:
        click.echo("a claim broke, as expected" if broke else "no claim broke, though a failure was expected")
    if as_json:
        click.echo(json.dumps(summary.as_json(took)))
    sys.exit(0 if broke == expect_failure else 1)


def tell_failures(script: str, scenario: Scenario, summary: Summary, variation: Variation) -> None:
    """Each claim that broke, with its story; then the first failing run made small, and how to replay it."""
    seeds_of: dict[str, list[int]] = {}
    for report in summary.failures:
        for claim in dict.fromkeys(story.claim for story in report.stories):
            seeds_of.setdefault(claim, []).append(report.seed)
    told: dict[str, None] = {}
    for report in summary.failures:
        for story in report.stories:
            if story.claim not in told and len(told) < CLAIMS_TOLD_MAX:
                told[story.claim] = None
                seeds = seeds_of[story.claim]
                click.echo(f"\nbroken in {len(seeds)} seed{'s' if len(seeds) > 1 else ''}: {describe_story(story)}")
                click.echo(f"  replay     {replay_line(script, report.seed, variation)}")
    for claim, seeds in seeds_of.items():
        if claim not in told:
            click.echo(f"\nbroken in {len(seeds)} seeds, first {seeds[0]:#x}: {claim}")
    first = summary.failures[0]
    click.echo(f"\nmaking seed {first.seed:#x} smaller …", err=True)
    shrunk = shrink_run(scenario, first, variation)
    tell_shrunk(scenario, shrunk)
    click.echo(f"replay the whole run with: {replay_line(script, first.seed, variation)}")
