"""`understudy simulate`: search a scenario for failures.

With `--expect-failure` a broken claim is what was wanted: 0 when one broke, 1 when all held.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Final

import click

from understudy_sim.cli.meant import named
from understudy_sim.cli.pages import write_page
from understudy_sim.cli.shared import FAULTS, SEED, NewFile, replay_line, scenario_of, tell_shrunk, write_shrunk
from understudy_sim.stage.banner import banner
from understudy_sim.stage.faults import FaultSet
from understudy_sim.stage.report import Report
from understudy_sim.stage.resume import ForeignFile
from understudy_sim.stage.run import STEPS_MAX
from understudy_sim.stage.scenario import Scenario
from understudy_sim.stage.search import Search, Summary, search
from understudy_sim.stage.shrink import NotRepeated
from understudy_sim.stage.shrink import shrink as shrink_run
from understudy_sim.stage.story import describe_story
from understudy_sim.stage.strategies import DEFAULT, STRATEGIES
from understudy_sim.stage.telling import Progress, tell_summary
from understudy_sim.stage.telling_cells import tell_cells, tell_matrix
from understudy_sim.stage.variation import Variation

CLAIMS_TOLD_MAX: Final = 8
# A search is to tell what it found about a minute after it found it.  `understudy shrink` takes its time.
SHRINK_STEPS_MAX: Final = 2_000_000
HOW_STRATEGIES: Final = "; ".join(f"{name}: {known.does}" for name, known in STRATEGIES.items())


@click.command(short_help="Search a scenario for failures, seed by seed.")
@click.argument("script")
@click.option("--seeds", type=click.IntRange(min=1), help="How many seeds (default: the scenario's own number).")
@click.option("--seed", type=SEED, help="This one seed only.")
@click.option("--first-seed", type=SEED, default=0, show_default=True, help="Where to begin.")
@click.option(
    "--strategy",
    type=click.Choice(list(STRATEGIES)),
    default=DEFAULT,
    show_default=True,
    help=f"Which runs to make.  {HOW_STRATEGIES}.",
)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes to use.")
@click.option("--runs", type=click.IntRange(min=1), help="Stop after so many runs, of however many seeds.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after this long.")
@click.option("--until-quiet", type=click.IntRange(min=1), metavar="N", help="Stop after N runs without a new cell.")
@click.option(
    "--resume",
    type=NewFile(),
    metavar="FILE",
    help="Keep finished runs in FILE, and go on behind those that are in it.",
)
@click.option("--faults", type=FAULTS, help="none, all, or kinds separated by commas (default: the scenario's).")
@click.option("--cells", is_flag=True, help="Show what was covered, under which faults.")
@click.option("--expect-failure", is_flag=True, help="Succeed when a claim breaks.")
@click.option(
    "--html",
    type=NewFile(),
    metavar="FILE",
    help="When a claim breaks, write the smallest run in which it does as a page to look at.",
)
@click.option(
    "--output",
    type=NewFile(".py"),
    metavar="FILE.py",
    help="When a claim breaks, write the smallest run in which it does to a file that runs alone.",
)
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON.")
def simulate(
    script: str,
    seeds: int | None,
    seed: int | None,
    first_seed: int,
    strategy: str,
    jobs: int,
    runs: int | None,
    seconds: float | None,
    until_quiet: int | None,
    resume: Path | None,
    faults: FaultSet | None,
    cells: bool,
    expect_failure: bool,
    html: Path | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Rehearse the scenario in SCRIPT under many seeds.  Each seed is another order of events and other accidents.

    The search ends when the seeds are run; with --runs, --seconds or --until-quiet and no --seeds, when that rule
    says so.
    """
    scenario = scenario_of(script)
    if seed is not None and (seeds is not None or first_seed):
        raise click.UsageError("--seed runs one seed; leave out --seeds and --first-seed")
    if faults is not None and faults.kinds and STRATEGIES[strategy].is_calm:
        raise click.UsageError(f"{strategy} makes runs with no faults but its own; leave out --faults")
    wanted = Search(
        script=script,
        first_seed=first_seed if seed is None else seed,
        seeds=1 if seed is not None else seeds,
        jobs=jobs,
        runs=runs,
        seconds=seconds,
        until_quiet=until_quiet,
        strategy=strategy,
        variation=Variation(faults=faults),
        resume=resume,
    )
    summary, took = _searched(wanted, scenario)
    # A claim about many seeds is judged over as many as the scenario asks for, with all its faults.
    many = summary.seeds >= scenario.seeds and not STRATEGIES[strategy].ends
    missed = summary.never_seen if faults is None and many and not expect_failure else []
    allowed = scenario.faults if faults is None else faults
    tell_summary(click.echo, scenario, summary, took, missed)
    tell_cells(click.echo, summary, allowed)
    if cells:
        tell_matrix(click.echo, summary, allowed)
    if summary.failures:
        tell_failures(script, scenario, summary, html, output)
    broke = bool(summary.failures) or bool(missed)
    if expect_failure:
        click.echo("a claim broke, as expected" if broke else "no claim broke, though a failure was expected")
    if as_json:
        click.echo(json.dumps(summary.as_json(took)))
    sys.exit(0 if broke == expect_failure else 1)


