"""What a flush writes, what leaves memory with it, and what comes back."""

from __future__ import annotations

import cbor2
import pytest
from understudy.protocol import service_pb2 as pb
from understudy_runtime.machine import rows
from understudy_runtime.machine.apply import RULES_CURRENT, RulesUnknown, apply, outstanding
from understudy_runtime.machine.tables import Tables
from understudy_runtime.model import ids
from understudy_runtime.model.actions import InvokeAcked, StartAttempt
from understudy_runtime.model.commands import (
    Callee,
    Delivered,
    LeaderElected,
    OutboxDelivered,
    Purge,
    Record,
    Signal,
    Suspend,
)
from understudy_runtime.model.invocation import Status, Success, Target
from understudy_runtime.storage.memory import MemoryMedium, MemoryStorage
from understudy_runtime.storage.port import StorageError

from tests.runtime.machine.driver import OBJECT, RUN, Driver, M, make_id, proposed


def stored(driver: Driver, table: bytes) -> int:
    return sum(1 for _ in driver.storage.scan(table))


def restarted(driver: Driver) -> None:
    """Everything is flushed and comes back from storage alone."""
    driver.flush()
    driver.tables = driver.reload()


def test_new_tables_are_empty_and_clean() -> None:
    tables = Tables.load(MemoryStorage(MemoryMedium()), 0, 1)
    assert (tables.applied_lsn, tables.epoch, tables.dirty_rows, outstanding(tables)) == (0, 0, 0, [])


def test_a_flush_remembers_where_it_stands() -> None:
    driver = Driver()
    driver.invoke()
    assert driver.tables.dirty_rows >= 2
    assert driver.tables.flush(driver.storage) == 3
    assert driver.storage.applied_lsn() == driver.tables.applied_lsn == 2
    assert driver.tables.dirty_rows == 0
    assert driver.tables.flush(driver.storage) == 1


def test_what_came_and_went_between_flushes_leaves_no_row() -> None:
    driver = Driver()
    id_ = driver.invoke()
    driver.attempt(id_, proposed(M.SLEEP, wake_up_time=9_000, result_completion_id=1))
    driver.finish(id_)
    driver.flush()
    assert [key for key, _ in driver.storage.scan(b"")] == [rows.META]


def test_everything_of_an_ended_invocation_leaves_storage() -> None:
    driver = Driver()
    id_ = driver.invoke(OBJECT)
    driver.attempt(id_, proposed(M.SLEEP, wake_up_time=9_000, result_completion_id=1))
    driver.flush()
    assert [stored(driver, table) for table in (rows.LIVE, rows.JOURNAL, rows.TIMER)] == [1, 2, 1]
    driver.finish(id_)
    driver.flush()
    assert [key for key, _ in driver.storage.scan(b"")] == [rows.META]


def test_a_kept_result_leaves_memory_and_is_found_again() -> None:
    driver = Driver()
    id_ = driver.invoke(completion_retention_ms=60_000)
    driver.flush()
    driver.finish(id_, b"kept")
    driver.flush()
    assert id_ not in driver.tables._invocations
    assert [stored(driver, table) for table in (rows.LIVE, rows.JOURNAL, rows.COMPLETED)] == [0, 0, 1]
    assert driver.at(id_).result == Success(b"kept")
    assert driver.tables.journal(id_) == []
    driver.flush()
    assert id_ not in driver.tables._invocations
    repeat = driver.do(driver.request(invocation_id=id_, request_id=3))
    assert repeat[0] == InvokeAcked(3, id_, False, 0)


def test_a_removed_row_is_not_seen_before_it_is_deleted() -> None:
    driver = Driver()
    id_ = driver.invoke(completion_retention_ms=60_000)
    driver.finish(id_)
    driver.flush()
    driver.do(Purge(id_))
    assert driver.status(id_) is Status.FREE
    again = driver.request(invocation_id=id_)
    assert driver.do(again) == [StartAttempt(id_, 1)]
    restarted(driver)
    assert driver.status(id_) is Status.INVOKED
    assert stored(driver, rows.COMPLETED) == 0


def test_an_invocation_that_comes_back_keeps_only_its_new_journal() -> None:
    driver = Driver()
    id_ = driver.invoke()
    driver.attempt(id_, *(proposed(M.RUN, result_completion_id=n) for n in (1, 2, 3)))
    driver.flush()
    driver.finish(id_)
    driver.do(driver.request(invocation_id=id_))
    restarted(driver)
    assert len(driver.tables.journal(id_)) == 1


def test_text_that_is_no_id_is_unknown() -> None:
    driver = Driver()
    for text in ("", "inv_1", "hello", "inv_1" + "é" * 33):
        assert driver.tables.invocation(text) is None
        assert driver.tables.journal(text) == ()


