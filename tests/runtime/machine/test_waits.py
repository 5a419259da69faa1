"""Who waits for what, and when that comes back to oneself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy.protocol import service_pb2 as pb
from understudy_runtime.machine.waits import (
    Wait,
    WaitKind,
    blockers_of,
    deadlocks,
    find_cycle,
    only_blockers_of,
    stuck,
    waits_of,
)
from understudy_runtime.model import ids
from understudy_runtime.model.actions import CheckDeadlock
from understudy_runtime.model.commands import (
    Attach,
    Callee,
    Caller,
    Cancel,
    GaveUp,
    Pause,
    ProposedEntry,
    Signal,
    Suspend,
)
from understudy_runtime.model.invocation import Failure, HandlerType, ServiceType, Status, Target

from tests.runtime.machine.driver import OBJECT, RUN, Driver, M, proposed

X, Y, Z = (Target("Counter", "add", key) for key in "xyz")


def call(driver: Driver, target: Target, number: int = 1) -> tuple[str, ProposedEntry]:
    """A call of *target* with completions 2n - 1 and 2n, and its callee's id."""
    callee = Callee(driver.id(), ServiceType.VIRTUAL_OBJECT, HandlerType.EXCLUSIVE)
    names = {"service_name": target.service, "handler_name": target.handler, "key": target.key or ""}
    at = {"invocation_id_notification_idx": 2 * number - 1, "result_completion_id": 2 * number}
    return callee.invocation_id, proposed(M.CALL, callee, **names, **at)


def calls(driver: Driver, caller: str, target: Target) -> str:
    """*caller* calls *target* and suspends; returns the callee's id."""
    callee, command = call(driver, target)
    driver.attempt(caller, command, end=Suspend((2,), (1,)))
    return callee


def told(driver: Driver, invocation_id: str) -> tuple[Wait, ...]:
    return waits_of(driver.tables, driver.at(invocation_id))


def circles(driver: Driver) -> tuple[tuple[str, ...], ...]:
    return deadlocks({one.id: only_blockers_of(driver.tables, one) for one in driver.tables.live()})


def cycle_from(driver: Driver, invocation_id: str) -> tuple[str, ...]:
    return find_cycle(lambda one: blockers_of(driver.tables, driver.at(one)), invocation_id)


# What is shown.


def test_who_has_not_begun_waits_for_its_time_or_its_lock() -> None:
    driver = Driver()
    later = driver.invoke(OBJECT, execution_time_ms=90_000)
    holder, waiter = driver.invoke(OBJECT), driver.invoke(OBJECT)
    assert told(driver, later) == (Wait(WaitKind.START, detail="90000"),)
    assert told(driver, holder) == ()
    assert told(driver, waiter) == (Wait(WaitKind.LOCK, holder, "Counter/k1"),)


def test_a_suspended_invocation_waits_for_what_it_awaits_alone() -> None:
    driver = Driver()
    id_, other = driver.invoke(X), driver.invoke(Y)
    callee, command = call(driver, Z)
    driver.attempt(
        id_,
        command,
        proposed(M.SLEEP, wake_up_time=70_000, result_completion_id=3),
        proposed(M.ATTACH_INVOCATION, Callee(other), invocation_id=other, result_completion_id=4),
        proposed(M.GET_INVOCATION_OUTPUT, Callee(other), invocation_id=other, result_completion_id=5, name="peek"),
    )
    lasting = (
        Wait(WaitKind.CALL, callee, "Counter/z/add"),
        Wait(WaitKind.SLEEP, detail="70000"),
        Wait(WaitKind.ATTACH, other),
    )
    assert told(driver, id_) == lasting
    driver.attempt(id_, end=Suspend((4, 2), (1, 2, 17), ("go",)))
    awakeable = ids.awakeable_id(id_, 17)
    assert told(driver, id_) == (
        lasting[0],
        lasting[2],
        Wait(WaitKind.SIGNAL, detail="2"),
        Wait(WaitKind.AWAKEABLE, detail=awakeable),
        Wait(WaitKind.SIGNAL, detail="go"),
    )


