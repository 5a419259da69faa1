"""What is kept after the end: results and journals for their time, gone in chunks, at no cost in memory."""

from __future__ import annotations

import pytest
from understudy.protocol import service_pb2 as pb
from understudy_runtime.machine import rows
from understudy_runtime.machine.apply import outstanding
from understudy_runtime.machine.expiry import CHUNK_IDS, EXPIRY_TIMER
from understudy_runtime.model.actions import ArmTimer, Completed, InvokeAcked, RequestAcked
from understudy_runtime.model.commands import Attach, Callee, Caller, Kill, Purge, PurgeJournal, TimerFired
from understudy_runtime.model.invocation import Failure, Status, Success

from tests.runtime.machine.driver import RUN, Driver, M, make_id, proposed


def ended(driver: Driver, result_ms: int = 60_000, journal_ms: int = 0, value: bytes = b"out") -> str:
    """An invocation that ended, with a journal of Input and Output."""
    id_ = driver.invoke(completion_retention_ms=result_ms, journal_retention_ms=journal_ms)
    driver.finish(id_, value)
    return id_


def journal_types(driver: Driver, id_: str) -> list[int]:
    return [entry.type for entry in driver.tables.journal(id_)]


def restart(driver: Driver) -> None:
    driver.flush()
    driver.tables = driver.reload()


def stored(driver: Driver, table: bytes) -> int:
    return sum(1 for _ in driver.storage.scan(table))


@pytest.mark.parametrize("flushed", [False, True])
def test_a_journal_is_kept_for_its_time_and_the_result_for_longer(flushed: bool) -> None:
    driver = Driver()
    id_ = ended(driver, result_ms=60_000, journal_ms=10_000)
    assert outstanding(driver.tables) == [ArmTimer(11_000, EXPIRY_TIMER)]
    if flushed:
        restart(driver)
        assert stored(driver, rows.JOURNAL) == 2
    assert journal_types(driver, id_) == [M.INPUT, M.OUTPUT]
    assert driver.fire(EXPIRY_TIMER) == [ArmTimer(61_000, EXPIRY_TIMER)]
    assert journal_types(driver, id_) == []
    assert driver.at(id_).result == Success(b"out")
    if flushed:
        restart(driver)
        assert stored(driver, rows.JOURNAL) == 0
    assert driver.fire(EXPIRY_TIMER) == []
    assert driver.status(id_) is Status.FREE
    driver.flush()
    assert [key for key, _ in driver.storage.scan(b"")] == [rows.META]


@pytest.mark.parametrize(("result_ms", "journal_ms"), [(10_000, 10_000), (10_000, 99_000)])
def test_a_journal_is_kept_no_longer_than_its_result(result_ms: int, journal_ms: int) -> None:
    driver = Driver()
    id_ = ended(driver, result_ms, journal_ms)
    assert journal_types(driver, id_) == [M.INPUT, M.OUTPUT]
    assert driver.fire(EXPIRY_TIMER) == []
    assert driver.status(id_) is Status.FREE
    assert driver.tables.journal(id_) == ()


def test_a_journal_without_a_result_is_not_kept() -> None:
    driver = Driver()
    id_ = ended(driver, result_ms=0, journal_ms=10_000)
    assert driver.status(id_) is Status.FREE
    assert outstanding(driver.tables) == []


def test_a_purged_journal_leaves_the_result() -> None:
    driver = Driver()
    id_ = ended(driver, result_ms=60_000, journal_ms=30_000)
    restart(driver)
    assert driver.do(PurgeJournal(id_, 5)) == [RequestAcked(5, id_, "done")]
    assert journal_types(driver, id_) == []
    driver.do(Attach(id_, Caller(id_, 1), wait=True))
    again = driver.request(invocation_id=id_, request_id=6)
    assert driver.do(again) == [InvokeAcked(6, id_, False, 0), Completed(id_, Success(b"out"), 61_000)]
    assert driver.do(PurgeJournal(id_, 5)) == [RequestAcked(5, id_, "done")], "purging twice is no error"
    restart(driver)
    assert stored(driver, rows.JOURNAL) == 0
    assert driver.do(PurgeJournal(driver.invoke(), 5))[-1].outcome == "not_completed"  # type: ignore[union-attr]
    assert driver.do(PurgeJournal(make_id(999), 5))[-1].outcome == "not_found"  # type: ignore[union-attr]


def test_an_end_by_force_keeps_the_journal_too() -> None:
    driver = Driver()
    id_ = driver.invoke(completion_retention_ms=60_000, journal_retention_ms=60_000)
    driver.do(Kill(id_))
    assert journal_types(driver, id_) == [M.INPUT]
    assert driver.at(id_).result == Failure(409, "killed")


def test_a_call_passes_its_callees_retention_on() -> None:
    driver = Driver()
    caller, callee_id = driver.invoke(), driver.id()
    callee = Callee(callee_id, completion_retention_ms=7_000, journal_retention_ms=5_000)
    names = {"service_name": "Greeter", "handler_name": "greet"}
    call = proposed(M.CALL, callee, **names, result_completion_id=2, invocation_id_notification_idx=1)
    driver.attempt(caller, call)
    found = driver.at(callee_id)
    assert (found.completion_retention_ms, found.journal_retention_ms) == (7_000, 5_000)


