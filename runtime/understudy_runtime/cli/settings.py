"""Settings from flags, environment, file and defaults, in this order.  Unknown ones stop the start by name.

A key `worker.invoker.abort-timeout` is the flag `--worker-invoker-abort-timeout`, the environment variable
`UNDERSTUDY_WORKER__INVOKER__ABORT_TIMEOUT` and, in the file, `abort-timeout` in the table `[worker.invoker]`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import attrs

from understudy_runtime.cli.errors import UsageProblem
from understudy_runtime.cli.kinds import HEADERS, BadValue
from understudy_runtime.cli.table import ALIASES, ALL, Setting, refused_because

PREFIX: Final = "UNDERSTUDY_"
CONFIG_VARIABLE: Final = "UNDERSTUDY_CONFIG"
FOREIGN_PREFIX: Final = "RESTATE_"
FOREIGN_NAMED_MAX: Final = 3
SHOWN_CHARS_MAX: Final = 60


class Source(IntEnum):
    """Where a value came from; a higher one beats a lower one."""

    DEFAULT = 0
    FILE = 1
    ENVIRONMENT = 2
    FLAG = 3


@attrs.frozen
class Found:
    """A value, read, and the place it stood at."""

    value: Any
    source: Source
    place: str


Values = Mapping[str, Found]


def variable(key: str) -> str:
    """The environment variable of *key*.

    >>> variable("worker.invoker.abort-timeout")
    'UNDERSTUDY_WORKER__INVOKER__ABORT_TIMEOUT'
    """
    return PREFIX + key.upper().replace(".", "__").replace("-", "_")


def gather(
    rows: Sequence[Setting],
    *,
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    file: Path | None,
) -> Values:
    """The value of each row that has one.  *flags* is by key.  Raises UsageProblem for what cannot be used.

    A setting of another command is let pass: environment and file may be shared.
    """
    found = {row.key: Found(row.default, Source.DEFAULT, "the default") for row in rows if row.default is not None}
    given = [*in_file(file), *in_environment(environment), *in_flags(rows, flags)]
    for key, value in given:
        found[key] = value
    wanted = {row.key for row in rows}
    return {key: value for key, value in found.items() if key in wanted}


def config_file(flag: Path | None, environment: Mapping[str, str]) -> Path | None:
    """The settings file that was named, if any."""
    named = environment.get(CONFIG_VARIABLE)
    return flag if flag is not None else Path(named) if named else None


# Flags.


def in_flags(rows: Sequence[Setting], flags: Mapping[str, Any]) -> Iterator[tuple[str, Found]]:
    """What was given on the command line: text, a bool, or several texts."""
    for row in rows:
        given = flags.get(row.key)
        if given is None or given == ():
            continue
        if isinstance(given, tuple):
            given = ",".join(given)
        value = given if isinstance(given, bool) else read(row, given, row.flag)
        yield row.key, Found(value, Source.FLAG, row.flag)


def read(row: Setting, text: str, place: str) -> Any:
    """The value of *text*.  Raises UsageProblem, which names *place*."""
    try:
        return row.kind.from_text(text)
    except BadValue as error:
        raise problem(row, place, repr(text), error) from None


def problem(row: Setting, place: str, shown: str, error: BadValue) -> UsageProblem:
    """What is wrong with a value; a secret one is not repeated."""
    if len(shown) > SHOWN_CHARS_MAX:
        shown = shown[:SHOWN_CHARS_MAX] + "…"
    what = "its value" if row.secret else shown
    return UsageProblem(f"{place}: {what} is no good for {row.key}: expected {error}")


# Environment.


def in_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, Found]]:
    """What the environment sets, every name known.  Raises UsageProblem."""
    rows = {variable(key): row for key, row in by_key().items()}
    for name in sorted(environment):
        if not name.startswith(PREFIX) or name == CONFIG_VARIABLE:
            continue
        row = rows.get(name)
        if row is None:
            key = name.removeprefix(PREFIX).lower().replace("__", ".").replace("_", "-")
            raise UsageProblem(f"the environment variable {name} {unknown(key, variable)}")
        place = f"the environment variable {name}"
        yield row.key, Found(read(row, environment[name], place), Source.ENVIRONMENT, place)


def by_key() -> dict[str, Setting]:
    """The rows by key, also by the other keys they go by."""
    rows = {row.key: row for row in ALL}
    return rows | {alias: rows[key] for alias, key in ALIASES.items()}


def unknown(key: str, spelling: Callable[[str], str]) -> str:
    """What to say of a *key* that is no setting: why, or what may have been meant, in its own *spelling*."""
    because = refused_because(key)
    if because:
        return f"is not supported: {because}"
    near = [row.key for row in ALL if row.short == key] or get_close_matches(key, [row.key for row in ALL], n=1)
    return f"is no setting: did you mean {spelling(near[0])}?" if near else "is no setting: --help lists them"


def foreign(environment: Mapping[str, str]) -> str:
    """A line about another product's variables in *environment*, which nobody reads; empty without any."""
    names = [name for name in sorted(environment) if name.startswith(FOREIGN_PREFIX)]
    if not names:
        return ""
    shown = ", ".join(names[:FOREIGN_NAMED_MAX])
    more = f" and {len(names) - FOREIGN_NAMED_MAX} more" if len(names) > FOREIGN_NAMED_MAX else ""
    return f"{shown}{more}: not read here; settings start with {PREFIX}"


