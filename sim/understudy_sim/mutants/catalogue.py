"""The planted bugs.  Ids and groups follow the families of failures that durable-execution engines have really had.

What caught each, and after how many seeds, is in `docs/mutants.md`.
"""

from __future__ import annotations

from typing import Final

from understudy_sim.mutants.edit import Mutant, MutantError
from understudy_sim.mutants.planted_life import LIFE
from understudy_sim.mutants.planted_medium import MEDIUM
from understudy_sim.mutants.planted_rules import RULES
from understudy_sim.mutants.planted_sdk import SDK
from understudy_sim.mutants.planted_wire import WIRE

MUTANTS: Final[tuple[Mutant, ...]] = tuple(
    sorted((*RULES, *LIFE, *SDK, *MEDIUM, *WIRE), key=lambda mutant: (mutant.group, int(mutant.id[1:])))
)


def mutant_by_id(mutant_id: str) -> Mutant:
    """The mutant called *mutant_id*.  Raises MutantError naming those there are."""
    for mutant in MUTANTS:
        if mutant.id == mutant_id:
            return mutant
    known = ", ".join(mutant.id for mutant in MUTANTS) or "none"
    raise MutantError(f"there is no mutant {mutant_id!r}; there are: {known}")
