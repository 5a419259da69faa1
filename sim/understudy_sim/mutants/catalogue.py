"""The planted bugs.  Ids and groups follow the families of failures that durable-execution engines have really had.

What caught each, and after how many seeds, is in `docs/mutants.md`.
"""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from understudy_sim.mutants.edit import Mutant, MutantError
from understudy_sim.mutants.planted_features import FEATURES
from understudy_sim.mutants.planted_life import LIFE
from understudy_sim.mutants.planted_medium import MEDIUM
from understudy_sim.mutants.planted_own import OWN
from understudy_sim.mutants.planted_real import REAL
from understudy_sim.mutants.planted_rules import RULES
from understudy_sim.mutants.planted_sdk import SDK
from understudy_sim.mutants.planted_wire import WIRE

MUTANTS: Final[tuple[Mutant, ...]] = tuple(
    sorted(
        (*RULES, *LIFE, *SDK, *MEDIUM, *WIRE, *REAL, *OWN, *FEATURES),
        key=lambda mutant: (mutant.group, int(mutant.id[1:])),
    )
)


def mutant_by_id(mutant_id: str, known: Sequence[Mutant] = MUTANTS) -> Mutant:
    """The mutant called *mutant_id*.  Raises MutantError naming those there are."""
    for mutant in known:
        if mutant.id == mutant_id:
            return mutant
    ids = ", ".join(mutant.id for mutant in known) or "none"
    raise MutantError(f"there is no mutant {mutant_id!r}; there are: {ids}")


def catalogue_of(path: Path) -> tuple[Mutant, ...]:
    """The mutants in MUTANTS of the Python file at *path*.  Raises MutantError when it has none."""
    found = runpy.run_path(str(path)).get("MUTANTS")
    if not found or not all(isinstance(one, Mutant) for one in found):
        raise MutantError(f"{path} has no MUTANTS: a sequence of Mutant is expected, found {found!r}")
    return tuple(found)
