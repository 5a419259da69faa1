"""The planted bugs.  Ids and groups follow the families of failures that durable-execution engines have really had."""

from __future__ import annotations

from typing import Final

from understudy_sim.mutants.edit import Mutant, MutantError

MUTANTS: Final[tuple[Mutant, ...]] = ()


def mutant_by_id(mutant_id: str) -> Mutant:
    """The mutant called *mutant_id*.  Raises MutantError naming those there are."""
    for mutant in MUTANTS:
        if mutant.id == mutant_id:
            return mutant
    known = ", ".join(mutant.id for mutant in MUTANTS) or "none"
    raise MutantError(f"there is no mutant {mutant_id!r}; there are: {known}")
