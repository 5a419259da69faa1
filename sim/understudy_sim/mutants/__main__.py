"""`python -m understudy_sim.mutants`: what else is asked about a mutant than `understudy mutate` answers.

quiet ID     200 seeds without faults: a mutant that needs a fault must not be found
suite ID     the test suite against an edited copy of the repository: likewise
with ID …    a command of `understudy`, or a Python file, with the mutant in the code
"""

from __future__ import annotations

import importlib
import runpy
import sys
from pathlib import Path

import click

from understudy_sim.mutants.apart import hunt_apart
from understudy_sim.mutants.catalogue import mutant_by_id
from understudy_sim.mutants.edit import Mutant, MutantError
from understudy_sim.mutants.hook import forget_product, install
from understudy_sim.mutants.hunt import Task
from understudy_sim.mutants.suite import run_suite
from understudy_sim.mutants.table import line

QUIET_SEEDS = 200


@click.group()
def main() -> None:
    """Ask more about a mutant."""
    sys.path.insert(0, str(Path.cwd()))


def _find(mutant_id: str) -> Mutant:
    try:
        return mutant_by_id(mutant_id)
    except MutantError as error:
        raise click.UsageError(str(error)) from error


@main.command()
@click.argument("mutant_id", metavar="ID")
@click.option("--seeds", "seeds_max", type=click.IntRange(min=1), default=QUIET_SEEDS)
def quiet(mutant_id: str, seeds_max: int) -> None:
    """Check that the mutant ID is invisible without faults.  Exit code 1 when it is found."""
    mutant = _find(mutant_id)
    task = Task(mutant=mutant, scenarios=(mutant.scenario,), strategy="random", seeds_max=seeds_max, faults="none")
    found = hunt_apart(task)
    click.echo(line(found))
    if found.catch is not None:
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


@main.command("with", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("mutant_id", metavar="ID")
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND…")
def with_planted(mutant_id: str, arguments: tuple[str, ...]) -> None:
    """Run COMMAND, which is one of `understudy` (as in `simulate SCRIPT`) or a Python file, with the mutant ID.

    It is planted in this process alone: leave `--jobs` at 1.
    """
    mutant = _find(mutant_id)
    forget_product()
    install(mutant)
    if arguments[0].endswith(".py"):
        sys.argv = list(arguments)
        runpy.run_path(arguments[0], run_name="__main__")
        return
    command_line = importlib.import_module("understudy_runtime.cli.main")  # only now: the bug is planted
    command_line.understudy.main(list(arguments), prog_name="understudy")


if __name__ == "__main__":
    main()