def test_a_step_a_promise_and_an_answer_on_its_way_are_waits() -> None:
    driver = Driver(0, 2)
    far = ids.invocation_id_text(b"\xff" * 24)
    run = driver.invoke(Target("Signup", "approve", "user"))
    driver.attempt(
        run,
        proposed(M.RUN, name="charge", result_completion_id=1),
        proposed(M.GET_PROMISE, key="paid", result_completion_id=2),
        proposed(M.GET_INVOCATION_OUTPUT, Callee(far), invocation_id=far, result_completion_id=3),
    )
    assert told(driver, run) == (
        Wait(WaitKind.RUN, detail="charge"),
        Wait(WaitKind.PROMISE, detail="paid"),
        Wait(WaitKind.OUTPUT, far),
    )


def test_who_is_paused_waits_for_somebody() -> None:
    driver = Driver()
    id_ = driver.invoke()
    driver.attempt(id_, end=GaveUp(Failure(500, "x"), pause=True))
    assert told(driver, id_) == (Wait(WaitKind.RESUME),)


def test_who_is_over_waits_for_nothing() -> None:
    driver = Driver()
    id_ = driver.invoke(completion_retention_ms=5_000)
    driver.finish(id_)
    assert told(driver, id_) == ()


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"workflow_target": pb.WorkflowTarget(workflow_name="Signup", workflow_key="u")}, ("Signup", "run", "u")),
        (
            {
                "idempotent_request_target": pb.IdempotentRequestTarget(
                    service_name="Counter", service_key="x", handler_name="add", idempotency_key="i"
                )
            },
            ("Counter", "add", "x"),
        ),
        (
            {
                "idempotent_request_target": pb.IdempotentRequestTarget(
                    service_name="Greeter", handler_name="greet", idempotency_key="i"
                )
            },
            ("Greeter", "greet", None),
        ),
    ],
)
def test_an_attach_is_told_by_the_id_its_names_mean(
    fields: dict[str, object], wanted: tuple[str, str, str | None]
) -> None:
    target = Target(*wanted)
    is_run = target.service == RUN.service
    types = HandlerType.WORKFLOW if is_run else HandlerType.EXCLUSIVE
    meant = ids.invocation_id_for(target, types, None if is_run else "i", 5, bytes(range(12)))
    driver = Driver()
    id_ = driver.invoke()
    driver.do(driver.request(target, invocation_id=meant))
    driver.attempt(id_, proposed(M.ATTACH_INVOCATION, Callee(meant), **fields, result_completion_id=1))
    assert told(driver, id_) == (Wait(WaitKind.ATTACH, meant),)


def test_waits_are_the_same_after_a_reload() -> None:
    driver = Driver()
    a, b = driver.invoke(X), driver.invoke(Y)
    callees = calls(driver, a, Y), calls(driver, b, X)
    before = [told(driver, one) for one in (a, b, *callees)]
    circle = circles(driver)
    assert circle
    driver.flush()
    driver.tables = driver.reload()
    assert [told(driver, one) for one in (a, b, *callees)] == before
    assert circles(driver) == circle


# Circles.


def test_two_that_call_each_other_are_a_circle_and_a_cancel_gets_out_of_it() -> None:
    driver = Driver()
    a, b = driver.invoke(X), driver.invoke(Y)
    to_y = calls(driver, a, Y)
    assert circles(driver) == ()
    to_x = calls(driver, b, X)
    assert sorted(cycle_from(driver, a)) == sorted((a, to_y, b, to_x))
    assert circles(driver) == (cycle_from(driver, min(a, to_y, b, to_x)),)
    driver.do(Cancel(to_x))
    assert circles(driver) == ()
    assert driver.status(b) is Status.INVOKED
    driver.finish(b)
    assert driver.status(to_y) is Status.INVOKED


def test_a_cancel_of_who_holds_a_lock_gets_out_of_it_too() -> None:
    driver = Driver()
    a, b = driver.invoke(X), driver.invoke(Y)
    calls(driver, a, Y)
    to_x = calls(driver, b, X)
    driver.do(Cancel(a))
    assert circles(driver) == ()
    assert driver.status(a) is Status.INVOKED
    driver.finish(a)
    assert driver.status(to_x) is Status.INVOKED


