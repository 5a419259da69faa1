"""The simulator's commands: simulate, replay, shrink.  Exit 0: all claims hold; 1: one broke; 2: bad usage.

With `--expect-failure` a broken claim is what was wanted: 0 when one broke, 1 when all held.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, Final

import attrs
import click

from understudy_sim.stage import faults as fault_kinds
from understudy_sim.stage.application import Application, NoApplication
from understudy_sim.stage.faults import FaultSet, UnknownFault
from understudy_sim.stage.report import Report
from understudy_sim.stage.run import Variation, run_seed
from understudy_sim.stage.scenario import Scenario
from understudy_sim.stage.script import NoScenario, load_scenario
from understudy_sim.stage.search import Search, Summary, search
from understudy_sim.stage.shrink import Shrunk
from understudy_sim.stage.shrink import shrink as shrink_run
from understudy_sim.stage.shrunk_file import load_variation, save_variation
from understudy_sim.stage.silence import silence_for_good, silent
from understudy_sim.stage.story import describe_run, describe_story
from understudy_sim.stage.telling import Progress, tell_summary

SEED_MAX: Final = 2**64 - 1
CLAIMS_TOLD_MAX: Final = 8


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
    scenario = _scenario(script)
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
        _tell_failures(script, scenario, summary, wanted.variation)
    broke = bool(summary.failures) or bool(missed)
    if expect_failure:
        click.echo("a claim broke, as expected" if broke else "no claim broke, though a failure was expected")
    if as_json:
        click.echo(json.dumps(summary.as_json(took)))
    sys.exit(0 if broke == expect_failure else 1)


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
    scenario = _scenario(script)
    variation = Variation(faults=faults) if shrunk is None else _variation(shrunk)
    variation = attrs.evolve(variation, steps_max=until)
    started = time.monotonic()
    report = _run(scenario, seed, variation)
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


@click.command(short_help="Find the smallest run of a seed that still fails.")
@click.argument("script")
@click.option("--seed", type=SEED, required=True, help="A seed that fails.")
@click.option("--faults", type=FAULTS, help="The faults it fails under, if not the scenario's.")
@click.option("--output", type=click.Path(dir_okay=False), help="Where to write the smaller run (default: beside you).")
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON.")
def shrink(script: str, seed: int, faults: FaultSet | None, output: str | None, as_json: bool) -> None:
    """Leave out operations and faults of a failing seed for as long as the same claim breaks."""
    scenario = _scenario(script)
    variation = Variation(faults=faults)
    report = _run(scenario, seed, variation)
    if not report.failed:
        raise click.ClickException(f"seed {seed} does not fail: there is nothing to shrink")
    shrunk = shrink_run(scenario, report, variation)
    name = output or f"{Path(script.partition('::')[0]).stem}-seed-{seed}.json"
    save_variation(Path(name), script, seed, shrunk.variation)
    _tell_shrunk(scenario, shrunk)
    click.echo(f"replay it with: understudy replay {script} --seed {seed:#x} --shrunk {name}")
    if as_json:
        operations = [str(call) for call in shrunk.report.calls]
        kinds = sorted({one.kind for one in shrunk.report.firings})
        click.echo(
            json.dumps({"seed": seed, "runs": shrunk.runs, "operations": operations, "faults": kinds, "file": name})
        )
    sys.exit(1)


# --- what the commands share ------------------------------------------------------------------------------------


def _scenario(script: str) -> Scenario:
    silence_for_good()
    try:
        scenario = load_scenario(script)
        Application(scenario.app).load()
    except (NoScenario, NoApplication) as error:
        raise click.UsageError(str(error)) from error
    return scenario


def _run(scenario: Scenario, seed: int, variation: Variation) -> Report:
    with silent():
        return run_seed(scenario, Application(scenario.app), seed, variation)


def _variation(name: str) -> Variation:
    try:
        return load_variation(Path(name))
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _tell_failures(script: str, scenario: Scenario, summary: Summary, variation: Variation) -> None:
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
                click.echo(f"  replay     {_replay_line(script, report.seed, variation)}")
    for claim, seeds in seeds_of.items():
        if claim not in told:
            click.echo(f"\nbroken in {len(seeds)} seeds, first {seeds[0]:#x}: {claim}")
    first = summary.failures[0]
    click.echo(f"\nmaking seed {first.seed:#x} smaller …", err=True)
    shrunk = shrink_run(scenario, first, variation)
    _tell_shrunk(scenario, shrunk)
    click.echo(f"replay the whole run with: {_replay_line(script, first.seed, variation)}")


def _tell_shrunk(scenario: Scenario, shrunk: Shrunk) -> None:
    click.echo(f"\nthe smallest run of seed {shrunk.report.seed:#x} that still fails ({shrunk.runs} tries)")
    click.echo(describe_run(shrunk.report))
    if shrunk.report.stories:
        click.echo(describe_story(shrunk.report.stories[0]))


def _replay_line(script: str, seed: int, variation: Variation) -> str:
    line = f"understudy replay {script} --seed {seed:#x}"
    if variation.faults is not None:
        kinds = variation.faults.kinds
        line += f" --faults {'all' if kinds == fault_kinds.everything().kinds else ','.join(kinds) or 'none'}"
    return line
