"""Each point: it is passed on both its sides, whoever listens changes nothing, it can be held, and cut at, exactly."""

from __future__ import annotations

from typing import Any

import pytest
from understudy_sim import Stage
from understudy_sim.kernel.inodes import CutReport
from understudy_sim.kernel.kernel import KernelOutcome
from understudy_sim.stage.points import AFTER, POINTS, Passing
from understudy_sim.stage.rehearsal import Rehearsal
from understudy_sim.stage.variation import PointCrash

from tests.sim.stage.points_app import PAY, Bank
from tests.sim.stage.scripts import HOPS, pay_once, rehearse

SIDES = [(point, side) for point, kind in POINTS.items() for side in kind.sides]
# Which process passes it while somebody pays.
PASSES = {
    "answer": "ann",
    "external.call": "bank",
    "handler.start": "endpoint",
    "handler.await": "endpoint",
    "run.body": "endpoint",
}


class Listener:
    """Notes all that passes."""

    def __init__(self) -> None:
        self.passings: list[Passing] = []

    def attach(self, rehearsal: Rehearsal) -> None:
        rehearsal.cluster.points.listen(self.passings.append)

    def stopped(self, rehearsal: Rehearsal, ended: KernelOutcome) -> None:
        """It has all it wants."""

    def names(self) -> list[tuple[str, str, int, str]]:
        return [(one.process, one.point, one.nth, one.side) for one in self.passings]


def process_of(point: str, hops: str) -> str:
    """Clients who share HTTP/2 connections are one process."""
    name = PASSES.get(point, "server")
    return "customers" if name == "ann" and hops == "h2" else name


@pytest.mark.parametrize("hops", HOPS)
def test_every_point_is_passed_on_both_sides_and_listening_changes_nothing(hops: str) -> None:
    listener = Listener()
    report = pay_once(hops=hops, observers=[listener])
    assert not report.failed, report.stories
    assert report.digest == pay_once(hops=hops).digest
    names = listener.names()
    for point, side in SIDES:
        assert any(name[1] == point and name[3] == side for name in names), f"nobody passed {side} {point}"
    assert len(set(names)) == len(names), "a passing has a name of its own"
    for process, point in {(name[0], name[1]) for name in names}:
        numbers = [name[2] for name in names if name[:2] == (process, point) and name[3] == POINTS[point].sides[0]]
        assert numbers == list(range(1, len(numbers) + 1)), f"{point} of {process} is numbered without gaps"


def test_what_passes_can_be_told_apart() -> None:
    listener = Listener()
    pay_once(observers=[listener])

    def details(point: str, **wanted: Any) -> list[Passing]:
        return [
            one
            for one in listener.passings
            if one.point == point and all(one.details.get(key) == value for key, value in wanted.items())
        ]

    assert details("journal.append", command="Invoke", service="Till", handler="pay")
    assert details("journal.append", command="AttemptOutput", step=("charge",))
    assert any("call" in one.details.get("entry", ()) for one in details("journal.append", service="Till"))
    assert details("applied", command="AttemptOutput", service="Drawer", key="front", end="Finished")
    assert [one.side for one in details("run.body", step="charge")] == ["before", "after"]
    assert [one.side for one in details("run.body", step="stamp")] == ["before", "after"]
    assert [one.side for one in details("external.call", amount=5)] == ["before", "after"]
    assert details("net.send", to="endpoint", what="start")
    assert details("answer", service="Till", handler="pay", status=200)
    assert details("disk.write", path="partition-0/00000000000000000001.log")
    for one in listener.passings:
        keys = POINTS[one.point].keys
        assert keys is None or set(one.details) <= set(keys), f"{one} says more than its point's keys"