def test_three_in_a_row_are_a_circle() -> None:
    driver = Driver()
    a = driver.invoke(X)
    b = calls(driver, a, Y)
    c = calls(driver, b, Z)
    d = calls(driver, c, X)
    assert cycle_from(driver, d) == (d, a, b, c)
    assert circles(driver) == ((a, b, c, d),)


def test_who_calls_itself_is_a_circle() -> None:
    driver = Driver()
    a = driver.invoke(X)
    b = calls(driver, a, X)
    assert cycle_from(driver, b) == (b, a)
    assert circles(driver) == ((a, b),)
    driver.do(Cancel(b))
    assert driver.status(a) is Status.INVOKED
    assert [kind for kind, _ in driver.notes(a)] == [M.CALL_INVOCATION_ID_COMPLETION, M.CALL_COMPLETION]


def test_who_stands_behind_a_circle_is_stuck_and_no_member() -> None:
    driver = Driver()
    a = driver.invoke(X)
    calls(driver, a, X)
    behind = driver.invoke(X)
    assert behind in stuck({one.id: only_blockers_of(driver.tables, one) for one in driver.tables.live()})
    assert behind not in circles(driver)[0]


def test_a_paused_member_can_be_resumed_and_yet_closes_the_circle() -> None:
    """Nothing is reported while somebody can act; the policy goes by who needs whom to end."""
    driver = Driver()
    a = driver.invoke(X)
    inner = calls(driver, a, X)
    assert circles(driver) != ()
    driver.do(Pause(a))
    assert circles(driver) == ()
    assert set(cycle_from(driver, inner)) == {a, inner}


def test_who_attaches_to_itself_is_a_circle() -> None:
    driver = Driver()
    a = driver.invoke()
    command = proposed(M.ATTACH_INVOCATION, Callee(a), invocation_id=a, result_completion_id=1)
    driver.attempt(a, command, end=Suspend((1,), (1,)))
    assert circles(driver) == ((a,),)


@pytest.mark.parametrize("way_out", ["sleep", "awakeable", "named signal", "promise"])
def test_what_something_else_can_wake_is_no_deadlock(way_out: str) -> None:
    driver = Driver()
    a = driver.invoke(X)
    _, command = call(driver, X)
    sleep = proposed(M.SLEEP, wake_up_time=70_000, result_completion_id=3)
    promise = proposed(M.GET_PROMISE, key="p", result_completion_id=4)
    ends = {
        "sleep": Suspend((2, 3), (1,)),
        "awakeable": Suspend((2,), (1, 17)),
        "named signal": Suspend((2,), (1,), ("go",)),
        "promise": Suspend((2, 4), (1,)),
    }
    driver.attempt(a, command, sleep, promise, end=ends[way_out])
    assert circles(driver) == ()
    driver.attempt(a, end=None)
    assert cycle_from(driver, a) != (), "it cannot end before its call does"


def test_a_call_nobody_awaits_yet_is_no_deadlock_while_something_else_goes_on() -> None:
    driver = Driver()
    a = driver.invoke(X)
    _, command = call(driver, X)
    driver.attempt(a, command, proposed(M.RUN, name="s", result_completion_id=3))
    assert circles(driver) == ()
    driver.attempt(a, proposed(M.PROPOSE_RUN_COMPLETION, value=b"", result_completion_id=3))
    assert circles(driver) == (), "it may do without"
    driver.attempt(a, end=Suspend((2,), (1,)))
    assert len(circles(driver)) == 1


# Who is looked at.


def checks(actions: Sequence[object]) -> list[str]:
    return [action.invocation_id for action in actions if isinstance(action, CheckDeadlock)]


def test_a_call_that_must_wait_is_looked_at() -> None:
    driver = Driver()
    a, b = driver.invoke(X), driver.invoke(Y)
    callee, command = call(driver, Y)
    assert checks(driver.attempt(a, command)) == [callee]
    free, to_free = call(driver, Z, 2)
    assert checks(driver.attempt(a, to_free)) == []
    assert driver.status(free) is Status.INVOKED
    assert checks(driver.do(driver.request(Y))) == [], "a client waits for nothing of ours"
    assert checks(driver.do(driver.request(Y, caller=Caller(b, 9)))) != []


