"""One run of a scenario written out in a Python file: what it does, which faults come when, what is decided how.

    small = scenario_in("scenarios/ticket_tour.py", near=__file__).fixed(
        operations=[Call(client="ann", service="CartObject", key="ann", handler="addTicket", argument="seat-1")],
        strikes=[Strike(kind="server_crash", on=("server",), at_ns=1_000_000_000)],
        decisions={"plan/latency": 4},
    )

    if __name__ == "__main__":
        small.main()

What is not written has its tame answer: one partition, generous bounds, first come, first served.  As a program such a
file ends with 1 when a claim breaks and with 0 when all hold; as a test it passes when all hold.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import attrs

from understudy_sim.stage.scenario import Scenario
from understudy_sim.stage.strategies.port import Trial
from understudy_sim.stage.variation import BadVariation, Schedule

if TYPE_CHECKING:
    from understudy_sim.kernel.choices import Overrides
    from understudy_sim.stage.rehearsal import Observer
    from understudy_sim.stage.report import Report

FIFO: Final = Schedule(kind="fifo")
EVERYTHING: Final = ("",)  # the prefix of all labels


@attrs.frozen
class Fixed:
    """A scenario and the one run of it that is meant."""

    scenario: Scenario
    trial: Trial

    def run(self, observers: Sequence[Observer] = ()) -> Report:
        """Rehearse it once.  Raises BadVariation."""
        from understudy_sim.stage.application import Application
        from understudy_sim.stage.run import run_seed
        from understudy_sim.stage.silence import silent

        with silent():
            application = Application(self.scenario.app)
            return run_seed(self.scenario, application, self.trial.seed, self.trial.variation, observers)

    def main(self) -> NoReturn:
        """Rehearse it, tell what happened, and end the program: 1 when a claim broke, 0 when all hold, 2 when what is
        written cannot be.
        """
        from understudy_sim.stage.silence import silence_for_good

        silence_for_good()
        try:
            report = self.run()
        except BadVariation as error:
            sys.stderr.write(f"this cannot be run: {error}\n")
            sys.exit(2)
        sys.stdout.write(f"{described(self.scenario, report)}\n")
        sys.exit(1 if report.failed else 0)


def described(scenario: Scenario, report: Report) -> str:
    """The run, and which claims broke in it."""
    from understudy_sim.stage.story import describe_run, describe_story

    verdict = "\n\n".join(describe_story(story) for story in report.stories) or "all claims hold"
    # With its bug gone a run may go another way; one that meets nothing of what is written says nothing any more.
    never = f"\nnever asked for: {', '.join(report.unmet)}" if report.unmet else ""
    return f"{scenario.name}\n{describe_run(report)}{never}\n\n{verdict}"


def overrides_of(decisions: Mapping[str, int] | None) -> Overrides | None:
    """What *decisions* force, by name.  Raises TypeError for an answer that is not a whole number."""
    for name, value in (decisions or {}).items():
        if type(value) is not int:
            raise TypeError(f"decisions: {name!r} is a pick, a whole number; it is given as {value!r}")
    return {decision_key(name): value for name, value in (decisions or {}).items()} or None


def decision_key(name: str) -> tuple[str, int | None]:
    """`label` is every answer under a label, `label#2` its third."""
    label, separator, ordinal = name.rpartition("#")
    return (label, int(ordinal)) if separator and ordinal.isdecimal() else (name, None)


def scenario_in(path: str, near: str | None = None) -> Scenario:
    """The scenario in the script at *path*; `path::name` picks one of several.

    *path* is looked for from the working directory, then from each folder above the file *near*; there the script finds
    what it imports.  Raises NoScenario.
    """
    from understudy_sim.stage.script import NoScenario, load_scenario

    folders = (Path.cwd(), *(Path(near).resolve().parents if near is not None else ()))
    filename = path.partition("::")[0]
    root = next((folder for folder in folders if (folder / filename).is_file()), None)
    if root is None:
        looked = f"in {folders[0]}{f' and above {near}' if near is not None else ''}"
        raise NoScenario(f"there is no file {filename!r} {looked}: run this from the folder in which it lies")
    return load_scenario(path, root)
