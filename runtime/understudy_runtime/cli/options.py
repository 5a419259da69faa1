"""The table of settings as options of a command, in groups, with a readable help."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click

from understudy_runtime.cli.kinds import BOOL, HOSTS
from understudy_runtime.cli.output import say
from understudy_runtime.cli.settings import Values, config_file, foreign, gather, variable
from understudy_runtime.cli.table import Setting

SHOWN_MAX: Final = 30
HELP_COLUMNS: Final = 110


class SettingOption(click.Option):
    """The option of one row; `section` groups it in the help."""

    def __init__(self, row: Setting) -> None:
        self.row = row
        names = [
            parameter_of(row),
            row.flag,
            *([f"--{row.short}"] if row.short and f"--{row.short}" != row.flag else []),
        ]
        named: dict[str, Any] = {"default": None, "expose_value": False, "callback": keep}
        if row.kind is BOOL:
            named |= {"is_flag": True}
            names[1] = f"{row.flag}/--no-{row.key.replace('.', '-')}"
        elif row.kind is HOSTS:
            named |= {"multiple": True, "metavar": row.kind.name}
        else:
            named |= {"metavar": row.kind.name}
        super().__init__(names, help=help_of(row), **named)


def help_of(row: Setting) -> str:
    """The row's text and its default."""
    default = row.default
    shown = "" if default is None or default == () or row.kind is BOOL else row.kind.to_toml(default).strip('"')
    return f"{row.help}  [{shown}]" if shown and len(shown) <= SHOWN_MAX else row.help


def parameter_of(row: Setting) -> str:
    return row.key.replace(".", "_").replace("-", "_")


def keep(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """Remember the value by the row's key."""
    assert isinstance(parameter, SettingOption), "only rows are kept"
    ctx.meta.setdefault("understudy.flags", {})[parameter.row.key] = value
    return value


class SettingsCommand(click.Command):
    """A command whose settings are shown by section, after its own options."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        named.setdefault("context_settings", {"max_content_width": HELP_COLUMNS})
        super().__init__(*arguments, **named)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections."""
        own: list[tuple[str, str]] = []
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None or not isinstance(parameter, click.Option):
                continue
            if isinstance(parameter, SettingOption):
                sections.setdefault(parameter.row.section, []).append(record)
            else:
                own.append(record)
        for title, rows in [("Options", own), *((title_of(name), rows) for name, rows in sections.items())]:
            with formatter.section(title):
                formatter.write_dl(rows)


def title_of(section: str) -> str:
    return f"Settings of [{section}]" if section else "Settings"


def with_settings(rows: Sequence[Setting]) -> Callable[[click.Command], click.Command]:
    """Give a command the options of *rows*, and `--config` and `--dump-config`."""

    def add(command: click.Command) -> click.Command:
        command.params += [SettingOption(row) for row in rows]
        return command

    return add


CONFIG_OPTION: Final = click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"A TOML file with settings (or {variable('config')}).",
)
DUMP_OPTION: Final = click.option("--dump-config", is_flag=True, help="Print the settings in force as TOML, and end.")


def gathered(ctx: click.Context, rows: Sequence[Setting], config: Path | None) -> Values:
    """The settings of this call.  Raises UsageProblem.  Says which variables nobody reads."""
    line = foreign(os.environ)
    if line:
        say(line)
    flags = ctx.meta.get("understudy.flags", {})
    return gather(rows, flags=flags, environment=os.environ, file=config_file(config, os.environ))