def test_a_call_that_joins_one_is_looked_at() -> None:
    driver = Driver()
    driver.invoke(X)
    waiter = driver.invoke(X, idempotency_key="i")
    caller = Caller(driver.invoke(Y), 2)
    assert checks(driver.do(driver.request(X, invocation_id=waiter, caller=caller))) == [waiter]
    assert checks(driver.do(Attach(waiter, caller, wait=True))) == [waiter]
    assert checks(driver.do(Attach(waiter, caller, wait=False))) == []


def test_a_call_to_what_has_not_begun_is_looked_at_when_it_must_wait() -> None:
    driver = Driver()
    driver.invoke(X)
    later = driver.invoke(X, execution_time_ms=90_000)
    caller = Caller(driver.invoke(Y), 2)
    assert checks(driver.do(Attach(later, caller, wait=True))) == []
    [timer_id] = list(driver.tables.timers)
    assert checks(driver.fire(timer_id)) == [later]


def test_calls_that_wait_are_found_again_after_a_reload() -> None:
    driver = Driver()
    a = driver.invoke(X)
    first, second = calls(driver, a, X), driver.invoke(X, caller=Caller(driver.invoke(Z), 2))
    driver.invoke(X)
    driver.do(Signal(a, 17))
    assert [one.id for one in driver.tables.calls_waiting()] == [first, second]
    driver.flush()
    driver.tables = driver.reload()
    assert [one.id for one in driver.tables.calls_waiting()] == [first, second]


# The graph itself.

GRAPHS = st.lists(st.lists(st.integers(0, 7), max_size=3), min_size=8, max_size=8).map(
    lambda rows: {str(node): [str(other) for other in row] for node, row in enumerate(rows)}
)


def reachable(graph: dict[str, list[str]], start: str) -> set[str]:
    found: set[str] = set()
    more = list(graph.get(start, ()))
    while more:
        one = more.pop()
        if one not in found:
            found.add(one)
            more += graph.get(one, ())
    return found


@given(GRAPHS)
def test_a_circle_is_found_wherever_one_is_reached(graph: dict[str, list[str]]) -> None:
    for start in graph:
        cycle = find_cycle(graph.__getitem__, start)
        ring = [one for one in (start, *reachable(graph, start)) if one in reachable(graph, one)]
        assert bool(cycle) == bool(ring)
        for one, following in zip(cycle, cycle[1:] + cycle[:1], strict=True):
            assert following in graph[one]
        assert len(set(cycle)) == len(cycle)


@given(GRAPHS, st.sets(st.integers(0, 7)))
def test_stuck_is_who_can_reach_nobody_that_moves(graph: dict[str, list[str]], moving: set[int]) -> None:
    waiting = {one: blockers for one, blockers in graph.items() if int(one) not in moving}
    free = {one for one in graph if one not in waiting or not waiting[one]}
    expected = {one for one in waiting if one not in free and not free & reachable(waiting, one)}
    assert set(stuck(waiting)) == expected
    members = {member for cycle in deadlocks(waiting) for member in cycle}
    assert members <= expected
    assert bool(members) == bool(expected)
    for one in expected:
        assert members & {one, *reachable(waiting, one)}, "each leads into a circle that is reported"


@given(GRAPHS)
def test_circles_are_those_that_whoever_is_stuck_comes_to(graph: dict[str, list[str]]) -> None:
    left = stuck(graph)
    found = [find_cycle(left.__getitem__, start) for start in left]
    assert all(found)
    assert {frozenset(one) for one in found} == {frozenset(one) for one in deadlocks(graph)}
    assert all(one[0] == min(one) for one in deadlocks(graph))


def test_a_circle_of_many_is_walked_once() -> None:
    """Every member used to walk all of it: two thousand took ten seconds."""
    asked: list[int] = []

    class Next(tuple[str, ...]):
        __slots__ = ()

        def __getitem__(self, index: Any) -> Any:
            asked.append(1)
            return super().__getitem__(index)

    count = 2_000
    circle = {str(number): Next([str((number + 1) % count)]) for number in range(count)}
    assert [len(one) for one in deadlocks(circle)] == [count]
    assert len(asked) == count
