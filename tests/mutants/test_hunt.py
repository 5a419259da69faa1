"""A sample of the planted bugs is caught, in fresh processes; the command `table` hunts them all."""

from __future__ import annotations

import pytest
from understudy_sim.mutants.catalogue import MUTANTS
from understudy_sim.mutants.hunt import Catch, Hunt, hunt_apart, hunt_from_json, hunt_to_json
from understudy_sim.mutants.table import page


@pytest.mark.parametrize(("mutant_id", "seeds_max"), [("F1", 10), ("C1", 40), ("T2", 60)])
def test_a_planted_bug_is_caught(mutant_id: str, seeds_max: int) -> None:
    hunt = hunt_apart(mutant_id, first_seeds=(0,), seeds_max=seeds_max)
    assert hunt.found == 1
    assert hunt.claims


def test_a_bug_that_needs_a_fault_is_invisible_without() -> None:
    assert hunt_apart("T2", first_seeds=(0,), seeds_max=10, faults="none").found == 0


def test_there_are_enough_of_enough_kinds() -> None:
    assert len(MUTANTS) >= 12
    assert len({mutant.group for mutant in MUTANTS}) >= 6
    assert sum(mutant.invisible and mutant.needs_a_fault for mutant in MUTANTS) >= 8


def test_the_page_says_who_caught_what() -> None:
    catch = Catch(4, 3, ("P7", "P5"), "it differs", 0.5)
    hunt = Hunt(MUTANTS[0].id, (catch, None, Catch(6, 5, ("P5",), "", 1.0), catch, None))
    assert hunt_from_json(hunt_to_json(hunt)) == hunt
    assert (hunt.found, hunt.median_seeds, hunt.claims) == (3, 6, ("P7", "P5"))
    text = page([(MUTANTS[0], hunt)], (0, 5), 200)
    assert "6 (4–6)" in text
    assert "3 of 5" in text
    assert "P7; P5" in text


def test_a_mutant_most_hunts_miss_has_no_median() -> None:
    catch = Catch(4, 3, ("P7",), "it differs", 0.5)
    assert Hunt("X", (catch, None, None)).median_seeds is None
    text = page([(MUTANTS[0], Hunt(MUTANTS[0].id, (None, None, None)))], (0,), 10)
    assert "nobody" in text
    assert f"- {MUTANTS[0].id}: " in text
