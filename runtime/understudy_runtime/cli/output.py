"""What the command line writes: friendly lines about the start, and structured logs, both on stderr.

Nobody reading is no reason to stop: a write that fails is dropped.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TextIO

import click
import structlog

from understudy_runtime.cli.configuration import Logging
from understudy_runtime.cli.filters import LEVELS, LogFilter
from understudy_runtime.model.events import Event, Observe
from understudy_runtime.telemetry.log import LINES, TARGETS, is_routine, log_line

# Of one kind.  An endpoint that is gone makes two lines for every invocation that waits for it, at each try.
LINES_PER_SECOND: Final = 50


class Unread:
    """A text stream whose reader may go away."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write *text*, or drop it."""
        try:
            self._stream.write(text)
        except (OSError, ValueError):
            return  # The pipe is broken or closed: there is nobody to tell.

    def flush(self) -> None:
        """Flush, or let it be."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            return  # As in write.


def renderer(wanted: Logging, *, is_terminal: bool) -> Any:
    """The last processor: how a line looks."""
    form = ("pretty" if is_terminal else "json") if wanted.format == "auto" else wanted.format
    if form == "json":
        return structlog.processors.JSONRenderer()
    if form == "compact":
        return structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "target", "event"])
    return structlog.dev.ConsoleRenderer(colors=is_terminal and not wanted.plain)


class Spate:
    """Lets so many lines of a kind through a second, and counts the others: writing them would stop the loop."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._kinds: dict[str, tuple[int, int, int]] = {}

    def passes(self, kind: str) -> tuple[bool, int]:
        """Whether a line of *kind* is written, and how many were not since the last one that was."""
        second = int(self._monotonic())
        since, count, left_out = self._kinds.get(kind, (second, 0, 0))
        if since != second:
            since, count = second, 0
        if count >= LINES_PER_SECOND:
            self._kinds[kind] = (since, count, left_out + 1)
            return False, 0
        self._kinds[kind] = (since, count + 1, 0)
        return True, left_out


class Logger:
    """Writes lines that the filter lets through; of a spate of one kind only the first of each second."""

    def __init__(
        self, wanted: Logging, stream: TextIO | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        stream = stream or sys.stderr
        self._spate = Spate(monotonic)
        self.filter = wanted.filter
        self._lines: Any = structlog.wrap_logger(
            structlog.PrintLogger(Unread(stream)),  # type: ignore[arg-type]
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                renderer(wanted, is_terminal=stream.isatty()),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(0),
        )

    def log(self, level: str, target: str, event: str, **fields: Any) -> None:
        """Write one line, if it passes."""
        assert level in LEVELS, "a level that lines can have"
        assert target in TARGETS, "lines are about a target"
        if not self.filter.passes(level, target):
            return
        if level != "debug":
            is_written, left_out = self._spate.passes(event)
            if not is_written:
                return
            if left_out:
                fields["left_out_before"] = left_out
        getattr(self._lines, level)(event, target=target, **fields)


class Bridge(logging.Handler):
    """Takes what the SDK tells Python's logging into the log."""

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record* as a line about a handler."""
        level = next(
            (name for name in ("error", "warning", "info") if record.levelno >= getattr(logging, name.upper())), "debug"
        )
        self._logger.log(level, "handler", record.getMessage())


def take_in(name: str, logger: Logger) -> None:
    """Have all that is logged under *name* written by *logger*, and by nobody else."""
    source = logging.getLogger(name)
    source.setLevel(logging.DEBUG)
    source.propagate = False
    source.handlers = [Bridge(logger)]


def event_logger(logger: Logger) -> Observe:
    """An observer that logs what the filter lets through; the rest costs a look-up by type."""
    passing = passing_levels(logger.filter)
    wants_routine = any("debug" in levels for levels in passing.values())

    def observe(event: Event) -> None:
        if type(event) in LINES and (wants_routine or not is_routine(event)):
            line = log_line(event)
            if line is not None and line.level in passing[line.target]:
                logger.log(line.level, line.target, line.event, **line.fields)

    return observe


def passing_levels(wanted: LogFilter) -> Mapping[str, frozenset[str]]:
    """The levels each target lets through."""
    return MappingProxyType(
        {target: frozenset(level for level in LEVELS if wanted.passes(level, target)) for target in TARGETS}
    )


def say(text: str, *, style: str = "", plain: bool = False) -> None:
    """A line for people; coloured on a terminal."""
    try:
        if style and not plain and sys.stderr.isatty():
            from rich.console import Console

            Console(stderr=True).print(text, style=style, highlight=False, markup=False)
        else:
            click.echo(text, err=True)
    except OSError:
        return  # As in Unread.
