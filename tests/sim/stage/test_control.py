"""A script steers exactly, and what cannot happen (any more) is an error that says so: never a hang."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from understudy_sim import Attach, Call, Ledger, Settle, Stage
from understudy_sim.stage.holding import PointPassed, PointUnknown, ScriptError, StillHeld, Watching
from understudy_sim.stage.play import StageMisuse
from understudy_sim.stage.scenario import Script

from tests.sim.stage.points_app import PAY, Bank
from tests.sim.stage.scripts import HOPS, rehearse

BOB = Call(client="bob", service="Till", handler="pay", argument=7)


def holds(script: Script, hops: str = "exchange") -> None:
    report = rehearse(script, hops=hops)
    assert not report.failed, "\n".join(one.what for one in report.violations)


def fails(script: Script) -> str:
    """What the run ends with; there is one partition, so that who holds it holds all."""
    report = rehearse(script, partitions=1)
    assert report.failed, "the script must not come to its end"
    return report.violations[0].what


async def started(stage: Stage) -> Ledger[int]:
    """Everything runs, the bank too: its ledger."""
    charges = stage.external(Bank)
    await stage.start()
    return charges


# --- what it can do -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hops", HOPS)
def test_a_result_that_was_lost_is_made_once_more(hops: str) -> None:
    async def script(stage: Stage) -> None:
        charges = await started(stage)
        written = stage.at("journal.append", where={"command": "AttemptOutput", "step": "charge"}).hold()
        call = stage.ask(PAY)
        point = await written
        assert point.details["service"] == "Till"
        assert list(charges) == [5]
        await stage.crash("server", unsynced="lose")
        assert not point.held, "a crash drops the hold"
        await stage.restart("server")
        answer = await call.answer()
        assert answer is not None
        assert answer.value == 5 + 6
        assert list(charges) == [5, 5]
        await stage.finish()

    holds(script, hops)


@pytest.mark.parametrize("hops", HOPS)
def test_a_result_that_was_kept_is_not(hops: str) -> None:
    async def script(stage: Stage) -> None:
        charges = await started(stage)
        written = stage.at("journal.append", where={"command": "AttemptOutput", "step": "charge"}).hold()
        call = stage.ask(PAY)
        await written
        stage.crash("server", unsynced="keep", restart_ms=1_000)
        await call.answer()
        assert list(charges) == [5]
        await stage.finish()

    holds(script, hops)


@pytest.mark.parametrize("first", ["ann", "bob"])
def test_two_who_compete_come_in_the_order_that_is_wanted(first: str) -> None:
    """Both stand in front of their call of the same object; who is let go first is served first."""

    async def script(stage: Stage) -> None:
        await started(stage)
        calls = {"ann": stage.ask(PAY), "bob": stage.ask(BOB)}
        points: dict[str, Watching] = {}
        for _ in calls:
            point = await stage.at("handler.await", where={"service": "Till"}).hold()
            points["ann" if not points else "bob"] = point
        one, other = (points["ann"], points["bob"]) if first == "ann" else (points["bob"], points["ann"])
        one.release()
        await stage.until(lambda: sum(call.done for call in calls.values()) == 1)
        assert other.held
        other.release()
        for call in calls.values():
            answer = await call.answer()
            assert answer is not None
            assert answer.status == 200
        await stage.finish()

    holds(script)


def test_a_held_message_does_not_leave_and_nothing_overtakes_it() -> None:
    async def script(stage: Stage) -> None:
        await started(stage)
        leaving = stage.at("net.send", process="ann", where={"to": "server"}).hold()
        call = stage.ask(PAY)
        await leaving
        await stage.kernel.sleep_ns(5_000_000_000)
        assert not stage.accepted("Till", "pay"), "the request is still with its client"
        leaving.release()
        await call.answer()
        assert stage.accepted("Till", "pay")
        await stage.finish()

    holds(script)


def test_as_a_context_manager_a_hold_ends_with_its_block() -> None:
    async def script(stage: Stage) -> None:
        charges = await started(stage)
        call = stage.ask(PAY)
        async with stage.at("external.call", side="before", where={"amount": 5}).hold() as point:
            assert point.held
            assert not list(charges)
            stage.pause("endpoint", lasts_ms=100)
            stage.jump_clock("server", by_ms=5_000)
        await call.answer()
        assert list(charges) == [5]
        await stage.finish()

    holds(script)


def test_a_partition_waits_for_what_is_on_its_way_and_heals() -> None:
    async def script(stage: Stage) -> None:
        await started(stage)
        call = stage.ask(PAY)
        asked = await stage.at("external.call", side="after").passed()
        stage.partition("endpoint", "bank", one_way=False)
        assert not asked.held
        await stage.kernel.sleep_ns(3_000_000_000)
        assert not call.done
        stage.heal("endpoint", "bank")
        stage.reset("ann", "server")
        answer = await call.answer()
        assert answer is not None
        assert answer.status == 200
        await stage.finish()

    holds(script)


def _resets(stage: Stage) -> None:
    stage.reset("server", "endpoint")


def _partitions(stage: Stage) -> None:
    stage.partition("server", "endpoint")


def _pauses(stage: Stage) -> None:
    stage.pause("endpoint", lasts_ms=30_000)


def _jumps(stage: Stage) -> None:
    stage.jump_clock("server", by_ms=-3_600_000)


def _waits(stage: Stage) -> None:
    """It only holds."""


@pytest.mark.parametrize("hops", HOPS)
@pytest.mark.parametrize("does", [_resets, _partitions, _pauses, _jumps, _waits])
def test_what_a_script_does_to_them_excuses_them_and_is_told(does: Callable[[Stage], None], hops: str) -> None:
    """No good day (P17, P19): nobody may claim that what comes of it has no cause."""

    async def script(stage: Stage) -> None:
        await started(stage)
        point = stage.at("handler.await", side="after").hold()
        call = stage.ask(PAY)
        await point
        does(stage)
        await stage.kernel.sleep_ns(25_000_000_000)
        point.release()
        await stage.kernel.sleep_ns(15_000_000_000)
        stage.heal()
        assert await call.answer() is not None
        await stage.finish()

    report = rehearse(script, hops=hops)
    assert not report.failed, "\n".join(f"{one.claim}: {one.what}" for one in report.violations)
    kinds = {_resets: "stream_reset", _partitions: "partition", _pauses: "pause", _jumps: "clock_jump"}
    assert [one.kind for one in report.firings] == ["hold", *([kinds[does]] if does in kinds else [])]
    assert report.firings[0].what == "endpoint, after handler.await number 1, by the script"


def test_what_is_late_after_the_script_has_let_go_is_late() -> None:
    """What a script did is an excuse as long as it lasts, and no longer."""

    async def script(stage: Stage) -> None:
        await started(stage)
        call = stage.ask(PAY)
        point = await stage.at("external.call").hold()
        point.release()
        await call.answer()
        tally = stage.cluster.tally
        assert not tally.lasts()
        assert tally.ended_ns <= stage.kernel.now_ns
        stage.partition("ann", "server", one_way=True)
        assert tally.lasts()
        stage.heal()
        assert not tally.lasts()
        assert tally.ended_ns == stage.kernel.now_ns
        await stage.finish()

    holds(script)


def test_a_client_that_is_cut_comes_back_and_asks_again() -> None:
    async def script(stage: Stage) -> None:
        await started(stage)
        call = stage.ask(PAY)
        await stage.at("answer", process="ann").hold()
        stage.crash("ann", restart_ms=500)
        answer = await call.answer()
        assert answer is not None
        assert call.asked is not None
        assert call.asked.tries == 2
        await stage.finish()

    holds(script)


def test_other_operations_are_asked_as_well() -> None:
    labelled = Call(client="ann", service="Till", handler="pay", argument=5, label="pay")

    async def script(stage: Stage) -> None:
        await started(stage)
        first = stage.ask(labelled)
        second = stage.ask(Attach(client="bob", to="pay"))
        assert (await first.answer()).value == (await second.answer()).value  # type: ignore[union-attr]
        await stage.finish()

    for hops in HOPS:
        holds(script, hops)


def test_the_nth_passing_is_counted_from_the_start() -> None:
    async def script(stage: Stage) -> None:
        stage.external(Bank)
        second = stage.at("run.body", side="before", where={"service": "Till"}, nth=2).hold()
        await stage.start()
        call = stage.ask(PAY)
        await stage.until(second)
        assert second.details["step"] == "stamp"
        second.release()
        await call.answer()
        await stage.finish()

    holds(script)


def test_time_moves_only_as_needed() -> None:
    async def script(stage: Stage) -> None:
        charges = await started(stage)
        began_ns = stage.kernel.now_ns
        stage.ask(PAY)
        await stage.until(lambda: len(charges) == 1)
        assert stage.kernel.now_ns - began_ns < 20_000_000_000
        assert not stage.at("external.call", side="after").passed().has_passed, "it stands in the middle of the call"
        await stage.finish()

    holds(script)


def test_equal_seeds_are_equal_runs() -> None:
    async def script(stage: Stage) -> None:
        await started(stage)
        call = stage.ask(PAY)
        async with stage.at("run.body", side="after").hold():
            await stage.crash("server")
            stage.restart("server")
        await call.answer()
        await stage.finish()

    assert rehearse(script).digest == rehearse(script).digest
    assert rehearse(script, seed=3).digest != rehearse(script, seed=4).digest


# --- what it cannot ----------------------------------------------------------------------------------------------


def test_a_point_that_was_passed_is_an_error_that_says_when() -> None:
    async def script(stage: Stage) -> None:
        await started(stage)
        await stage.ask(PAY).answer()
        with pytest.raises(PointPassed, match=r"number 1 was passed already, as server: before journal.append") as told:
            stage.at("journal.append", where={"command": "Invoke", "service": "Till"}, nth=1).hold()
        assert "begin the watch before what makes it pass, or watch for number 2" in str(told.value)
        await stage.finish()

    holds(script)


def test_a_watch_that_begins_too_late_ends_with_an_error() -> None:
    async def script(stage: Stage) -> None:
        await started(stage)
        await stage.ask(PAY).answer()
        await stage.at("run.body", where={"step": "charge"}).hold()

    told = fails(script)
    assert "waits in vain for before run.body, step='charge'" in told
    assert "all is quiet" in told
    assert "it was passed 1 times before the watch began, the last as endpoint: before run.body" in told


def test_waiting_for_what_nobody_passes_says_what_was_passed_instead() -> None:
    async def script(stage: Stage) -> None:
        await started(stage)
        stage.ask(PAY)
        await stage.at("run.body", where={"step": "refund"}).hold()

    told = fails(script)
    assert "waits in vain for before run.body, step='refund'" in told
    assert "what passed there: endpoint: before run.body number 1" in told
    assert "passed 2 times: endpoint run.body before" in told
    assert "who waits where:" in told


def test_those_who_wait_for_each_other_are_told_apart() -> None:
    """The second point comes only after the first is let go."""

    async def script(stage: Stage) -> None:
        await started(stage)
        stage.ask(PAY)
        await stage.at("journal.append", where={"service": "Till"}).hold()
        await stage.at("run.body", where={"step": "charge"}).hold()

    told = fails(script)
    assert "time is over" in told
    assert "held: server: before journal.append number " in told
    assert "watched for: before run.body, step='charge'" in told


def test_a_condition_that_never_comes_true_and_one_that_raises() -> None:
    async def never(stage: Stage) -> None:
        await started(stage)
        stage.ask(PAY)
        await stage.until(lambda: False, within_s=30)

    assert "waits in vain for the condition in line" in fails(never)

    async def raises(stage: Stage) -> None:
        charges = await started(stage)
        stage.ask(PAY)
        with pytest.raises(IndexError):
            await stage.until(lambda: charges[3] == 5)
        await stage.finish()

    holds(raises)


def test_who_is_still_held_at_the_end_is_told() -> None:
    async def script(stage: Stage) -> None:
        await started(stage)
        stage.ask(PAY)
        point = await stage.at("external.call").hold()
        with pytest.raises(StillHeld, match=r"bank: before external\.call number 1") as told:
            await stage.finish()
        assert "release it, or crash it" in str(told.value)
        point.release()
        await stage.finish()

    holds(script)


def test_a_hold_is_released_once() -> None:
    async def script(stage: Stage) -> None:
        await started(stage)
        call = stage.ask(PAY)
        point = await stage.at("external.call").hold()
        point.release()
        with pytest.raises(ScriptError, match="was released before"):
            point.release()
        looked = stage.at("answer").passed()
        await call.answer()
        with pytest.raises(ScriptError, match="is not held"):
            looked.release()
        await stage.finish()

    holds(script)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"point": "journal.apend"}, "there is no point 'journal.apend'; there are: disk.write"),
        ({"point": "applied", "side": "before"}, "applied has no side 'before', only: after"),
        ({"point": "run.body", "where": {"name": "x"}}, "run.body cannot be told apart by 'name', only by: step"),
        ({"point": "journal.append", "where": {"command": "Invoked"}}, "there is no command 'Invoked'; there are: Inv"),
        ({"point": "answer", "nth": 0}, "numbered from 1"),
    ],
)
def test_what_does_not_exist_is_told(asked: dict[str, object], told: str) -> None:
    async def script(stage: Stage) -> None:
        stage.external(Bank)
        with pytest.raises(PointUnknown, match=told):
            stage.at(**asked)  # type: ignore[arg-type]
        await stage.start()
        await stage.ask(PAY).answer()
        await stage.finish()

    holds(script)


def test_verbs_refuse_what_makes_no_sense() -> None:
    async def script(stage: Stage) -> None:
        stage.external(Bank)
        with pytest.raises(ScriptError, match="nobody can be asked yet"):
            stage.ask(PAY)
        await stage.start()
        with pytest.raises(ScriptError, match="runs already"):
            await stage.start()
        with pytest.raises(ScriptError, match="there is no process 'sever'; there are: server, endpoint, bank"):
            stage.crash("sever")
        with pytest.raises(ScriptError, match="server runs: crash it first"):
            stage.restart("server")
        with pytest.raises(ScriptError, match="may keep, lose, tear it"):
            stage.crash("server", unsynced="forget")
        with pytest.raises(ScriptError, match="no partition between ann and server"):
            stage.heal("ann", "server")
        with pytest.raises(ScriptError, match="name two"):
            stage.heal("server")
        for pair in (("sever", "endpoint"), ("server", "endpont")):
            with pytest.raises(ScriptError, match="there is no process"):
                stage.partition(*pair, one_way=True)
        with pytest.raises(ScriptError, match="no connection between bank and server"):
            stage.reset("bank", "server")
        with pytest.raises(ScriptError, match="is called 'bank' already"):
            stage.ask(Call(client="bank", service="Till", handler="pay", argument=1))
        stage.crash("endpoint")
        with pytest.raises(ScriptError, match="endpoint is down already"):
            stage.crash("endpoint")
        with pytest.raises(ScriptError, match="endpoint is not running: pause it while it runs"):
            stage.pause("endpoint", lasts_ms=1)
        call = stage.ask(PAY)
        stage.restart("endpoint")
        await call.answer()
        await stage.finish()

    holds(script)


def test_a_rehearsal_is_started_and_finished_once() -> None:
    async def script(stage: Stage) -> None:
        stage.external(Bank)
        with pytest.raises(ScriptError, match=r"nothing to finish yet: await stage\.start"):
            await stage.finish()
        await stage.start()
        with pytest.raises(StageMisuse, match=r"end it with stage\.finish"):
            await stage.play()
        await stage.ask(PAY).answer()
        await stage.finish()
        with pytest.raises(ScriptError, match="nothing to finish any more"):
            await stage.finish()
        with pytest.raises(ScriptError, match="nobody can be asked any more"):
            stage.ask(PAY)

    holds(script)


def test_a_script_that_does_not_finish_shows_nothing() -> None:
    async def script(stage: Stage) -> None:
        stage.external(Bank)
        stage.eventually("what is never judged", lambda: False)
        await stage.start()
        await stage.ask(PAY).answer()

    assert "end with await stage.finish()" in fails(script)


def test_two_may_hold_the_same_one() -> None:
    async def script(stage: Stage) -> None:
        await started(stage)
        call = stage.ask(PAY)
        applied = stage.at("applied", side="after", where={"service": "Till"}).hold()
        again = stage.at("applied", side="after", where={"service": "Till"}).hold()
        await applied
        await again
        applied.release()
        await stage.kernel.sleep_ns(1_000_000_000)
        assert not call.done, "it is held by the other one still"
        again.release()
        await call.answer()
        await stage.finish()

    holds(script)


def test_a_script_may_wait_for_two_things_at_once() -> None:
    async def script(stage: Stage) -> None:
        await started(stage)
        seen: list[str] = []

        async def wait(step: str) -> None:
            point = await stage.at("run.body", where={"step": step}).hold()
            seen.append(step)
            point.release()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, "stamp")
            nursery.start_soon(wait, "charge")
            await stage.kernel.sleep_ns(1_000_000)
            await stage.ask(PAY).answer()
        assert seen == ["charge", "stamp"]
        await stage.finish()

    holds(script)


def test_an_operation_whose_target_nobody_asked_for_does_nothing() -> None:
    async def script(stage: Stage) -> None:
        await started(stage)
        await stage.ask(PAY).answer()
        assert await stage.ask(Settle(client="bob", of="nothing", value=1)).answer() is None
        await stage.finish()

    holds(script)
