"""`understudy dev`: the server with the services of one application, for the person who writes them.

This file turns options into settings; `serving.py` runs the server, `inside.py` and `child.py` the services.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from understudy_runtime.cli.child import Outside
from understudy_runtime.cli.configuration import configuration, effective
from understudy_runtime.cli.inside import Inside
from understudy_runtime.cli.loading import load_app
from understudy_runtime.cli.options import CONFIG_OPTION, DUMP_OPTION, SettingsCommand, gathered, with_settings
from understudy_runtime.cli.output import Logger
from understudy_runtime.cli.serving import Services, Serving
from understudy_runtime.cli.settings import dump
from understudy_runtime.cli.table import SERVER


@with_settings(SERVER)
@click.command(cls=SettingsCommand)
@click.argument("app", metavar="MODULE:APP")
@click.option(
    "--isolate", is_flag=True, help="Run the services in a child process: they can block or die without the server."
)
@CONFIG_OPTION
@DUMP_OPTION
@click.pass_context
def dev(ctx: click.Context, app: str, isolate: bool, config: Path | None, dump_config: bool) -> None:
    """Run the server and the services of MODULE:APP in one process.

    The working directory is importable; no registration is needed.  SIGTERM or Ctrl-C drains and exits 0, a second one
    stops at once.  What blocks the loop for more than 100 ms is logged, with file and line.  The settings are those of
    `understudy serve`.
    """
    values = effective(gathered(ctx, SERVER, config))
    settings = configuration(values)
    if dump_config:
        click.echo(dump(SERVER, values), nl=False)
        return
    logger = Logger(settings.logging)
    services: Services = (
        Outside(app, settings.logging, logger) if isolate else Inside(load_app(app, Path.cwd()), logger)
    )
    sys.exit(Serving(settings, logger, services, watch=True).run())
