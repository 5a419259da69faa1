"""Timers: each fires once, not early, and dies with its invocation."""

from __future__ import annotations

import pytest
from understudy_runtime.machine.apply import outstanding
from understudy_runtime.machine.expiry import EXPIRY_TIMER
from understudy_runtime.model.actions import ArmTimer, Completed, DisarmTimer, Notify
from understudy_runtime.model.commands import LeaderElected, Purge, TimerFired
from understudy_runtime.model.invocation import Status, Success

from tests.runtime.machine.driver import Driver, M, proposed


def sleeping(driver: Driver, wake_up_time: int = 9_000) -> str:
    id_ = driver.invoke()
    driver.attempt(id_, proposed(M.SLEEP, wake_up_time=wake_up_time, result_completion_id=1))
    return id_


@pytest.mark.parametrize("stored", [False, True])
def test_a_timer_fires_once(stored: bool) -> None:
    """Also between two flushes, while its row is still there."""
    driver = Driver()
    id_ = sleeping(driver)
    if stored:
        driver.flush()
    [told] = driver.fire(1)
    assert isinstance(told, Notify)
    assert driver.do(TimerFired(9_000, 1)) == []
    assert len(driver.notes(id_)) == 1


def test_a_timer_armed_for_another_time_does_not_fire() -> None:
    driver = Driver()
    sleeping(driver)
    driver.now_ms = 10_000
    assert driver.do(TimerFired(8_000, 1)) == []
    assert list(driver.tables.timers) == [1]


def test_a_timer_does_not_fire_before_its_time() -> None:
    driver = Driver()
    id_ = sleeping(driver)
    driver.now_ms = 8_999
    assert driver.do(TimerFired(9_000, 1)) == [ArmTimer(9_000, 1)]
    assert driver.notes(id_) == []
    driver.now_ms = 9_000
    driver.do(TimerFired(9_000, 1))
    assert len(driver.notes(id_)) == 1


def test_a_past_time_is_armed_all_the_same() -> None:
    driver = Driver()
    id_ = driver.invoke()
    sleep = proposed(M.SLEEP, wake_up_time=5, result_completion_id=1)
    assert driver.attempt(id_, sleep) == [ArmTimer(5, 1)]


def test_an_end_disarms_what_still_sleeps() -> None:
    driver = Driver()
    id_ = sleeping(driver)
    assert DisarmTimer(1) in driver.finish(id_)
    assert driver.tables.timers == {}
    assert driver.do(TimerFired(9_000, 1)) == []


def test_a_kept_result_keeps_no_sleep() -> None:
    driver = Driver()
    id_ = driver.invoke(completion_retention_ms=500)
    driver.attempt(id_, proposed(M.SLEEP, wake_up_time=9_000, result_completion_id=1))
    driver.finish(id_)
    assert driver.tables.timers == {}
    assert driver.at(id_).timers == {}


def test_a_result_is_kept_for_its_time() -> None:
    driver = Driver()
    id_ = driver.invoke(completion_retention_ms=500)
    actions = driver.finish(id_)
    assert actions == [ArmTimer(2_000, EXPIRY_TIMER), Completed(id_, Success(b"out"), 1_500)]
    assert outstanding(driver.tables) == [ArmTimer(2_000, EXPIRY_TIMER)]
    assert driver.fire(EXPIRY_TIMER) == []
    assert driver.status(id_) is Status.FREE
    assert outstanding(driver.tables) == []


def test_under_rules_1_each_result_has_a_timer() -> None:
    driver = Driver(rules=1)
    id_ = driver.invoke(completion_retention_ms=500, journal_retention_ms=500)
    actions = driver.finish(id_)
    assert actions == [ArmTimer(1_500, 1), Completed(id_, Success(b"out"), 1_500)]
    assert driver.tables.journal(id_) == []
    driver.flush()
    driver.tables = driver.reload()
    assert outstanding(driver.tables) == [ArmTimer(1_500, 1)]
    other = driver.invoke(completion_retention_ms=500)
    driver.finish(other)
    assert driver.do(Purge(other)) == [DisarmTimer(2)]
    driver.do(LeaderElected(2, 2))
    assert driver.fire(1) == []
    assert driver.status(id_) is Status.FREE
    assert outstanding(driver.tables) == []


def test_a_clock_that_goes_back_keeps_no_result_shorter() -> None:
    driver = Driver()
    id_ = driver.invoke(completion_retention_ms=500)
    driver.now_ms = 400
    driver.finish(id_)
    assert driver.at(id_).expires_ms == 900
    assert driver.at(id_).completed_ms == 400
