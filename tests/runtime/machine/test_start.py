"""The frames an attempt opens with."""

from __future__ import annotations

import pytest
from understudy.protocol import service_pb2 as pb
from understudy_runtime.machine.start import start_message
from understudy_runtime.model import ids
from understudy_runtime.model.invocation import HandlerType, Target

from tests.runtime.machine.driver import OBJECT, Driver, M, proposed


def opened(driver: Driver, id_: str, *, retry_count: int = 0, now_ms: int = 1_000, bytes_max: int = 1_000) -> pb.Start:
    frames = start_message(driver.tables, id_, retry_count=retry_count, now_ms=now_ms, eager_state_bytes_max=bytes_max)
    assert [(frame.type, frame.payload) for frame in frames[1:]] == [
        (entry.type, entry.payload) for entry in driver.tables.journal(id_)
    ]
    assert frames[0].type == M.START
    start = pb.Start.FromString(frames[0].payload)
    assert start.SerializeToString() == frames[0].payload
    assert start.known_entries == len(frames) - 1
    return start


def with_state(driver: Driver, **values: bytes) -> str:
    id_ = driver.invoke(OBJECT, random_seed=2**64 - 1)
    driver.attempt(id_, *(proposed(M.SET_STATE, key=k.encode(), value=pb.Value(content=v)) for k, v in values.items()))
    return id_


def test_a_plain_service_asks_for_nothing() -> None:
    driver = Driver()
    id_ = driver.invoke()
    start = opened(driver, id_)
    assert (start.id, start.debug_id, start.key) == (ids.raw_id(id_), id_, "")
    assert (start.partial_state, list(start.state_map)) == (True, [])
    assert (start.retry_count_since_last_stored_entry, start.duration_since_last_stored_entry) == (0, 0)


def test_an_object_gets_its_state_sorted() -> None:
    driver = Driver()
    id_ = with_state(driver, b=b"2", a=b"", c=b"3")
    start = opened(driver, id_)
    assert [(pair.key, pair.value) for pair in start.state_map] == [(b"a", b""), (b"b", b"2"), (b"c", b"3")]
    assert (start.partial_state, start.key, start.random_seed) == (False, "k1", 2**64 - 1)


def test_an_object_without_state_knows_that_it_has_none() -> None:
    driver = Driver()
    start = opened(driver, driver.invoke(OBJECT))
    assert (start.partial_state, len(start.state_map)) == (False, 0)


def test_a_shared_handler_reads_the_state_too() -> None:
    driver = Driver()
    with_state(driver, a=b"1")
    shared = driver.invoke(Target("Counter", "get", "k1"), handler_type=HandlerType.SHARED)
    assert [(pair.key, pair.value) for pair in opened(driver, shared).state_map] == [(b"a", b"1")]


@pytest.mark.parametrize(("bytes_max", "given"), [(6, 3), (5, 2), (4, 2), (3, 1), (1, 0), (0, 0)])
def test_state_above_the_bound_is_cut_and_said_to_be(bytes_max: int, given: int) -> None:
    driver = Driver()
    id_ = with_state(driver, a=b"1", b=b"2", c=b"3")
    start = opened(driver, id_, bytes_max=bytes_max)
    assert len(start.state_map) == given
    assert start.partial_state == (given < 3)


def test_retries_and_time_since_the_last_entry_are_told() -> None:
    driver = Driver()
    id_ = driver.invoke()
    driver.now_ms = 1_500
    driver.attempt(id_, proposed(M.RUN, result_completion_id=1))
    start = opened(driver, id_, retry_count=2, now_ms=1_800)
    assert (start.retry_count_since_last_stored_entry, start.duration_since_last_stored_entry) == (2, 300)
    assert opened(driver, id_, now_ms=100).duration_since_last_stored_entry == 0


def test_only_what_is_invoked_has_attempts() -> None:
    driver = Driver()
    id_ = driver.invoke()
    driver.suspend(id_, signals=(17,))
    with pytest.raises(AssertionError, match="INVOKED"):
        opened(driver, id_)