def test_waiting_and_woken_as_before_the_restart() -> None:
    driver = Driver()
    id_ = driver.invoke(OBJECT)
    driver.attempt(id_, proposed(M.SLEEP, wake_up_time=9_000, result_completion_id=1), end=Suspend((1,), (1, 17)))
    restarted(driver)
    assert driver.status(id_) is Status.SUSPENDED
    assert driver.tables.lock_holder("Counter", "k1") == id_
    assert driver.do(Signal(id_, 17)) == [StartAttempt(id_, 2)]
    restarted(driver)
    driver.fire(1)
    assert [found.type for found in driver.tables.journal(id_)] == [
        M.INPUT,
        M.SLEEP,
        M.SIGNAL_NOTIFICATION,
        M.SLEEP_COMPLETION,
    ]
    assert driver.suspend(id_, 1, signals=()) == [StartAttempt(id_, 3)]


def test_signals_and_consumed_cancels_are_remembered() -> None:
    driver = Driver()
    id_ = driver.invoke()
    driver.suspend(id_, signals=(1,))
    driver.do(Signal(id_, 1))
    driver.do(Signal(id_, 17))
    restarted(driver)
    assert driver.suspend(id_, signals=(1,)) == []
    driver.do(Signal(id_, 1))
    driver.do(Signal(id_, 18))
    restarted(driver)
    assert driver.suspend(id_, signals=(18,)) == [StartAttempt(id_, 4)]


def test_inboxes_come_back_in_order() -> None:
    driver = Driver()
    holder = driver.invoke(OBJECT)
    waiting = [make_id(number) for number in (90, 30, 60)]
    for id_ in waiting:
        driver.do(driver.request(OBJECT, invocation_id=id_))
    restarted(driver)
    assert list(driver.tables.inbox("Counter", "k1")) == waiting
    driver.finish(holder)
    assert driver.tables.lock_holder("Counter", "k1") == waiting[0]
    driver.invoke(OBJECT, invocation_id=make_id(1))
    assert list(driver.tables.inbox("Counter", "k1")) == [*waiting[1:], make_id(1)]


def test_attempts_come_back_in_the_order_they_were_started() -> None:
    driver = Driver()
    started = [make_id(number) for number in (90, 30, 60)]
    for id_ in started:
        driver.do(driver.request(invocation_id=id_))
    restarted(driver)
    assert outstanding(driver.tables) == [StartAttempt(id_, 1) for id_ in started]


def test_state_and_promises_come_back() -> None:
    driver = Driver()
    run = driver.invoke(RUN)
    driver.attempt(
        run,
        *(proposed(M.SET_STATE, key=key, value=pb.Value(content=key * 2)) for key in (b"a", b"b", b"")),
        proposed(M.COMPLETE_PROMISE, key="done", completion_value=pb.Value(content=b"v"), result_completion_id=1),
        proposed(M.GET_PROMISE, key="open", result_completion_id=2),
        end=Suspend((2,), (1,)),
    )
    restarted(driver)
    assert driver.tables.state("Signup", "user") == {b"": b"", b"a": b"aa", b"b": b"bb"}
    assert driver.tables.promises("Signup", "user")["done"].result == Success(b"v")
    shared = driver.invoke(Target("Signup", "approve", "user"))
    complete = proposed(M.COMPLETE_PROMISE, key="open", completion_value=pb.Value(), result_completion_id=1)
    assert StartAttempt(run, 2) in driver.attempt(shared, complete)
    driver.attempt(run, proposed(M.CLEAR_STATE, key=b"a"))
    restarted(driver)
    assert driver.tables.state("Signup", "user") == {b"": b"", b"b": b"bb"}


def test_no_objects_rows_are_taken_for_anothers() -> None:
    driver = Driver()
    for service, key in (("A", "k"), ("Ak", "k"), ("A", "kk")):
        id_ = driver.invoke(Target(service, "h", key))
        name = (service + key).encode()
        driver.attempt(id_, proposed(M.SET_STATE, key=b"k" + name, value=pb.Value(content=name)))
    restarted(driver)
    assert driver.tables.state("A", "k") == {b"kAk": b"Ak"}
    assert driver.tables.state("Ak", "k") == {b"kAkk": b"Akk"}
    assert driver.tables.state("A", "kk") == {b"kAkk": b"Akk"}


def test_the_outbox_comes_back_until_it_is_delivered() -> None:
    driver = Driver(0, 2)
    names = {"service_name": "S", "handler_name": "h"}
    caller = driver.invoke()
    for number in (1, 2):
        callee = Callee(make_id(number, 1, 2))
        driver.attempt(caller, proposed(M.ONE_WAY_CALL, callee, **names, invocation_id_notification_idx=number))
    before = outstanding(driver.tables)
    restarted(driver)
    assert outstanding(driver.tables) == before
    driver.do(OutboxDelivered(1, 1))
    restarted(driver)
    assert list(driver.tables.outbox[1]) == [2]


