"""Every mutant still fits the product it edits."""

from __future__ import annotations

import ast
import importlib

import pytest
from understudy_sim.mutants.catalogue import MUTANTS, mutant_by_id
from understudy_sim.mutants.edit import Mutant, MutantError
from understudy_sim.mutants.hook import source_of
from understudy_sim.mutants.real_bugs import REAL_BUGS
from understudy_sim.stage.scenario import Scenario


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_the_text_before_occurs_once_and_the_text_after_is_python(mutant: Mutant) -> None:
    for module in mutant.modules:
        ast.parse(mutant.applied_to(source_of(mutant, module), module))


def test_ids_are_distinct_and_found() -> None:
    assert len({mutant.id for mutant in MUTANTS}) == len(MUTANTS)
    assert all(mutant_by_id(mutant.id) is mutant for mutant in MUTANTS)
    with pytest.raises(MutantError, match="no mutant 'nothing'"):
        mutant_by_id("nothing")


@pytest.mark.parametrize("path", sorted({mutant.scenario for mutant in MUTANTS}))
def test_every_mutant_is_hunted_in_a_scenario_that_holds_without_it(path: str) -> None:
    module, _, name = path.partition(":")
    scenario = getattr(importlib.import_module(module), name)
    assert isinstance(scenario, Scenario)
    assert not scenario.fails


def test_every_real_bug_has_a_mutant_or_a_reason() -> None:
    known = [mutant.id for mutant in MUTANTS]
    for bug in REAL_BUGS:
        assert bug.mutants or bug.why_not, bug.what
        assert all(id_ in known for id_ in bug.mutants), bug