@pytest.mark.parametrize("hops", HOPS)
@pytest.mark.parametrize(("point", "side"), SIDES)
def test_who_passes_can_be_held(point: str, side: str, hops: str) -> None:
    async def script(stage: Stage) -> None:
        stage.external(Bank)
        await stage.start()
        watch = stage.at(point, side=side, process=PASSES.get(point, "server")).hold()
        call = stage.ask(PAY)
        await watch
        before_ns = stage.kernel.now_ns
        await stage.kernel.sleep_ns(2_000_000_000)
        assert watch.held
        assert not call.done, "the one who was to bring the answer stands"
        assert stage.kernel.now_ns - before_ns >= 2_000_000_000, "the others go on"
        watch.release()
        answer = await call.answer()
        assert answer is not None
        assert answer.status == 200
        await stage.finish()

    report = rehearse(script, hops=hops)
    assert not report.failed, report.violations


@pytest.mark.parametrize(("point", "side"), SIDES)
def test_a_run_is_cut_exactly_there(point: str, side: str) -> None:
    process = process_of(point, "exchange")
    whole = Listener()
    pay_once(observers=[whole])
    passed = [one for one in whole.names() if one[:2] == (process, point) and one[3] == side]
    for nth in sorted({passed[0][2], passed[len(passed) // 2][2], passed[-1][2]}):
        cut = Listener()
        report = pay_once(PointCrash(process=process, point=point, nth=nth, side=side), observers=[cut])
        assert not report.failed, report.stories
        assert len(report.firings) == 1, f"one cut at {side} {point} {nth}"
        place = whole.names().index((process, point, nth, side))
        assert cut.names()[: place + 1] == whole.names()[: place + 1], "a cut changes nothing of what came before"
        assert [one.at_ns for one in cut.passings[: place + 1]] == [one.at_ns for one in whole.passings[: place + 1]]


@pytest.mark.parametrize("point", ["disk.write", "disk.sync", "journal.append"])
def test_what_is_written_can_be_torn(point: str) -> None:
    whole = Listener()
    pay_once(observers=[whole])
    count = max(one.nth for one in whole.passings if one.point == point)
    for nth in range(1, count + 1, max(1, count // 5)):
        report = pay_once(PointCrash(process="server", point=point, nth=nth, side="torn"))
        assert not report.failed, report.stories
        assert report.firings


class Cuts:
    """An observer of what power cuts did to the server's disk."""

    def __init__(self) -> None:
        self.reports: list[CutReport] = []

    def attach(self, rehearsal: Rehearsal) -> None:
        medium = rehearsal.cluster.server.host.medium
        told = medium.on_cut

        def on_cut(report: CutReport) -> None:
            self.reports.append(report)
            if told is not None:
                told(report)

        medium.on_cut = on_cut

    def stopped(self, rehearsal: Rehearsal, ended: KernelOutcome) -> None:
        """They stay as they are."""


@pytest.mark.parametrize(
    ("point", "side", "mode"),
    [
        ("disk.write", "after", 0),
        ("disk.write", "torn", 4),
        ("disk.sync", "before", 1),
        ("disk.sync", "torn", 4),
        ("journal.append", "before", 1),
        ("journal.append", "torn", 4),
    ],
)
def test_the_side_says_what_becomes_of_what_was_not_synced(point: str, side: str, mode: int) -> None:
    """0 keeps all, 1 loses all, 4 tears each write (`Fate`)."""
    judged = 0
    for nth in range(6, 10):
        cuts = Cuts()
        pay_once(PointCrash(process="server", point=point, nth=nth, side=side), observers=[cuts])
        first = cuts.reports[0]
        if first.unsynced_writes:
            judged += 1
            assert first.mode == mode
    assert judged, "somewhere something was not synced"


@pytest.mark.parametrize("victim", ["endpoint", "server+endpoint", "ann", "bank"])
def test_others_can_lose_their_power_there(victim: str) -> None:
    crash = PointCrash(process="server", point="journal.append", nth=4, side=AFTER, victim=victim)
    report = pay_once(crash)
    assert not report.failed, report.stories
    assert [one.what.partition(",")[0] for one in report.firings] == victim.split("+")


def test_a_cut_of_a_place_that_is_never_passed_never_comes() -> None:
    report = pay_once(PointCrash(process="server", point="journal.append", nth=10_000))
    assert report.digest == pay_once().digest
    assert not report.firings
