"""State changed from outside: in the object's turn, all of it or nothing, and not for another state."""

from __future__ import annotations

import pytest
from understudy.protocol import service_pb2 as pb
from understudy_runtime.machine.mutations import state_version
from understudy_runtime.model.actions import RequestAcked, StartAttempt
from understudy_runtime.model.commands import Cancel, Kill, MutateState
from understudy_runtime.model.invocation import HandlerType, ServiceType, Status, Target

from tests.runtime.machine.driver import OBJECT, RUN, Driver, M, proposed

PLACE = ("Counter", "k1")


def mutation(*entries: tuple[bytes, bytes], version: str | None = None, request_id: int = 7) -> MutateState:
    return MutateState(*PLACE, entries, version, request_id)


def state(driver: Driver) -> dict[bytes, bytes]:
    return dict(driver.tables.state(*PLACE))


def setting(name: bytes, value: bytes) -> object:
    return proposed(M.SET_STATE, key=name, value=pb.Value(content=value))


def restart(driver: Driver, *, flushed: bool) -> None:
    if flushed:
        driver.flush()
    driver.tables = driver.reload()


def test_a_free_object_is_changed_at_once() -> None:
    driver = Driver()
    assert driver.do(mutation((b"a", b"1"), (b"b", b"2"))) == [RequestAcked(7, "", "done")]
    assert state(driver) == {b"a": b"1", b"b": b"2"}
    driver.do(mutation((b"b", b"3"), request_id=0))
    assert state(driver) == {b"b": b"3"}
    assert driver.do(mutation()) == [RequestAcked(7, "", "done")]
    assert state(driver) == {}


@pytest.mark.parametrize("flushed", [False, True])
def test_a_busy_object_is_changed_behind_those_before(flushed: bool) -> None:
    driver = Driver()
    first, second = driver.invoke(OBJECT), driver.invoke(OBJECT)
    assert driver.do(mutation((b"n", b"outside"))) == [RequestAcked(7, "", "accepted")]
    third = driver.invoke(OBJECT)
    driver.do(mutation((b"m", b"later")))
    restart(driver, flushed=flushed)
    driver.attempt(first, setting(b"n", b"first"))  # type: ignore[arg-type]
    assert StartAttempt(second, 1) in driver.finish(first)
    assert state(driver) == {b"n": b"first"}
    assert driver.tables.inbox(*PLACE)[0] == mutation((b"n", b"outside"))
    assert StartAttempt(third, 1) in driver.finish(second)
    assert state(driver) == {b"n": b"outside"}, "P2: in its turn"
    restart(driver, flushed=flushed)
    driver.finish(third)
    assert state(driver) == {b"m": b"later"}
    assert driver.tables.lock_holder(*PLACE) is None
    assert driver.tables.inbox(*PLACE) == ()


def test_a_version_is_compared_in_its_turn() -> None:
    driver = Driver()
    driver.do(mutation((b"n", b"1")))
    version = state_version({b"n": b"1"})
    holder = driver.invoke(OBJECT)
    driver.do(mutation((b"n", b"2"), version=version))
    driver.do(mutation((b"n", b"3"), version=version))
    driver.finish(holder)
    assert state(driver) == {b"n": b"2"}, "the first found its version, the second another and was dropped"


def test_who_leaves_the_inbox_leaves_the_mutation_in_its_place() -> None:
    driver = Driver()
    holder, waiting, last = driver.invoke(OBJECT), driver.invoke(OBJECT), driver.id()
    driver.do(mutation((b"n", b"2")))
    driver.do(driver.request(OBJECT, invocation_id=last))
    driver.do(Cancel(waiting))
    assert driver.tables.inbox(*PLACE) == (mutation((b"n", b"2")), last)
    driver.do(Kill(holder))
    assert state(driver) == {b"n": b"2"}
    assert driver.status(last) is Status.INVOKED


def test_a_workflow_has_no_lock_to_wait_for() -> None:
    driver = Driver()
    run = driver.invoke(RUN)
    change = MutateState(RUN.service, "user", ((b"n", b"1"),))
    assert driver.do(change) == []
    assert dict(driver.tables.state(RUN.service, "user")) == {b"n": b"1"}
    assert driver.status(run) is Status.INVOKED


def test_the_version_of_a_state_is_what_clients_compute() -> None:
    """Sorted by name; per entry its number as eight bytes, 1, the name, 2, the value, 3."""
    one, other = state_version({b"a": b"1", b"b": b""}), state_version({b"b": b"", b"a": b"1"})
    assert one == other
    assert one == "tobTvkeRI94_8prWCxqOP_XvP4HOAIvJS3j8Fj0JbT0"
    assert state_version({b"a": b"1"}) != one


def test_a_shared_handler_does_not_hold_a_mutation_up() -> None:
    driver = Driver()
    driver.invoke(
        Target("Counter", "get", "k1"), service_type=ServiceType.VIRTUAL_OBJECT, handler_type=HandlerType.SHARED
    )
    assert driver.do(mutation((b"n", b"1"))) == [RequestAcked(7, "", "done")]
