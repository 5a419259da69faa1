"""Each kind of fault in the tour, alone: it bites, the promise holds, it can be left out and written down."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from understudy_runtime.storage.port import StorageDamaged
from understudy_sim.kernel.choices import Overrides
from understudy_sim.kernel.faults.table import FAULTS
from understudy_sim.kernel.kernel import KernelOutcome
from understudy_sim.stage import faults
from understudy_sim.stage.application import Application
from understudy_sim.stage.faults import DAMAGE, KINDS, PROMISES
from understudy_sim.stage.happenings import Step
from understudy_sim.stage.nemesis import KERNEL_KINDS
from understudy_sim.stage.rehearsal import Rehearsal
from understudy_sim.stage.report import Report
from understudy_sim.stage.run import run_seed
from understudy_sim.stage.script import load_scenario
from understudy_sim.stage.silence import silent
from understudy_sim.stage.strikes import OF_CALLS
from understudy_sim.stage.variation import Strike, Variation

TOUR = load_scenario("scenarios/ticket_tour.py")
APPLICATION = Application(TOUR.app)
# What some need to bite: a power cut, or bytes on the hops.
BESIDE: Mapping[str, tuple[str, ...]] = {
    "lost_write": ("server_crash",),
    "torn_write": ("server_crash",),
    "bit_rot": ("server_crash",),
    "misdirected_write": ("server_crash",),
}
IN_BYTES = ("endpoint_drain", "half_open", "cut_stream")
SEEDS_MAX = 40


def rehearse(seed: int, kind: str, overrides: Overrides, strikes: tuple[Strike, ...] | None = None) -> Report:
    allowed = (kind, *BESIDE.get(kind, ()))
    exists: dict[tuple[str, int | None], int] = {(f"plan/{one}", None): 999 for one in allowed}
    exists.update({(f"plan/{kind}/bite", None): 3, ("plan/bytes", None): 999 if kind in IN_BYTES else 0})
    variation = Variation(faults=faults.only(*allowed), overrides={**exists, **overrides}, strikes=strikes)
    with silent():
        return run_seed(TOUR, APPLICATION, seed, variation)


def bites(report: Report, kind: str) -> int:
    return sum(report.faults.get(label, (0, 0))[1] for label in (kind, f"{kind}.exchange"))


@pytest.mark.parametrize("kind", PROMISES)
def test_each_kind_alone_bites_keeps_its_promise_and_can_be_left_out_and_written_down(kind: str) -> None:
    for seed in range(SEEDS_MAX):
        report = rehearse(seed, kind, {})
        assert report.violations == (), f"seed {seed}: {PROMISES[kind].value}"
        assert {one.kind for one in report.firings if one.strike is not None} <= {kind, *BESIDE.get(kind, ())}
        if bites(report, kind):
            break
    assert bites(report, kind), f"never in {SEEDS_MAX} seeds"
    fired = [one for one in report.firings if one.kind == kind]
    strikes = tuple(one.strike for one in report.firings if one.strike is not None)
    assert rehearse(seed, kind, {}, strikes).digest == report.digest, "written down it is the same run"
    services: dict[tuple[str, int | None], int] = {(f"{name}/{kind}", None): 0 for name in ("payments", "mail")}
    left_out = rehearse(seed, kind, {**services, **{(one.switch[0], None): 0 for one in fired}})
    assert kind not in {one.kind for one in left_out.firings if one.strike is not None}
    assert left_out.digest != report.digest, "it makes a difference"


def test_every_fault_of_the_kernel_has_a_kind_here() -> None:
    """But one: `jitter` is late by more than one amount."""
    assert set(FAULTS) - set(KERNEL_KINDS.values()) == {"latency"}
    assert set(PROMISES) == {*KERNEL_KINDS, *OF_CALLS}
    assert set(KINDS).isdisjoint(DAMAGE)
    assert faults.everything().kinds == tuple(KINDS)
    assert faults.damage().kinds == tuple(PROMISES)
    assert faults.damage("bit_rot").kinds == (*KINDS, "bit_rot")


class ReadsEverything:
    """A checker that looks at every row of the server's stores, in the middle of the server's own step."""

    def __init__(self) -> None:
        self.refused = 0
        self.read_rotten = 0

    def attach(self, rehearsal: Rehearsal) -> None:
        self._host = rehearsal.cluster.server.host
        rehearsal.watch.subscribe({Step: self._look})

    def _look(self, _: Step) -> None:
        for medium in self._host.stores.values():
            if medium.owner is not None:
                try:
                    self.read_rotten += sum(1 for _ in medium.owner.scan(b"")) > 0 and self._host.stores_damaged > 0
                except StorageDamaged:
                    self.refused += 1

    def stopped(self, rehearsal: Rehearsal, ended: KernelOutcome) -> None:
        """All was seen."""


def test_a_row_that_cannot_be_read_is_the_servers_to_find_and_no_checkers() -> None:
    rot = [Strike(kind="rotten_store", on=("server",), at_ns=at * 500_000_000, detail=at) for at in range(2, 12)]
    variation = Variation(strikes=tuple(rot), overrides={("limits/flush_rows", None): 1})
    checker = ReadsEverything()
    with silent():
        report = run_seed(TOUR, APPLICATION, 1, variation, [checker])
    assert report.violations == ()
    assert report.faults["rotten_store"][0] >= 1
    assert checker.read_rotten >= 1
    assert checker.refused == 0


def test_a_rotten_disk_is_noticed_or_does_no_harm() -> None:
    scenario = load_scenario("scenarios/rotten_disk.py")
    come: dict[str, int] = {}
    with silent():
        for seed in range(30):
            report = run_seed(scenario, APPLICATION, seed)
            assert report.violations == (), f"seed {seed}"
            for what in report.happened:
                come[what] = come.get(what, 0) + 1
    assert come["damage: noticed"] >= 3
    assert come["damage: no harm"] >= 3
