"""The full product of statuses and events."""

from __future__ import annotations

import itertools

import pytest
from understudy_runtime.machine.status import HOLDING, TRANSITIONS, WAITING, StatusEvent, advance
from understudy_runtime.model.invocation import Status

from tests.runtime.machine.driver import Driver

S, E = Status, StatusEvent

LEGAL = {
    (S.FREE, E.SCHEDULED): S.SCHEDULED,
    (S.FREE, E.ENQUEUED): S.INBOXED,
    (S.FREE, E.STARTED): S.INVOKED,
    (S.SCHEDULED, E.ENQUEUED): S.INBOXED,
    (S.SCHEDULED, E.STARTED): S.INVOKED,
    (S.SCHEDULED, E.TERMINATED): S.COMPLETED,
    (S.INBOXED, E.STARTED): S.INVOKED,
    (S.INBOXED, E.TERMINATED): S.COMPLETED,
    (S.INVOKED, E.SUSPENDED): S.SUSPENDED,
    (S.INVOKED, E.RESUMED): S.INVOKED,
    (S.INVOKED, E.PAUSED): S.PAUSED,
    (S.INVOKED, E.FINISHED): S.COMPLETED,
    (S.INVOKED, E.TERMINATED): S.COMPLETED,
    (S.SUSPENDED, E.RESUMED): S.INVOKED,
    (S.SUSPENDED, E.PAUSED): S.PAUSED,
    (S.SUSPENDED, E.TERMINATED): S.COMPLETED,
    (S.PAUSED, E.RESUMED): S.INVOKED,
    (S.PAUSED, E.TERMINATED): S.COMPLETED,
    (S.COMPLETED, E.PURGED): S.FREE,
}


@pytest.mark.parametrize(("status", "event"), list(itertools.product(Status, StatusEvent)))
def test_every_pair_is_a_row_or_a_bug(status: Status, event: StatusEvent) -> None:
    driver = Driver()
    invocation = driver.at(driver.invoke())
    invocation.status = status
    if (status, event) in LEGAL:
        advance(invocation, event)
        assert invocation.status is LEGAL[(status, event)]
    else:
        with pytest.raises(AssertionError, match=f"{status.name} has no way for {event.name}"):
            advance(invocation, event)
        assert invocation.status is status


def test_every_status_can_be_reached_and_left() -> None:
    assert list(TRANSITIONS) == list(Status)
    reached = {target for row in TRANSITIONS.values() for target in row.values()}
    assert reached == set(Status)
    assert all(TRANSITIONS[status] for status in Status)


def test_waiting_and_holding_share_out_what_is_not_over() -> None:
    assert {*WAITING, *HOLDING} == set(Status) - {S.FREE, S.COMPLETED}
    assert not {*WAITING} & {*HOLDING}