def test_objects_leave_memory_down_to_a_bound_idle_ones_first() -> None:
    driver = Driver(idle_objects_max=2)
    held = driver.invoke(Target("Counter", "add", "held"))
    for key in "abcd":
        id_ = driver.invoke(Target("Counter", "add", key))
        driver.attempt(id_, proposed(M.SET_STATE, key=b"n", value=pb.Value(content=key.encode())))
        driver.finish(id_)
    driver.flush()
    assert [key for _, key in driver.tables.objects._objects] == ["held", "d"]
    assert [driver.tables.state("Counter", key)[b"n"] for key in "abcd"] == [b"a", b"b", b"c", b"d"]
    assert driver.tables.lock_holder("Counter", "held") == held


def test_looking_keeps_nothing_in_memory_and_reading_back_counts() -> None:
    driver = Driver()
    ended = driver.invoke(completion_retention_ms=60_000)
    driver.finish(ended, b"kept")
    asleep = driver.invoke()
    driver.attempt(asleep, proposed(M.SLEEP, wake_up_time=9_000, result_completion_id=1))
    driver.suspend(asleep, 1)
    restarted(driver)
    tables = driver.tables
    for id_, status in ((ended, Status.COMPLETED), (asleep, Status.SUSPENDED)):
        found = tables.peek(id_)
        assert found is not None
        assert found.status is status
        assert found.raw == ids.raw_id(id_)
    assert [entry.type for entry in tables.journal(asleep)] == [M.INPUT, M.SLEEP]
    assert (tables._invocations, tables.dirty_rows) == ({}, 0)
    assert tables.peek("no id") is None
    assert tables.peek(make_id(77)) is None
    assert tables.invocation(ended) is tables.invocation(ended)
    assert tables.dirty_rows == 1, "whoever only reads back is bounded, too"
    driver.flush()
    assert (tables._invocations, tables.dirty_rows) == ({}, 0)


def test_a_newer_format_is_refused_by_name() -> None:
    driver = Driver()
    driver.flush()
    meta = cbor2.loads(driver.storage.get(rows.META) or b"")
    driver.storage.commit({rows.META: cbor2.dumps({**meta, 1: rows.FORMAT + 1})}, 9)
    with pytest.raises(StorageError, match=f"format {rows.FORMAT + 1}, this build reads up to {rows.FORMAT}"):
        Tables.load(driver.storage, 0, 1)


@pytest.mark.parametrize(("partition", "count"), [(1, 2), (0, 3)])
def test_another_partitions_store_is_refused(partition: int, count: int) -> None:
    driver = Driver(0, 2)
    driver.flush()
    with pytest.raises(StorageError, match=f"partition 0 of 2, partition {partition} of {count} was expected"):
        Tables.load(driver.storage, partition, count)


def test_unknown_fields_of_rows_are_ignored() -> None:
    driver = Driver()
    id_ = driver.invoke()
    driver.flush()
    [(key, value)] = driver.storage.scan(rows.LIVE)
    driver.storage.commit({key: cbor2.dumps({**cbor2.loads(value), 99: "new"})}, 9)
    assert Tables.load(driver.storage, 0, 1).invocation(id_) is not None


def test_a_gap_in_the_log_and_an_old_epoch_are_bugs() -> None:
    driver = Driver()
    with pytest.raises(AssertionError, match="no gaps"):
        apply(driver.tables, Record(3, 1_000, LeaderElected(2, RULES_CURRENT)))
    with pytest.raises(AssertionError, match="epochs only grow"):
        driver.do(LeaderElected(1, RULES_CURRENT))


def test_newer_rules_are_refused_by_name() -> None:
    with pytest.raises(RulesUnknown, match=f"rules {RULES_CURRENT + 1}, this build knows rules up to {RULES_CURRENT}"):
        Driver().do(LeaderElected(2, RULES_CURRENT + 1))


def test_who_waits_leaves_its_journal_in_storage() -> None:
    driver = Driver()
    id_, running = driver.invoke(OBJECT), driver.invoke()
    inboxed = driver.invoke(OBJECT)
    driver.attempt(id_, proposed(M.SLEEP, wake_up_time=9_000, result_completion_id=1), end=Suspend((1,), (1,)))
    driver.flush()
    assert [driver.at(found).journal is None for found in (id_, inboxed, running)] == [True, True, False]
    driver.do(Signal(inboxed, 17))
    driver.fire(1)
    assert [found.type for found in driver.tables.journal(id_)] == [M.INPUT, M.SLEEP, M.SLEEP_COMPLETION]
    assert len(driver.tables.journal(inboxed)) == 2
    restarted(driver)
    assert [len(driver.tables.journal(found)) for found in (id_, inboxed, running)] == [3, 2, 1]


def test_nothing_of_another_partition_is_taken() -> None:
    driver = Driver(0, 2)
    with pytest.raises(AssertionError, match="partition of its invocation"):
        driver.do(driver.request(invocation_id=make_id(1, 1, 2)))
    driver = Driver(0, 2)
    with pytest.raises(AssertionError, match="partition of its invocation"):
        driver.do(Delivered(1, 1, driver.request(invocation_id=make_id(1, 1, 2))))