def test_one_timer_stands_for_all_results() -> None:
    driver = Driver()
    first, second = ended(driver, 5_000), ended(driver, 9_000)
    assert outstanding(driver.tables) == [ArmTimer(6_000, EXPIRY_TIMER)]
    third = driver.invoke(completion_retention_ms=2_000)
    assert driver.finish(third)[0] == ArmTimer(3_000, EXPIRY_TIMER), "it comes first now"
    fourth = driver.invoke(completion_retention_ms=2_000)
    assert all(type(action) is not ArmTimer for action in driver.finish(fourth)), "its second has a timer"
    assert driver.fire(EXPIRY_TIMER) == [ArmTimer(6_000, EXPIRY_TIMER)]
    assert [driver.status(id_) for id_ in (first, second, third, fourth)] == [6, 6, 0, 0]


def test_a_late_firing_catches_up_chunk_by_chunk() -> None:
    driver = Driver()
    ids = [ended(driver, 5_000) for _ in range(CHUNK_IDS + 3)]
    later = ended(driver, 8_000)
    driver.now_ms = 20_000
    due = ArmTimer(6_000, EXPIRY_TIMER)
    assert driver.do(TimerFired(6_000, EXPIRY_TIMER)) == [due]
    assert [driver.status(id_) is Status.FREE for id_ in ids] == [True] * CHUNK_IDS + [False] * 3
    assert driver.do(TimerFired(6_000, EXPIRY_TIMER)) == [ArmTimer(9_000, EXPIRY_TIMER)]
    assert all(driver.status(id_) is Status.FREE for id_ in ids)
    assert driver.do(TimerFired(9_000, EXPIRY_TIMER)) == []
    assert driver.status(later) is Status.FREE
    assert driver.do(TimerFired(9_000, EXPIRY_TIMER)) == [], "nothing is left"


def test_a_clock_that_goes_back_expires_nothing() -> None:
    driver = Driver()
    id_ = ended(driver, 5_000)
    driver.now_ms = 5_999
    assert driver.do(TimerFired(6_000, EXPIRY_TIMER)) == [ArmTimer(6_000, EXPIRY_TIMER)]
    assert driver.status(id_) is Status.COMPLETED


def test_a_purged_id_that_lives_again_is_kept_for_its_own_time() -> None:
    driver = Driver()
    id_ = ended(driver, 5_000)
    driver.do(Purge(id_))
    driver.now_ms = 4_000
    driver.do(driver.request(invocation_id=id_, completion_retention_ms=9_000))
    assert driver.fire(EXPIRY_TIMER) == [], "the earlier life's entry finds an invocation that runs"
    driver.finish(id_, b"second")
    driver.now_ms = 6_500
    assert driver.at(id_).result == Success(b"second")
    assert driver.fire(EXPIRY_TIMER) == []
    assert driver.status(id_) is Status.FREE


def test_a_workflows_expiry_takes_its_state_along() -> None:
    driver = Driver()
    run = driver.invoke(RUN, completion_retention_ms=5_000)
    driver.attempt(run, proposed(M.SET_STATE, key=b"n", value=pb.Value(content=b"1")))
    driver.finish(run)
    restart(driver)
    assert dict(driver.tables.state(RUN.service, "user")) == {b"n": b"1"}
    driver.fire(EXPIRY_TIMER)
    assert dict(driver.tables.state(RUN.service, "user")) == {}


def test_a_kept_result_costs_a_row_and_no_memory() -> None:
    driver = Driver()
    count = 3 * CHUNK_IDS
    for _ in range(count):
        ended(driver, 60_000)
    driver.flush()
    assert driver.tables._invocations == {}
    assert stored(driver, rows.COMPLETED) == count
    assert stored(driver, rows.EXPIRY) == 3
    assert stored(driver, rows.TIMER) == 0
    restart(driver)
    assert driver.tables._invocations == {}, "a restart reads none of them"
    assert outstanding(driver.tables) == [ArmTimer(61_000, EXPIRY_TIMER)]


@pytest.mark.parametrize("flush_every", [1, 3, 7])
def test_chunks_do_not_depend_on_when_they_were_written(flush_every: int) -> None:
    """Adding, taking and flushing in any rhythm: the same removals, and in the end the same rows."""
    plain, flushing = Driver(), Driver()
    for number in range(2 * CHUNK_IDS + 5):
        for driver in (plain, flushing):
            driver.now_ms = 1_000 + number // 300 * 2_000
            ended(driver, (1_000, 3_000)[number % 2])
            if number % 290 == 289:
                driver.fire(EXPIRY_TIMER)
        if number % flush_every == 0:
            flushing.flush()
    assert outstanding(plain.tables) == outstanding(flushing.tables)
    plain.flush()
    flushing.flush()
    assert dict(plain.storage.scan(b"")) == dict(flushing.storage.scan(b""))
