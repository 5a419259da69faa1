"""`understudy mutate`: plant bugs in the product and hunt them, to know what the simulator would find.

It needs a checkout: the scenarios the bugs are hunted in are the repository's.  0 when all were found, 1 when not.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from understudy_sim.cli.shared import NewFile
from understudy_sim.mutants.catalogue import MUTANTS, catalogue_of, mutant_by_id
from understudy_sim.mutants.edit import Mutant, MutantError
from understudy_sim.mutants.hunt import CLEAN, FIRST_SEEDS, PORTFOLIO, SEEDS_MAX, Hunt
from understudy_sim.mutants.matrix import Bounds, Kept, run_matrix, tasks_of
from understudy_sim.mutants.suite import ROOT
from understudy_sim.mutants.table import LINE_HEAD, as_json, line, page, tell
from understudy_sim.stage import faults as fault_kinds

SCENARIOS: Final = "scenarios"


@click.command(short_help="Plant bugs and hunt them: what would the simulator find?")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--family", "families", multiple=True, help="Mutants whose group begins so, such as E. May be repeated.")
@click.option(
    "--from",
    "from_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take the mutants from MUTANTS of this Python file.",
)
@click.option("--list", "only_list", is_flag=True, help="Name the mutants and stop.")
@click.option("--everywhere", is_flag=True, help="Hunt in all scenarios in turn, as a foreign bug would be.")
@click.option("--strategy", "strategies", multiple=True, default=(PORTFOLIO,), show_default=True)
@click.option(
    "--faults",
    default="",
    callback=lambda _, __, text: known_faults(text),
    help="none, all, or kinds separated by commas (default: the scenario's).",
)
@click.option("--seeds", type=click.IntRange(min=1), default=SEEDS_MAX, show_default=True, help="Of each hunt at most.")
@click.option("--seconds", type=click.FloatRange(min=1), default=300.0, show_default=True, help="Of each hunt at most.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Of all hunts together at most.")
@click.option("--hunts", type=click.IntRange(1, len(FIRST_SEEDS)), default=1, show_default=True, help="Of each mutant.")
@click.option("--first-seed", type=click.IntRange(min=0), help="Where to begin (instead of --hunts).")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Mutants hunted at once.")
@click.option("--kept", type=NewFile(), help="Keep hunts in this file; do not repeat what is there.")
@click.option("--page", "page_file", type=NewFile(), help="Write the page about all of it here.")
@click.option("--json", "as_json_line", is_flag=True, help="End with one line of JSON.")
def mutate(
    ids: Sequence[str],
    families: Sequence[str],
    from_file: Path | None,
    only_list: bool,
    everywhere: bool,
    strategies: Sequence[str],
    faults: str,
    seeds: int,
    seconds: float,
    minutes: float | None,
    hunts: int,
    first_seed: int | None,
    jobs: int,
    kept: Path | None,
    page_file: Path | None,
    as_json_line: bool,
) -> None:
    """Plant the mutants named by ID, one after the other, and hunt each until a claim breaks.

    Without an ID: all there are.  The ID `clean` plants nothing: whatever is found then is a false alarm.
    """
    known_strategies(strategies)
    wanted = chosen(ids, families, from_file)
    if only_list:
        for mutant in wanted:
            if mutant is not None:
                click.echo(f"{mutant.id:6} {', '.join(mutant.needs):22} {mutant.why}")
        return
    if not (ROOT / SCENARIOS).is_dir():
        raise click.UsageError(f"there is no folder {SCENARIOS} at {ROOT}: hunts need a checkout of the repository")
    bounds = Bounds(seeds=seeds, seconds=seconds, minutes=minutes, jobs=jobs)
    first_seeds = FIRST_SEEDS[:hunts] if first_seed is None else (first_seed,)
    tasks = tasks_of(
        wanted, strategies=strategies, first_seeds=first_seeds, everywhere=everywhere, bounds=bounds, faults=faults
    )
    try:
        book = Kept(kept)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise click.UsageError(f"{kept} is no file of hunts ({error}): name another, or delete it") from error
    click.echo(LINE_HEAD)
    failures = run_matrix(tasks, bounds, book, lambda hunt: click.echo(line(hunt)))
    found = [book.hunts[task.key] for task in tasks if task.key in book.hunts]
    sys.exit(conclude(wanted, found, failures, len(tasks) - len(found), seeds, page_file, as_json_line))


def known_faults(text: str) -> str:
    """All of them exist."""
    try:
        fault_kinds.parse(text)
    except fault_kinds.UnknownFault as error:
        raise click.BadParameter(str(error)) from error
    return text


def known_strategies(strategies: Sequence[str]) -> None:
    """All of them exist."""
    from understudy_sim.stage.strategies import STRATEGIES

    for name in strategies:
        if name not in STRATEGIES:
            raise click.UsageError(f"there is no strategy {name!r}; there are: {', '.join(STRATEGIES)}")


def chosen(ids: Sequence[str], families: Sequence[str], from_file: Path | None) -> list[Mutant | None]:
    """The mutants that are meant; None among them stands for a clean product."""
    try:
        known = MUTANTS if from_file is None else _read(from_file)
        if ids:
            return [None if id_ == CLEAN else mutant_by_id(id_, known) for id_ in ids]
    except MutantError as error:
        raise click.UsageError(str(error)) from error
    found = [one for one in known if not families or one.group.startswith(tuple(families))]
    if not found:
        groups = ", ".join(dict.fromkeys(one.group for one in known))
        raise click.UsageError(f"no mutant is of family {' or '.join(families)}; there are: {groups}")
    return list(found)


def _read(file: Path) -> Sequence[Mutant]:
    """Raises MutantError."""
    try:
        return catalogue_of(file)
    except MutantError:
        raise
    except Exception as error:
        raise MutantError(f"{file} cannot be imported: {type(error).__name__}: {error}") from error


def conclude(
    wanted: Sequence[Mutant | None],
    found: Sequence[Hunt],
    failures: Sequence[str],
    left: int,
    seeds: int,
    page_file: Path | None,
    as_json_line: bool,
) -> int:
    """Tell what all hunts came to; the exit code."""
    click.echo()
    for text in tell(found):
        click.echo(text)
    if left:
        click.echo(f"not hunted: {left} (time was up, or the hunt failed)")
    for failure in failures:
        click.echo(failure, err=True)
    if page_file is not None:
        mutants = [one for one in wanted if one is not None]
        page_file.write_text(page(mutants, found, seeds), encoding="utf-8")
        click.echo(f"written: {page_file}")
    if as_json_line:
        click.echo(json.dumps(as_json(wanted, found, failures)))
    wrong = [hunt for hunt in found if (hunt.catch is None) != (hunt.mutant_id == CLEAN)]
    return 1 if wrong or left or failures else 0
