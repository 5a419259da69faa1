"""`python -m understudy_sim.mutants`: list, hunt, quiet, suite, table.

hunt ID      200 seeds of the mutant's scenario under all faults, from five first seeds
quiet ID     200 seeds without faults: a mutant that needs a fault must not be found
suite ID     the test suite against an edited copy of the repository: likewise
table        hunt them all and write docs/mutants.md; --hunts 1 --jobs 2 for a quick one
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import click

from understudy_sim.mutants.catalogue import MUTANTS, mutant_by_id
from understudy_sim.mutants.edit import Mutant, MutantError
from understudy_sim.mutants.hook import forget_product, install
from understudy_sim.mutants.hunt import (
    FIRST_SEEDS,
    SEEDS_MAX,
    Hunt,
    hunt_apart,
    hunt_from_json,
    hunt_here,
    hunt_to_json,
)
from understudy_sim.mutants.suite import ROOT, run_suite
from understudy_sim.mutants.table import page


@click.group()
def main() -> None:
    """Plant bugs and hunt them."""
    sys.path.insert(0, str(Path.cwd()))


def _find(mutant_id: str) -> Mutant:
    try:
        return mutant_by_id(mutant_id)
    except MutantError as error:
        raise click.UsageError(str(error)) from error


@main.command("list")
def list_() -> None:
    """Name every mutant."""
    for mutant in MUTANTS:
        click.echo(f"{mutant.id:5} {', '.join(mutant.needs):22} {mutant.why}")


@main.command()
@click.argument("mutant_id", metavar="ID")
@click.option(
    "--first-seed", "first_seeds", type=int, multiple=True, default=FIRST_SEEDS, help="Repeat for more hunts."
)
@click.option("--seeds", "seeds_max", type=click.IntRange(min=1), default=SEEDS_MAX)
@click.option("--faults", default="all")
@click.option("--scenario", "scenario_path", metavar="MODULE:NAME", help="Where to hunt (default: the mutant's own).")
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON.")
def hunt(
    mutant_id: str, first_seeds: tuple[int, ...], seeds_max: int, faults: str, scenario_path: str | None, as_json: bool
) -> None:
    """Hunt the mutant ID."""
    mutant = _find(mutant_id)
    forget_product()
    install(mutant)
    found = Hunt(
        mutant_id,
        tuple(hunt_here(scenario_path or mutant.scenario, first, seeds_max, faults) for first in first_seeds),
    )
    click.echo(hunt_to_json(found) if as_json else describe(found, seeds_max))


def describe(found: Hunt, seeds_max: int) -> str:
    """A hunt for people."""
    lines = [f"{found.mutant_id}: caught in {found.found} of {len(found.catches)} hunts, median {found.median_seeds}"]
    for catch in found.catches:
        if catch is None:
            lines.append(f"  not in {seeds_max} seeds")
        else:
            lines.append(
                f"  seed {catch.seed}, {catch.seeds} seeds, {catch.seconds} s: {catch.claims[0]}: {catch.what}"
            )
    return "\n".join(lines)


@main.command()
@click.argument("mutant_id", metavar="ID")
@click.option("--seeds", "seeds_max", type=click.IntRange(min=1), default=SEEDS_MAX)
def quiet(mutant_id: str, seeds_max: int) -> None:
    """Check that the mutant ID is invisible without faults.  Exit code 1 when it is found."""
    _find(mutant_id)
    found = hunt_apart(mutant_id, first_seeds=(0,), seeds_max=seeds_max, faults="none")
    click.echo(describe(found, seeds_max))
    if found.found:
        raise SystemExit(1)


@main.command()
@click.argument("mutant_ids", metavar="ID[,ID…]")
@click.argument("arguments", nargs=-1)
def suite(mutant_ids: str, arguments: tuple[str, ...]) -> None:
    """Check that the tests pass with the mutants in the code; ARGUMENTS go to pytest.  Exit code 1 when they fail.

    Several mutants are planted at once: a suite that stays green has noticed none of them.
    """
    result = run_suite([_find(mutant_id) for mutant_id in mutant_ids.split(",")], arguments)
    if not result.passed:
        click.echo(result.output[-4000:])
    click.echo(f"{mutant_ids}: {'the suite passes' if result.passed else 'caught by ' + ', '.join(result.failed)}")
    if not result.passed:
        raise SystemExit(1)


@main.command()
@click.option("--seeds", "seeds_max", type=click.IntRange(min=1), default=SEEDS_MAX)
@click.option("--hunts", "hunts_max", type=click.IntRange(1, len(FIRST_SEEDS)), default=len(FIRST_SEEDS))
@click.option("--jobs", type=click.IntRange(min=1), default=1, help="Mutants hunted at once.")
@click.option("--minutes", "minutes_max", type=click.IntRange(min=1), default=30, help="For all hunts of one mutant.")
@click.option(
    "--kept", type=click.Path(path_type=Path), help="Keep each hunt in this file; do not repeat what is there."
)
def table(seeds_max: int, hunts_max: int, jobs: int, minutes_max: int, kept: Path | None) -> None:
    """Hunt every mutant in its scenario and write docs/mutants.md."""
    lines = kept.read_text().splitlines() if kept is not None and kept.exists() else []
    hunts = {hunt.mutant_id: hunt for hunt in map(hunt_from_json, lines)}
    missing = [mutant.id for mutant in MUTANTS if mutant.id not in hunts]
    first_seeds = FIRST_SEEDS[:hunts_max]
    with ThreadPoolExecutor(jobs) as executor:
        for future in as_completed(
            [
                executor.submit(
                    hunt_apart, id_, first_seeds=first_seeds, seeds_max=seeds_max, seconds_max=minutes_max * 60
                )
                for id_ in missing
            ]
        ):
            found = future.result()
            hunts[found.mutant_id] = found
            click.echo(describe(found, seeds_max))
            keep(kept, found)
    rows = [(mutant, hunts[mutant.id]) for mutant in MUTANTS]
    (ROOT / "docs/mutants.md").write_text(page(rows, first_seeds, seeds_max), encoding="utf-8")


def keep(kept: Path | None, found: Hunt) -> None:
    """Add a hunt to the file that keeps them."""
    if kept is not None:
        with kept.open("a") as file:
            file.write(hunt_to_json(found) + "\n")


if __name__ == "__main__":
    main()
