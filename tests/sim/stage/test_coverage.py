"""Coverage: rows are the product's tables, classes are of the faults there are, and looking on changes nothing."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest
from understudy.vm import core as vm_core
from understudy.vm.states import TRANSITIONS as VM_TRANSITIONS
from understudy_runtime.machine.apply import HANDLERS
from understudy_runtime.machine.status import TRANSITIONS
from understudy_runtime.model import commands as c
from understudy_runtime.model.invocation import Status
from understudy_sim.kernel.kernel import KernelOutcome
from understudy_sim.stage import faults
from understudy_sim.stage.application import Application
from understudy_sim.stage.coverage import (
    ATTEMPTS,
    CELL_COUNT,
    CLASS_COUNT,
    CLASS_NAMES,
    CLASS_OF,
    DELIVERABLE,
    ENDS,
    LETTERS,
    MOVES,
    RECORDS,
    ROWS,
    WINDOW_NS,
    Coverage,
    cell,
    cells_in,
    reachable,
)
from understudy_sim.stage.rehearsal import Rehearsal
from understudy_sim.stage.report import Report
from understudy_sim.stage.run import run_seed
from understudy_sim.stage.scenario import Scenario
from understudy_sim.stage.script import load_scenario
from understudy_sim.stage.silence import silent
from understudy_sim.stage.summary import Summary
from understudy_sim.stage.tally import Firing
from understudy_sim.stage.telling_cells import tell_cells, tell_matrix
from understudy_sim.stage.variation import AS_DRAWN, Schedule, Variation

UNUSUAL = len(ROWS) - 1  # A row that no undisturbed run gets to.
CALM = Variation(faults=faults.none(), schedule=Schedule(kind="fifo"))


def ran(scenario: Scenario, seed: int = 0, variation: Variation = AS_DRAWN) -> Report:
    with silent():
        return run_seed(scenario, Application(scenario.app), seed, variation)


@pytest.fixture(scope="module")
def tour() -> Scenario:
    return load_scenario("scenarios/ticket_tour.py")


@pytest.fixture(scope="module")
def calm(tour: Scenario) -> Report:
    return ran(tour, 1, CALM)


def test_every_kind_of_fault_is_of_a_class() -> None:
    missing = [kind for kind in (*faults.KINDS, *faults.DAMAGE) if kind not in CLASS_OF]
    assert not missing, f"give {missing} a class in CLASSES of stage/coverage.py"


def test_rows_are_what_the_products_tables_say() -> None:
    whats = {row.what for row in ROWS if row.part == RECORDS}
    assert {type_.__name__ for type_ in HANDLERS} - {"Delivered"} <= whats
    assert set(DELIVERABLE) == set(get_args(get_type_hints(c.Delivered)["message"]))
    assert set(ENDS) == set(get_args(c.AttemptEnd))
    moves = {(row.where, row.what) for row in ROWS if row.part == MOVES}
    table = {(before.name.lower(), after.name.lower()) for before, row in TRANSITIONS.items() for after in row.values()}
    assert moves == table
    assert len(set(ROWS)) == len(ROWS)


def test_cells_have_numbers_and_names() -> None:
    assert list(cells_in(0)) == []
    assert list(cells_in(1 << 5 | 1 << 700)) == [5, 700]
    assert str(ROWS[cell(0, CLASS_NAMES.index("disk")) // CLASS_COUNT]) == "Invoke while free"
    assert cell(len(ROWS) - 1, CLASS_COUNT - 1) == CELL_COUNT - 1
    assert len(set(LETTERS)) == CLASS_COUNT


def test_only_classes_of_the_faults_that_may_happen_are_within_reach() -> None:
    assert reachable(faults.none()).bit_count() == len(ROWS)
    assert reachable(faults.only("pause", "slow_sync", "failing_sync")).bit_count() == 3 * len(ROWS)


def test_a_calm_run_covers_calm_cells_only(calm: Report) -> None:
    assert calm.cells
    assert calm.cells & ~reachable(faults.none()) == 0
    names = {str(ROWS[number // CLASS_COUNT]) for number in cells_in(calm.cells)}
    assert {
        "Invoke while free",
        "free → invoked",
        "invoked → completed",
        "AttemptOutput, finishes while invoked",
        "LeaderElected while nobody",
        "output while it first runs",
        "journal_received while waiting_replay",
        "ended while processing",
    } <= names
    assert not any("purged" in name or "Kill" in name for name in names)


def test_a_class_is_about_while_its_fault_is_and_not_in_a_run_without_it(tour: Scenario) -> None:
    hurt = ran(tour, 1, Variation(faults=faults.only("server_crash"), overrides={("plan/server_crash", 0): 999}))
    classes = {number % CLASS_COUNT for number in cells_in(hurt.cells)}
    assert classes == {0, CLASS_NAMES.index("server")}
    assert hurt.firings


@pytest.mark.parametrize(("after_ns", "class_"), [(-1, 0), (0, 1), (7, 1), (WINDOW_NS + 6, 1), (WINDOW_NS + 7, 0)])
def test_a_class_is_about_from_its_strike_until_a_while_after_its_end(
    tour: Scenario, after_ns: int, class_: int
) -> None:
    """A crash of the server that lasts 7 ns, in the middle of a run: what happens so long after it struck?"""

    class Struck:
        """Looks on with a coverage of its own, to which something happens when it is told."""

        def attach(self, rehearsal: Rehearsal) -> None:
            self.coverage = Coverage()
            self.coverage.attach(rehearsal)
            at_ns = 10 * WINDOW_NS
            firing = Firing("server_crash", "server", at_ns, ("", 0), lasts_ns=7)
            rehearsal.kernel.loop.call_at(at_ns, lambda _: rehearsal.tally.firings.append(firing), None)
            rehearsal.kernel.loop.call_at(at_ns + after_ns, self._look, None)

        def _look(self, _: object) -> None:
            before = self.coverage.cells
            self.coverage.attempt(UNUSUAL)
            self.new = self.coverage.cells & ~before

        def stopped(self, rehearsal: Rehearsal, ended: KernelOutcome) -> None:
            """It has looked."""

    struck = Struck()
    with silent():
        run_seed(tour, Application(tour.app), 1, Variation(faults=faults.none()), [struck])
    assert list(cells_in(struck.new)) == [cell(UNUSUAL, class_)]


def test_looking_on_changes_nothing(tour: Scenario, calm: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Coverage, "__enter__", lambda self: self)
    monkeypatch.setattr(Coverage, "attach", lambda self, rehearsal: None)
    blind = ran(tour, 1, CALM)
    assert blind.digest == calm.digest
    assert blind.cells == 0


def test_the_vm_has_its_own_table_back_also_after_an_error(calm: Report) -> None:
    assert vars(vm_core)["TRANSITIONS"] is VM_TRANSITIONS
    with pytest.raises(KeyError), Coverage():
        raise KeyError
    assert vars(vm_core)["TRANSITIONS"] is VM_TRANSITIONS


def test_every_move_a_run_makes_is_in_the_table() -> None:
    """The scenarios of a whole life get to most moves; one the table does not have would stop `Coverage`."""
    seen = 0
    for name in ("kiln", "graceful_stop"):
        seen |= ran(load_scenario(f"scenarios/{name}.py"), 0).cells
    moved = [row for number, row in enumerate(ROWS) if row.part == MOVES and seen >> cell(number, 0) & 0x1FF]
    assert len(moved) >= 6
    assert Status.FREE.name.lower() in {row.where for row in moved}


def test_the_matrix_fits_a_terminal_and_marks_what_was_seen(calm: Report) -> None:
    summary = Summary()
    summary.add(calm)
    lines: list[str] = []
    tell_matrix(lines.append, summary, faults.everything())
    shown = "\n".join(lines).splitlines()
    assert max(map(len, shown)) <= 100
    free = next(line for line in shown if line.startswith("Invoke  "))
    assert "o......." in free
    assert sum(" while " in line for line in shown[2:]) == sum(row.part not in (RECORDS, MOVES) for row in ROWS)


def test_a_search_says_what_was_covered_and_what_never_was(calm: Report) -> None:
    summary = Summary()
    summary.add(calm)
    lines: list[str] = []
    tell_cells(lines.append, summary, faults.none())
    assert lines[0].startswith(f"  cells {calm.cells.bit_count()} of {len(ROWS)}")
    assert any(line.startswith("    never: ") for line in lines)
    assert max(map(len, lines)) <= 100
    assert {row.part for row in ROWS} >= {ATTEMPTS}


def test_what_was_covered_under_faults_that_nobody_drew_is_within_what_can_be() -> None:
    """A script or a strategy may cut the power where the scenario has no faults."""
    network = CLASS_NAMES.index("network")
    summary = Summary(seeds=1, cells=1 << cell(0, 0) | 1 << cell(0, network), covered=[2])
    lines: list[str] = []
    tell_cells(lines.append, summary, faults.none())
    assert lines[0].startswith(f"  cells 2 of {2 * len(ROWS)}, 2 of them new")
