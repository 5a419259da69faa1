"""A scenario: an application, operations drawn as data, the faults it must survive, and a script that claims.

The script may do anything a trio program may; what it does beside `stage.play()` is its own and is not shrunk.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import attrs

from understudy_sim.stage import faults as fault_kinds
from understudy_sim.stage.faults import FaultSet
from understudy_sim.stage.operations import Call

if TYPE_CHECKING:
    from understudy_sim.kernel.choices import Choices
    from understudy_sim.stage.play import Stage

Workload = Callable[["Choices"], Sequence[Call]]
Script = Callable[["Stage"], Awaitable[None]]


@attrs.frozen
class Scenario:
    """What `@scenario` makes of a script.  `seeds` is how many a test or a search runs unless told otherwise."""

    name: str
    app: str
    workload: Workload
    faults: FaultSet
    seeds: int
    script: Script
    filename: str
    line: int
    fails: bool = False  # it is here to show what the simulator catches


def no_operations(choices: Choices) -> Sequence[Call]:
    """The workload of a scenario whose script does everything itself."""
    return ()


def scenario(
    *,
    app: str,
    workload: Workload = no_operations,
    faults: FaultSet | None = None,
    seeds: int = 100,
    fails: bool = False,
) -> Callable[[Script], Scenario]:
    """Declare a scenario.  *app* is `package.module:attribute`; *faults* are all kinds unless named.

    *fails* says that a claim is meant to break: as a test it passes when one does.
    """
    assert seeds >= 1, "a scenario without seeds shows nothing"

    def declare(script: Script) -> Scenario:
        code = script.__code__
        chosen = fault_kinds.everything() if faults is None else faults
        where = (code.co_filename, code.co_firstlineno)
        return Scenario(script.__name__, app, workload, chosen, seeds, script, *where, fails=fails)

    return declare
