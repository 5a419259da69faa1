"""What `understudy why SCRIPT --seed SEED` does: make the run, stop it, and say who waits for whom.

The command itself is in `understudy_runtime.cli.why`: it also asks servers that run, without the simulator.
"""

from __future__ import annotations

from typing import Any

import click

from understudy_sim.cli.meant import Meant, meant
from understudy_sim.cli.shared import FAULTS, SEED
from understudy_sim.kernel.kernel import KernelOutcome
from understudy_sim.stage.chronicler import Chronicler
from understudy_sim.stage.rehearsal import Rehearsal
from understudy_sim.stage.why import Inquiry, NobodyMeant


class Asking:
    """An observer that asks why, once the run has stopped, with the *chronicler* that was attached before it."""

    def __init__(self, text: str, chronicler: Chronicler) -> None:
        self.lines: list[str] = []
        self.is_stuck = False
        self.unknown = ""
        self._text = text
        self._chronicler = chronicler

    def attach(self, rehearsal: Rehearsal) -> None:
        """Nothing is watched."""

    def stopped(self, rehearsal: Rehearsal, ended: KernelOutcome) -> None:
        inquiry = Inquiry(rehearsal, ended, self._chronicler.chronicle.events)
        try:
            self.lines = inquiry.told(self._text)
        except NobodyMeant as error:
            self.unknown = str(error)
            return
        self.is_stuck = inquiry.is_stuck(self._text)


def why_run(script: str, text: str, until: int | None, options: dict[str, Any]) -> bool:
    """Tell it; whether somebody who was asked about can never go on.  Raises click.UsageError."""
    run = meant(
        script,
        _converted(SEED, options.get("seed")),
        _converted(FAULTS, options.get("faults")),
        options.get("shrunk"),
        options.get("variation"),
    )
    return tell_why(run, text, until)


def tell_why(run: Meant, text: str, until: int | None) -> bool:
    """The same of *run*.  Raises click.UsageError."""
    chronicler = Chronicler()
    asking = Asking(text, chronicler)
    report = run.run(chronicler, asking, steps_max=until)
    if asking.unknown:
        raise click.UsageError(asking.unknown)
    stopped = until is not None and report.waiters is not None
    where = f"stopped at step {report.steps}" if stopped else f"over after {report.steps} steps"
    click.echo(f"{run.scenario.name}, seed {run.seed:#x}: {where}, {report.virtual_ns / 1e9:.3f} virtual seconds")
    if until is not None and not stopped:
        click.echo(f"it does not have {until} steps: this is its end")
    for line in asking.lines:
        click.echo(line)
    return asking.is_stuck


def _converted(kind: click.ParamType[Any], value: str | None) -> Any:
    return None if value is None else kind.convert(value, None, None)