# File.


def in_file(path: Path | None) -> Iterator[tuple[str, Found]]:
    """What the file at *path* sets, every key known.  Raises UsageProblem, which names file and line."""
    if path is None:
        return
    try:
        text = path.read_text("utf-8")
        tree = tomllib.loads(text)
    except OSError as error:
        raise UsageProblem(f"the settings file {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageProblem(f"the settings file {path} is not TOML: {error}") from None
    rows = by_key()
    for key, value in leaves(tree, rows):
        place = f"{path}:{line_of(text, key)}"
        row = rows.get(key)
        if row is None:
            raise UsageProblem(f"{place}: {key} {unknown(key, str)}")
        try:
            yield row.key, Found(row.kind.from_toml(value), Source.FILE, place)
        except BadValue as error:
            raise problem(row, place, repr(value), error) from None


def leaves(tree: Mapping[str, Any], rows: Mapping[str, Setting], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(key, value) of everything in *tree* that is not a table of further keys."""
    for name, value in tree.items():
        key = prefix + name
        is_table = isinstance(value, dict) and not (key in rows and rows[key].kind is HEADERS)
        if is_table and any(known.startswith(key + ".") for known in rows):
            yield from leaves(value, rows, key + ".")
        elif is_table and value:
            yield from leaves(value, {}, key + ".") if key not in rows else iter([(key, value)])
        else:
            yield key, value


def line_of(text: str, key: str) -> int:
    """The line that sets *key*, as far as a look at the lines can tell; 1 when it cannot.

    >>> line_of("[worker]\\ninvoker.abort-timeout = 3", "worker.invoker.abort-timeout")
    2
    """
    table, best, best_length = "", 1, 0
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line):
            table = spelt(header[1])
            found = table
        elif assignment := re.match(r"\s*([A-Za-z0-9_.\"' -]+?)\s*=", line):
            found = f"{table}.{spelt(assignment[1])}" if table else spelt(assignment[1])
        else:
            continue
        if (key == found or key.startswith(found + ".")) and len(found) > best_length:
            best, best_length = number, len(found)
    return best


def spelt(name: str) -> str:
    """A dotted name without quotes and blanks."""
    return ".".join(part.strip().strip("\"'") for part in name.split("."))


# Back to TOML.


def dump(rows: Sequence[Setting], values: Values) -> str:
    """*values* as TOML that reads back to the same, without secrets."""
    sections: dict[str, list[str]] = {}
    for row in sorted(rows, key=lambda row: row.section):
        if row.key in values:
            name = row.key.removeprefix(f"{row.section}.") if row.section else row.key
            value = values[row.key].value
            line = f"# {name} is set, and not shown" if row.secret and value else f"{name} = {row.kind.to_toml(value)}"
            sections.setdefault(row.section, []).append(line)
    return (
        "\n\n".join("\n".join([f"[{section}]", *lines] if section else lines) for section, lines in sections.items())
        + "\n"
    )
