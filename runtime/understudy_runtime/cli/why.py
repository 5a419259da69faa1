"""`understudy why`: who waits for whom, and whether it can go on; of a server that runs, or of a run in the simulator.

Exit code 0: nobody who was asked about is stuck.  1: somebody can never go on by themselves.  2: it could not be found
out.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click
import trio

from understudy_runtime.cli.admin_waits import Unknown, told
from understudy_runtime.cli.asking import Admin, Unreachable
from understudy_runtime.cli.errors import UsageProblem
from understudy_runtime.node import sole_error

OF_RUNS = ("seed", "until", "faults", "shrunk", "variation")


@click.command(name="why", short_help="Say who waits for whom, and whether it can go on.")
@click.argument("what", nargs=-1, metavar="[SCRIPT] [INVOCATION]")
@click.option("--admin", metavar="URL", help="Ask a running server at its admin port.")
@click.option("--admin-token", metavar="TOKEN", envvar="UNDERSTUDY_ADMIN__TOKEN", help="The token the admin demands.")
@click.option("--seed", metavar="SEED", help="The run of SCRIPT that is meant.")
@click.option("--until", type=click.IntRange(min=1), help="Look after this step of the run (default: at its end).")
@click.option("--faults", metavar="KINDS", help="The faults of the run, if it did not use the scenario's.")
@click.option("--shrunk", type=click.Path(exists=True, dir_okay=False), help="A file written by `understudy shrink`.")
@click.option(
    "--variation", metavar="TEXT", help="How the run differs from its seed, as `understudy simulate` says it."
)
def why(what: tuple[str, ...], admin: str | None, admin_token: str | None, **of_runs: Any) -> None:
    """Say what INVOCATION waits for, who could produce that, whom they wait for, and whether any of it can come.

    Of a running server, INVOCATION is an id; of a run of SCRIPT an id, a number such as #3, a label, or
    service/key/handler.  Without INVOCATION: all that has not ended, who is stuck first.
    """
    if admin is not None:
        unused = [name for name in OF_RUNS if of_runs[name] is not None]
        if unused or len(what) > 1:
            raise UsageProblem(
                "a running server is asked with --admin URL and at most one INVOCATION, and nothing else"
            )
        is_stuck = of_server(admin, admin_token, what[0] if what else "")
    else:
        if not 1 <= len(what) <= 2:
            raise UsageProblem("say where: understudy why SCRIPT --seed SEED, or understudy why --admin URL")
        is_stuck = of_run(what[0], what[1] if len(what) == 2 else "", of_runs)
    sys.exit(1 if is_stuck else 0)


def of_server(url: str, token: str | None, invocation_id: str) -> bool:
    """Ask the server at *url*.  Raises UsageProblem."""
    try:
        lines, is_stuck = trio.run(told, Admin(url, token), invocation_id)
    except BaseException as raised:
        error = sole_error(raised)
        if isinstance(error, Unreachable | Unknown):
            raise UsageProblem(str(error)) from None
        raise error from None
    for line in lines:
        click.echo(line)
    return is_stuck


def of_run(script: str, text: str, options: dict[str, Any]) -> bool:
    """Make the run in the simulator.  Raises UsageProblem, click.UsageError."""
    if script.startswith("inv_"):
        raise UsageProblem(f"{script} is an invocation: name its server with --admin URL, or a SCRIPT before it")
    try:
        module = import_module("understudy_sim.cli.why")
    except ModuleNotFoundError as error:
        raise UsageProblem(
            f"to look at a run needs {error.name}, which is not installed: pip install 'understudy[all]'"
        ) from None
    until = options.pop("until")
    found: bool = module.why_run(script, text, until, options)
    return found