def _searched(wanted: Search, scenario: Scenario) -> tuple[Summary, float]:
    """The search, with its live line, and how long it took."""
    progress = Progress(scenario.name, wanted.seeds_max(scenario))
    started = time.monotonic()
    try:
        summary = search(wanted, progress.show)
    except ForeignFile as error:
        raise click.UsageError(str(error)) from error
    finally:
        progress.clear()
    return summary, time.monotonic() - started


def tell_failures(
    script: str, scenario: Scenario, summary: Summary, html: Path | None = None, output: Path | None = None
) -> None:
    """Each claim that broke, with its story; then the first failing run made small, and how to replay it.

    The small run is written as a page to *html* and as a program to *output*, if they are given.
    """
    runs_of: dict[str, list[Report]] = {}
    for report in summary.failures:
        for claim in dict.fromkeys(story.claim for story in report.stories):
            runs_of.setdefault(claim, []).append(report)
    drawn: dict[tuple[int, str], None] = {}
    for claim, reports in list(runs_of.items())[:CLAIMS_TOLD_MAX]:
        first = reports[0]
        story = next(one for one in first.stories if one.claim == claim)
        click.echo(f"\nbroken in {len(reports)} run{'s' if len(reports) > 1 else ''}: {describe_story(story)}")
        known = (first.seed, first.digest) in drawn
        for line in ["  drawn      as above"] if known else banner(first):
            click.echo(line)
        drawn[first.seed, first.digest] = None
        click.echo(f"  replay     {replay_line(script, first.seed, summary.variation_of(first))}")
    for claim, reports in list(runs_of.items())[CLAIMS_TOLD_MAX:]:
        click.echo(f"\nbroken in {len(reports)} runs, first {reports[0].seed:#x}: {claim}")
    # The first one that came to its end: a run that used up its steps takes minutes to repeat.
    first = min(summary.failures, key=lambda report: report.steps >= STEPS_MAX)
    click.echo(f"\nmaking seed {first.seed:#x} smaller …", err=True)
    variation = summary.variation_of(first)
    line = replay_line(script, first.seed, variation)
    try:
        shrunk = shrink_run(scenario, first, variation, steps_max=SHRINK_STEPS_MAX)
    except NotRepeated as error:
        click.echo(f"{error}\nreplay the whole run with: {line}")
        return
    tell_shrunk(scenario, shrunk)
    if output is not None:
        difference = write_shrunk(output, script, scenario, first.seed, shrunk)
        click.echo(f"\n{difference}\n\nthe smallest run is in {output}; run it again with: python {output}")
    else:
        click.echo(f"keep it as a file with: {line.replace('understudy replay', 'understudy shrink', 1)}")
    if html is not None:
        write_page(html, named(script, scenario, shrunk.trial.seed, shrunk.variation))
        click.echo(f"the smallest run is in {html}")
    click.echo(f"replay the whole run with: {line}")
