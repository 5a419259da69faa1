"""A run made once more, to be looked at: its chronicle as a page in a file."""

from __future__ import annotations

from pathlib import Path

import click

from understudy_sim.cli.meant import Meant
from understudy_sim.report.page import page
from understudy_sim.stage.chronicler import Chronicler
from understudy_sim.stage.report import Report


def write_page(file: Path, run: Meant, steps_max: int | None = None) -> Report:
    """Make *run* and write its page to *file*.  Raises click.UsageError when that cannot be written."""
    chronicler = Chronicler()
    report = run.run(chronicler, steps_max=steps_max)
    try:
        file.write_text(page(chronicler.chronicle, report.stories, run.line), encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"{file} cannot be written: {error.strerror}") from error
    return report
