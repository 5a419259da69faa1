"""`understudy dev`: server and services in one process, on a real machine.

This file turns options into settings and errors into messages; `serving.py` runs the server.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
import trio

from understudy_runtime.cli.errors import UsageProblem
from understudy_runtime.cli.loading import load_app
from understudy_runtime.cli.output import FORMATS, LEVELS, make_logger
from understudy_runtime.cli.serving import START_ERRORS, STOP_ERRORS, Serving, Settings
from understudy_runtime.cli.settings import check_environment, variable
from understudy_runtime.http.guard import is_numeric
from understudy_runtime.node import PARTITIONS_MAX, sole_error

PORT = click.IntRange(0, 65535)
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@click.command(context_settings={"show_default": True})
@click.argument("app", metavar="MODULE:APP")
@click.option("--ingress-port", type=PORT, default=8080, envvar=variable("ingress_port"), help="Where clients call.")
@click.option("--admin-port", type=PORT, default=9070, envvar=variable("admin_port"), help="Where operators call.")
@click.option("--bind", default="127.0.0.1", envvar=variable("bind"), help="The address of both ports.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("understudy-data"),
    envvar=variable("data"),
    help="The data folder: made with mode 0700, held by one process.",
)
@click.option(
    "--partitions",
    type=click.IntRange(1, PARTITIONS_MAX),
    envvar=variable("partitions"),
    help="How many partitions a new data folder gets (1 unless given); fixed from then on.",
)
@click.option("--admin-token", envvar=variable("admin_token"), help="The bearer token the admin port demands.")
@click.option(
    "--allow-host", multiple=True, envvar=variable("allow_host"), help="Another name this server is called by."
)
@click.option("--log-level", type=click.Choice(LEVELS), default="info", envvar=variable("log_level"))
@click.option("--log-format", type=click.Choice(FORMATS), default="auto", envvar=variable("log_format"))
@click.pass_context
def dev(
    ctx: click.Context,
    app: str,
    ingress_port: int,
    admin_port: int,
    bind: str,
    data: Path,
    partitions: int | None,
    admin_token: str | None,
    allow_host: tuple[str, ...],
    log_level: str,
    log_format: str,
) -> None:
    """Run the server and the services of MODULE:APP in one process.

    The working directory is importable; no registration is needed.  SIGTERM or Ctrl-C drains and exits 0, a second one
    stops at once.  Every option can be set as UNDERSTUDY_<OPTION>.
    """
    check_environment(os.environ, [name for name in ctx.params if name != "app"])
    if bind not in LOOPBACK and not admin_token:
        raise UsageProblem(
            f"bound to {bind}, the admin port would be open to others: set --admin-token, or bind 127.0.0.1"
        )
    if not bind or not (is_numeric(bind) or bind.isprintable()):
        raise UsageProblem(f"--bind {bind!r} is no address")
    settings = Settings(
        app=load_app(app, Path.cwd()),
        ingress_port=ingress_port,
        admin_port=admin_port,
        bind="127.0.0.1" if bind == "localhost" else bind,
        data=data,
        partitions=partitions,
        admin_token=admin_token or None,
        allow_hosts=allow_host,
        log_level=log_level,
    )
    sys.exit(run(settings, log_format))


def run(settings: Settings, log_format: str) -> int:
    """Serve until stopped; the exit code.  Raises UsageProblem for what the user can put right."""
    logger = make_logger(settings.log_level, log_format)
    serving = Serving(settings, logger)
    try:
        return trio.run(serving.main)
    except BaseException as raised:
        error = sole_error(raised)
        if isinstance(error, START_ERRORS) and not serving.started:
            raise UsageProblem(str(error)) from None
        if isinstance(error, STOP_ERRORS):
            logger.error("stopped", reason=str(error))
            return 1
        raise error from None
