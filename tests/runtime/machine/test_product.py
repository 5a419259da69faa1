"""Every command in every status: what it answers, where the invocation stands then, what the outside is asked for.

A row of PRODUCT is one command, a column one status.  A cell is `outcome STATUS actions`: the outcome is left out where
nobody is told one, the status where it stays, and the actions (without acknowledgements) are letters of ACTIONS in
alphabetical order, `.` for none.  The rows are those of protocol 5.1 to 5.9.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from understudy_runtime.machine.status import TRANSITIONS, WAITING
from understudy_runtime.model import actions as a
from understudy_runtime.model import commands as c
from understudy_runtime.model.invocation import Failure, Status, Success

from tests.runtime.machine.driver import OBJECT, Driver, M, make_id, output, proposed
from tests.runtime.machine.test_fold import IDS, SCRIPTS, SUCCESSORS, Play

ACTIONS = {
    a.AbortAttempt: "x",
    a.ArmTimer: "a",
    a.CheckDeadlock: "k",
    a.Completed: "c",
    a.DisarmTimer: "d",
    a.Notify: "n",
    a.Send: "m",
    a.StartAttempt: "s",
    a.InvokeAcked: "",
    a.RequestAcked: "",
}
# What is kept, is kept: an end leads to COMPLETED, not at once to FREE.
KEPT = {"completion_retention_ms": 60_000, "journal_retention_ms": 60_000}
FAR_CALLER = c.Caller(make_id(77, 1, 2), 3)
NEW = make_id(500, 0, 2)
COLUMNS = (
    Status.FREE,
    Status.SCHEDULED,
    Status.INBOXED,
    Status.INVOKED,
    Status.SUSPENDED,
    Status.PAUSED,
    Status.COMPLETED,
)


def brought_to(driver: Driver, status: Status) -> str:
    """An invocation of an object in *status*.  Whoever began has a sleep open; who is suspended awaits it, and 17."""
    if status is Status.FREE:
        return make_id(400, 0, 2)
    if status is Status.SCHEDULED:
        return driver.invoke(OBJECT, execution_time_ms=90_000, **KEPT)
    if status is Status.INBOXED:
        driver.invoke(OBJECT)
        return driver.invoke(OBJECT, **KEPT)
    id_ = driver.invoke(OBJECT, **KEPT)
    driver.attempt(id_, proposed(M.SLEEP, wake_up_time=80_000, result_completion_id=1))
    if status is Status.SUSPENDED:
        driver.attempt(id_, end=c.Suspend((1,), (1, 17), ("go",)))
    elif status is Status.PAUSED:
        driver.attempt(id_, end=c.GaveUp(Failure(500, "x"), pause=True))
    elif status is Status.COMPLETED:
        driver.finish(id_)
    return id_


Make = Callable[[Driver, str], c.Command]


def lease_of(driver: Driver, id_: str) -> int:
    found = driver.tables.invocation(id_)
    return 1 if found is None else found.lease


def said(
    *entries: c.ProposedEntry, end: c.AttemptEnd | None = None, lease: int = 0, epoch: int = 0, attempt: int = 1
) -> Make:
    """What an attempt of the lease that counts (or of *lease* before it, or of *epoch* before) says."""

    def make(driver: Driver, id_: str) -> c.Command:
        return c.AttemptOutput(
            id_, driver.epoch - epoch, lease_of(driver, id_) - lease, attempt, entries, end, "dp_1", 6
        )

    return make


def due(driver: Driver, id_: str) -> c.Command:
    """The timer of the invocation comes due; of one that has none, a timer that is gone."""
    found = driver.tables.invocation(id_)
    timers = {} if found is None else found.timers
    timer_id, due_ms = next(iter(timers.items()), (99, 5_000))
    driver.now_ms = max(driver.now_ms, due_ms)
    return c.TimerFired(due_ms, timer_id)


ONE_MORE = proposed(M.RUN, result_completion_id=5)
MAKES: dict[str, Make] = {
    "invoke": lambda d, i: d.request(OBJECT, invocation_id=i, request_id=9, **KEPT),
    "invoke from afar": lambda d, i: d.request(OBJECT, invocation_id=i, caller=FAR_CALLER, **KEPT),
    "entries": said(ONE_MORE),
    "suspend": said(end=c.Suspend((5,), (1,))),
    "suspend on what is there": said(
        ONE_MORE, proposed(M.PROPOSE_RUN_COMPLETION, value=b"", result_completion_id=5), end=c.Suspend((5,), (1,))
    ),
    "finish": said(output(b"o"), end=c.Finished()),
    "give up, fail": said(end=c.GaveUp(Failure(500, "x"), pause=False)),
    "give up, pause": said(end=c.GaveUp(Failure(500, "x"), pause=True)),
    "finish, old lease": said(output(b"o"), end=c.Finished(), lease=1),
    "finish, old epoch": said(output(b"o"), end=c.Finished(), epoch=1),
    "finish, old attempt": said(output(b"o"), end=c.Finished(), attempt=0),
    "timer": due,
    "complete": lambda _, i: c.Complete(i, 1, Success(b"v")),
    "complete, unknown": lambda _, i: c.Complete(i, 8, Success(b"v")),
    "complete, other life": lambda _, i: c.Complete(i, 1, Success(b"v"), 999),
    "awakeable": lambda _, i: c.Signal(i, 17, result=Success(b"v"), request_id=9),
    "signal, not awaited": lambda _, i: c.Signal(i, 18, result=Success(b"v"), request_id=9),
    "named signal": lambda _, i: c.Signal(i, 0, "go", request_id=9),
    "cancel": lambda _, i: c.Cancel(i, 9),
    "cancel as signal": lambda _, i: c.Signal(i, 1, request_id=9),
    "attach": lambda _, i: c.Attach(i, FAR_CALLER, wait=True),
    "output": lambda _, i: c.Attach(i, FAR_CALLER, wait=False),
    "kill": lambda _, i: c.Kill(i, 9),
    "pause": lambda _, i: c.Pause(i, 9),
    # As logs hold it from before suspended invocations could be resumed.
    "resume": lambda _, i: c.Resume(i, 9),
    "resume, idle": lambda d, i: c.Resume(i, 9, idle_lease=lease_of(d, i)),
    "resume, was idle": lambda d, i: c.Resume(i, 9, idle_lease=lease_of(d, i) + 1),
    "move": lambda _, i: c.Resume(i, 9, "dp_2"),
    "move, idle": lambda d, i: c.Resume(i, 9, "dp_2", lease_of(d, i)),
    "restart as new": lambda _, i: c.RestartAsNew(i, NEW, 9),
    "purge": lambda _, i: c.Purge(i, 9),
    "purge journal": lambda _, i: c.PurgeJournal(i, 9),
    "refuse": lambda _, i: c.Refuse(i, Failure(409, "r")),
    "refuse, other life": lambda _, i: c.Refuse(i, Failure(409, "r"), 999),
    "mutate": lambda _, i: c.MutateState("Counter", "k1", ((b"n", b"1"),), None, 9),
    "delivered": lambda _, i: c.Delivered(1, 1, c.Kill(i)),
    "outbox delivered": lambda _, i: c.OutboxDelivered(1, 5),
    "elect": lambda d, _: c.LeaderElected(d.epoch + 1, 2),
}
# FREE, SCHEDULED, INBOXED, INVOKED, SUSPENDED, PAUSED, COMPLETED
PRODUCT = {
    "invoke": "INVOKED s | . | . | . | . | . | c",
    "invoke from afar": "INVOKED s | . | k | k | k | k | m",
    "entries": ". | . | . | . | . | . | .",
    "suspend": ". | . | . | SUSPENDED . | . | . | .",
    "suspend on what is there": ". | . | . | s | . | . | .",
    "finish": ". | . | . | COMPLETED acd | . | . | .",
    "give up, fail": ". | . | . | COMPLETED acd | . | . | .",
    "give up, pause": ". | . | . | PAUSED . | . | . | .",
    "finish, old lease": ". | . | . | . | . | . | .",
    "finish, old epoch": ". | . | . | . | . | . | .",
    "finish, old attempt": ". | . | . | . | . | . | .",
    "timer": ". | INVOKED s | . | n | INVOKED s | . | .",
    "complete": ". | . | . | n | INVOKED s | . | .",
    "complete, unknown": ". | . | . | . | . | . | .",
    "complete, other life": ". | . | . | . | . | . | .",
    "awakeable": "not_found . | accepted . | accepted . | accepted n | accepted INVOKED s | accepted . | "
    "already_completed .",
    "signal, not awaited": "not_found . | accepted . | accepted . | accepted n | accepted . | accepted . | "
    "already_completed .",
    "named signal": "not_found . | accepted . | accepted . | accepted n | accepted INVOKED s | accepted . | "
    "already_completed .",
    "cancel": "not_found . | done COMPLETED acd | done COMPLETED ac | accepted n | accepted INVOKED s | "
    "accepted INVOKED s | already_completed .",
    "cancel as signal": "not_found . | done COMPLETED acd | done COMPLETED ac | accepted n | accepted INVOKED s | "
    "accepted INVOKED s | already_completed .",
    "attach": "m | . | k | k | k | k | m",
    "output": "m | m | m | m | m | m | m",
    "kill": "not_found . | done COMPLETED acd | done COMPLETED ac | done COMPLETED acdx | done COMPLETED acd | "
    "done COMPLETED acd | already_completed .",
    "pause": "not_found . | not_running . | not_running . | done PAUSED x | done PAUSED . | already_paused . | "
    "not_running .",
    "resume": "not_found . | not_started . | not_started . | done . | done . | done INVOKED s | already_completed .",
    "resume, idle": "not_found . | not_started . | not_started . | done s | done INVOKED s | done INVOKED s | "
    "already_completed .",
    "resume, was idle": "not_found . | not_started . | not_started . | done . | done . | done INVOKED s | "
    "already_completed .",
    "move": "not_found . | not_started . | not_started . | not_movable . | not_movable . | done INVOKED s | "
    "already_completed .",
    "move, idle": "not_found . | not_started . | not_started . | done s | done INVOKED s | done INVOKED s | "
    "already_completed .",
    "restart as new": "not_found . | not_started . | not_started . | not_completed . | not_completed . | "
    "not_completed . | done s",
    "purge": "not_found . | not_completed . | not_completed . | not_completed . | not_completed . | not_completed . | "
    "done FREE .",
    "purge journal": "not_found . | not_completed . | not_completed . | not_completed . | not_completed . | "
    "not_completed . | done .",
    "refuse": ". | . | COMPLETED ac | . | . | . | .",
    "refuse, other life": ". | . | . | . | . | . | .",
    "mutate": "done . | done . | accepted . | accepted . | accepted . | accepted . | done .",
    "delivered": ". | COMPLETED acd | COMPLETED ac | COMPLETED acdx | COMPLETED acd | COMPLETED acd | .",
    "outbox delivered": ". | . | . | . | . | . | .",
    "elect": ". | . | . | . | . | . | .",
}


def cells() -> list[tuple[str, Status, str]]:
    found = []
    for name, row in PRODUCT.items():
        columns = [cell.strip() for cell in row.split("|")]
        found += [(name, status, cell) for status, cell in zip(COLUMNS, columns, strict=True)]
    return found


def test_the_product_is_whole() -> None:
    driver = Driver(0, 2)
    assert {type(make(driver, make_id(1, 0, 2))) for make in MAKES.values()} == set(c.COMMAND_TAGS.values())
    assert list(PRODUCT) == list(MAKES)
    assert set(COLUMNS) == set(Status)
    assert len(cells()) == len(MAKES) * len(Status)


@pytest.mark.parametrize(("name", "before", "cell"), cells())
@pytest.mark.parametrize("is_stored", [False, True])
def test_every_command_in_every_status(name: str, before: Status, cell: str, is_stored: bool) -> None:
    *words, letters = cell.split()
    after = next((Status[word] for word in words if word.isupper()), before)
    outcome = next((word for word in words if word.islower()), None)
    driver = Driver(0, 2)
    id_ = brought_to(driver, before)
    assert driver.status(id_) is before
    if is_stored:
        driver.flush()
    leases = lease_of(driver, id_)
    found = driver.do(MAKES[name](driver, id_))
    assert driver.status(id_) is after
    assert [one.outcome for one in found if isinstance(one, a.RequestAcked)] == ([outcome] if outcome else [])
    assert "".join(sorted(ACTIONS[type(one)] for one in found)) == letters.replace(".", "")
    starts = [one for one in found if isinstance(one, a.StartAttempt) and one.invocation_id == id_]
    if before not in (Status.FREE, *WAITING):
        assert lease_of(driver, id_) == (leases + len(starts) if after is not Status.FREE else 1)
    assert all(one.lease == lease_of(driver, id_) for one in starts)
    reloaded = driver.reload().invocation(id_)
    assert (Status.FREE if reloaded is None else reloaded.status) is after


def test_whoever_was_paused_holds_its_lock_and_waits_for_nothing() -> None:
    driver = Driver()
    id_, waiter = driver.invoke(OBJECT), driver.invoke(OBJECT)
    driver.suspend(id_, 1)
    driver.do(c.Pause(id_))
    assert driver.tables.lock_holder("Counter", "k1") == id_
    assert driver.at(id_).awaiting is None
    assert driver.status(waiter) is Status.INBOXED


def test_what_comes_to_a_paused_invocation_is_there_when_it_runs_again() -> None:
    driver = Driver()
    id_ = driver.invoke(OBJECT)
    driver.attempt(
        id_, proposed(M.SLEEP, wake_up_time=5_000, result_completion_id=1), end=c.Suspend((1,), (1, 17), ("go",))
    )
    driver.do(c.Pause(id_))
    [timer_id] = driver.at(id_).timers
    driver.fire(timer_id)
    driver.do(c.Signal(id_, 17, result=Success(b"v")))
    driver.do(c.Signal(id_, 0, "go"))
    assert (driver.status(id_), len(driver.notes(id_))) == (Status.PAUSED, 3)
    driver.do(c.Resume(id_))
    assert (driver.status(id_), driver.at(id_).lease_entries) == (Status.INVOKED, 5)


def test_an_attempt_from_before_a_pause_is_fenced_also_after_the_resume() -> None:
    driver = Driver()
    id_ = driver.invoke(OBJECT)
    old = c.AttemptOutput(id_, 1, 1, 1, (output(b"old"),), c.Finished())
    assert driver.do(c.Pause(id_)) == [a.AbortAttempt(id_, 1)]
    assert driver.do(old) == []
    driver.do(c.Resume(id_))
    assert driver.do(old) == []
    assert driver.at(id_).lease == 2
    driver.finish(id_, b"new")
    assert driver.status(id_) is Status.FREE


def test_a_cancel_that_came_before_the_pause_does_not_undo_it() -> None:
    driver = Driver()
    id_ = driver.invoke(OBJECT)
    driver.do(c.Cancel(id_))
    driver.do(c.Pause(id_))
    assert driver.status(id_) is Status.PAUSED
    driver.do(c.Cancel(id_))
    assert driver.status(id_) is Status.INVOKED


# Whatever is said, in whatever order.


def ways(status: Status) -> set[Status]:
    """Where an invocation can stand one record later: a record may take several steps, also over a purge."""
    found, more = {status}, [status]
    while more:
        for following in TRANSITIONS[more.pop()].values():
            if following not in found:
                found.add(following)
                more.append(following)
    return found


@given(SCRIPTS)
@settings(max_examples=100, deadline=None)
def test_no_play_breaks_the_rules_of_an_invocation(script: list[tuple[int, int, int]]) -> None:
    played = Play()
    driver = played.driver
    known: dict[str, tuple[Status, int, int]] = {}
    do = driver.do

    def checked(command: c.Command) -> list[a.Action]:
        found = do(command)
        aborted = [one.invocation_id for one in found if isinstance(one, a.AbortAttempt)]
        for number in range(IDS + SUCCESSORS):
            id_ = make_id(number, 0, 2)
            one = driver.tables.peek(id_)
            now = (Status.FREE, 0, 0) if one is None else (one.status, one.birth, one.lease)
            before = known.get(id_, (Status.FREE, 0, 0))
            assert now[0] in ways(before[0])
            same_life = now[1] == before[1]
            if same_life and one is not None:
                assert now[2] >= before[2], "leases only grow"
                if before[0] is Status.COMPLETED:
                    assert now[0] is Status.COMPLETED
                left = before[0] is Status.INVOKED and now[0] is not Status.INVOKED
                if left and not isinstance(command, c.AttemptOutput):
                    assert id_ in aborted, "whose lease is taken from outside is cut"
            known[id_] = now
        starts = [one for one in found if isinstance(one, a.StartAttempt)]
        for start in starts:
            one = driver.tables.peek(start.invocation_id)
            assert one is None or one.birth != start.birth or one.lease >= start.lease
        return found

    driver.do = checked  # type: ignore[method-assign]
    for operation, first, second in script:
        played.operations[operation](first, second)
