"""The command line `understudy`.  Commands are imported when they are called: `dev` never loads the simulator."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from types import MappingProxyType
from typing import Final

import click

from understudy_runtime.cli.errors import UsageProblem

# Command to where it is, and what its help says (known without importing it).
COMMANDS: Final = MappingProxyType[str, tuple[str, str]](
    {
        "dev": ("understudy_runtime.cli.dev:dev", "Run server and services in one process."),
        "serve": ("understudy_runtime.cli.serve:serve", "Run the server alone; services are registered."),
        "host": ("understudy_runtime.cli.host:host", "Run services as an endpoint for servers to call."),
        "check": ("understudy_runtime.cli.check:check_command", "Replay journals in flight with new code."),
        "simulate": ("understudy_sim.cli.simulate:simulate", "Search a scenario for failures, seed by seed."),
        "replay": ("understudy_sim.cli.replay:replay", "Run one seed of a scenario again, every step the same."),
        "mutate": ("understudy_sim.cli.mutate:mutate", "Plant bugs and hunt them: what would be found?"),
        "why": ("understudy_runtime.cli.why:why", "Say who waits for whom, and whether it can go on."),
        "shrink": ("understudy_sim.cli.shrink:shrink", "Find the smallest run of a seed that still fails."),
        "run": ("understudy_sim.cli.run:run", "Compare a live server with the simulator."),
        "torture": (
            "understudy_sim.cli.torture:torture",
            "Run seeds in processes of every kind.",
        ),
        "diff": ("understudy_sim.cli.diff:diff", "Say where two runs of a scenario part."),
    }
)


class LazyGroup(click.Group):
    """A group whose commands lie in COMMANDS."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        row = COMMANDS.get(cmd_name)
        if row is None:
            return None
        module_name, _, attribute = row[0].partition(":")
        try:
            command = getattr(import_module(module_name), attribute)
        except ModuleNotFoundError as error:
            raise UsageProblem(
                f"the command {cmd_name} needs {error.name}, which is not installed: pip install 'understudy[all]'"
            ) from None
        assert isinstance(command, click.Command), "a row of COMMANDS names a command"
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("understudy"), prog_name="understudy")
def understudy() -> None:
    """Durable execution, rehearsed: run services on a real machine, or under every accident a seed can name."""


def main() -> int:
    """Run the command line; leaves by SystemExit."""
    understudy.main(prog_name="understudy")
    return 0
