"""Errors a user can provoke: one clear message on stderr, exit code 2, no traceback."""

from __future__ import annotations

from typing import IO, Any

import click


class UsageProblem(click.ClickException):
    """Something about the call, the environment or the data folder is wrong: what was found, what to do."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        """The message alone, on stderr."""
        click.echo(f"understudy: {self.format_message()}", file=file, err=file is None)
