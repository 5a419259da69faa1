"""`understudy check`: does this code go on from the journals that are there?

Exit code 0: all fit.  1: some do not; the first misfit of each is told with both sides.  2: it could not be found out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import click
import trio

from understudy_runtime.cli.asking import Admin, Unreachable
from understudy_runtime.cli.checking import as_json, check, lines, summary
from understudy_runtime.cli.errors import UsageProblem
from understudy_runtime.cli.journals import Journal, NoJournal, document, read_document
from understudy_runtime.cli.loading import load_app
from understudy_runtime.cli.output import say
from understudy_runtime.cli.reading import read_folder
from understudy_runtime.log.core import LogError
from understudy_runtime.node import DataFolderError, sole_error
from understudy_runtime.storage.port import StorageError
from understudy_runtime.world import DiskError

UNREADABLE = (DataFolderError, DiskError, LogError, StorageError, Unreachable, NoJournal)


@attrs.frozen
class Source:
    """Journals, and how many invocations have none yet."""

    journals: Sequence[Journal]
    waiting: int = 0


@click.command(name="check")
@click.argument("app", metavar="[MODULE:APP]", required=False)
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Read a data folder no server runs on.")
@click.option("--admin", metavar="URL", help="Ask a running server at its admin port.")
@click.option(
    "--journal", "files", type=click.Path(path_type=Path), multiple=True, help="Read exported journals (repeatable)."
)
@click.option("--admin-token", metavar="TOKEN", envvar="UNDERSTUDY_ADMIN__TOKEN", help="The token the admin demands.")
@click.option("--service", "services", multiple=True, help="Look at the journals of this service only (repeatable).")
@click.option("--export", type=click.Path(path_type=Path, dir_okay=False), help="Keep the journals in a file.")
@click.option("--json", "in_json", is_flag=True, help="Write the findings as JSON.")
@click.option(
    "--time-limit", type=click.FloatRange(0.1, 86_400), default=10.0, show_default=True, help="Seconds a replay."
)
def check_command(
    app: str | None,
    data: Path | None,
    admin: str | None,
    files: tuple[Path, ...],
    admin_token: str | None,
    services: tuple[str, ...],
    export: Path | None,
    in_json: bool,
    time_limit: float,
) -> None:
    """Replay the journals that are in flight with the services of MODULE:APP, before they do.

    The journals come from a data folder (--data), a running server (--admin) or files (--journal).  Functions given to
    ctx.run are not executed, nothing is sent, and the folder is left as it is.  With --export they are kept in a file,
    for a test of later changes; without MODULE:APP that is all that is done.
    """
    if app is None and export is None:
        raise UsageProblem("name the application: understudy check MODULE:APP, such as services:app")
    if sum((data is not None, admin is not None, bool(files))) != 1:
        raise UsageProblem("say where the journals are: one of --data DIR, --admin URL, --journal FILE")
    source = chosen(read(data, admin, admin_token, files), services)
    if export is not None:
        write(export, document(source.journals))
        say(f"{len(source.journals)} journals are kept in {export}")
    if app is None:
        return
    verdicts = check(load_app(app, Path.cwd()), source.journals, time_limit)
    misfits = [one for one in verdicts if not one.fits]
    if in_json:
        click.echo(json.dumps(as_json(verdicts, source.waiting), indent=2))
    else:
        for one in misfits:
            click.echo("\n".join((*lines(one), "")))
        click.echo(summary(verdicts, source.waiting))
    sys.exit(1 if misfits else 0)


def read(data: Path | None, admin: str | None, token: str | None, files: Sequence[Path]) -> Source:
    """The journals of the one place that is named.  Raises UsageProblem."""
    try:
        if data is not None:
            folder = trio.run(read_folder, data)
            return Source(folder.journals, folder.waiting)
        if admin is not None:
            asked = trio.run(Admin(admin, token).journals)
            if not asked.is_complete:
                raise UsageProblem(
                    f"{admin} has more in flight than it lists: look at its data folder, or a copy of it, with --data"
                )
            return Source(asked.journals, asked.waiting)
        return Source([journal for path in files for journal in in_file(path)])
    except BaseException as raised:
        error = sole_error(raised)
        if isinstance(error, UNREADABLE):
            raise UsageProblem(str(error)) from None
        raise error from None


def in_file(path: Path) -> list[Journal]:
    """The journals of a file, or of the `.json` files of a folder.  Raises UsageProblem."""
    if path.is_dir():
        files = sorted(path.glob("*.json"))
        if not files:
            raise UsageProblem(f"{path} holds no .json files")
        return [journal for one in files for journal in in_file(one)]
    try:
        return read_document(json.loads(path.read_bytes()))
    except OSError as error:
        raise UsageProblem(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError, NoJournal) as error:
        raise UsageProblem(f"{path} holds no exported journals: {error}") from None


def chosen(source: Source, services: Sequence[str]) -> Source:
    """What *source* has of *services*; all without any."""
    if not services:
        return source
    return attrs.evolve(source, journals=[one for one in source.journals if one.recorded.service in services])


def write(path: Path, value: dict[str, Any]) -> None:
    """Write JSON.  Raises UsageProblem."""
    try:
        path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageProblem(f"{path} cannot be written: {error.strerror}") from None
