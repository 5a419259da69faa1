"""`understudy serve`: the server alone; services run elsewhere and are registered.

This file turns options into settings; `serving.py` runs the server.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from understudy_runtime.cli.configuration import configuration, effective
from understudy_runtime.cli.options import CONFIG_OPTION, DUMP_OPTION, SettingsCommand, gathered, with_settings
from understudy_runtime.cli.output import Logger
from understudy_runtime.cli.serving import NoServices, Serving
from understudy_runtime.cli.settings import dump
from understudy_runtime.cli.table import SERVER


@with_settings(SERVER)
@click.command(cls=SettingsCommand)
@CONFIG_OPTION
@DUMP_OPTION
@click.pass_context
def serve(ctx: click.Context, config: Path | None, dump_config: bool) -> None:
    """Run the server alone.

    Services run elsewhere, behind `understudy host` or any other endpoint, and are registered at the admin port: POST
    /deployments with their URI.  SIGTERM or Ctrl-C drains and exits 0, a second one stops at once.

    A flag beats the environment, the environment beats the file.  The setting --worker-invoker-abort-timeout is the
    variable UNDERSTUDY_WORKER__INVOKER__ABORT_TIMEOUT, and abort-timeout in the table [worker.invoker] of the file.
    """
    values = effective(gathered(ctx, SERVER, config))
    settings = configuration(values)
    if dump_config:
        click.echo(dump(SERVER, values), nl=False)
        return
    sys.exit(Serving(settings, Logger(settings.logging), NoServices()).run())
