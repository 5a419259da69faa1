"""What the command line writes: friendly lines about the start, and structured logs, both on stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, Final

import click
import structlog

from understudy_runtime.model.events import Event, Observe
from understudy_runtime.telemetry.log import LINES, log_line

LEVELS: Final = ("debug", "info", "warning", "error")
FORMATS: Final = ("auto", "console", "json")


def make_logger(level: str, form: str) -> Any:
    """A structlog logger: console lines on a terminal, JSON elsewhere, unless *form* says otherwise."""
    as_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    renderer: Any = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    return structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
    )


def event_logger(logger: Any, level: str) -> Observe:
    """An observer that logs what *level* lets through; the rest costs a look-up by type."""
    writers: dict[str, Callable[..., None]] = {name: getattr(logger, name) for name in LEVELS[LEVELS.index(level) :]}

    def observe(event: Event) -> None:
        if type(event) in LINES:
            line = log_line(event)
            if line is not None and line.level in writers:
                writers[line.level](line.event, **line.fields)

    return observe


def say(text: str, *, style: str = "") -> None:
    """A line for people; coloured on a terminal."""
    if style and sys.stderr.isatty():
        from rich.console import Console

        Console(stderr=True).print(text, style=style, highlight=False, markup=False)
    else:
        click.echo(text, err=True)
