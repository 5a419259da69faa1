"""What lasts on the page: whatever begins ends, at the latest with its process or with the run."""

from __future__ import annotations

from understudy_sim.report.lanes import bars, faults, lanes, locks
from understudy_sim.stage.chronicle import Chronicle, Event, Fact, Named

ID = "inv_1a"


def event(
    at_ns: int, kind: str, what: str = "", process: str = "server.1", invocation: str = "", **facts: Fact
) -> Event:
    return Event(
        number=1,
        at_ns=at_ns,
        step=1,
        process=process,
        kind=kind,
        what=what,
        invocation=invocation,
        facts=tuple(facts.items()),
    )


def run_of(*events: Event, ended_ns: int = 100) -> Chronicle:
    return Chronicle(
        scenario="made up",
        seed=0,
        variation="",
        digest="",
        steps=1,
        ended_ns=ended_ns,
        ending="",
        events=events,
        messages=(),
        invocations=(Named(number=1, id=ID, target="Room/north/enter"),),
    )


def drawn(chronicle: Chronicle) -> list[tuple[str, int, int]]:
    place = {name: index for index, name in enumerate(lanes(chronicle))}
    return [(bar[0], bar[2], bar[3]) for bar in bars(chronicle, place, {ID: 1})]


def test_a_crash_ends_what_the_process_was_doing() -> None:
    chronicle = run_of(
        event(1, "start"),
        event(2, "attempt.start", invocation=ID, lease=1, attempt=1),
        event(3, "start", process="endpoint.1"),
        event(4, "body.start", process="endpoint.1", invocation=ID, body=1),
        event(5, "crash"),
        event(6, "body.end", process="endpoint.1", body=1),
    )
    assert drawn(chronicle) == [("life", 1, 5), ("attempt", 2, 5), ("body", 4, 6), ("life", 3, 100)]


def test_statuses_follow_each_other() -> None:
    words = ((1, "INBOXED"), (5, "INVOKED"), (9, "COMPLETED"))
    chronicle = run_of(*(event(at_ns, "status", what, invocation=ID) for at_ns, what in words))
    assert drawn(chronicle) == [("status", 1, 5), ("status", 5, 9)]
    assert drawn(run_of(event(1, "status", "SUSPENDED", invocation=ID))) == [("status", 1, 100)]


def test_what_lasts_ends_when_faults_are_over() -> None:
    chronicle = run_of(
        event(1, "start"),
        event(10, "pause", lasts_ns=500),
        event(20, "fault", process="", fault="partition", on=("ann", "server"), lasts_ns=500),
        event(30, "fault", process="", fault="server_crash", on=("server",), lasts_ns=500),
        event(60, "heal", process=""),
        event(70, "fault", process="", fault="slow_link", on=("nobody",), lasts_ns=10),
    )
    assert ("pause", 10, 60) in drawn(chronicle)
    shaded = [(kind, on, begin, end) for kind, on, begin, end, *_ in faults(chronicle, {"server": 0})]
    assert shaded == [("partition", [0], 20, 60), ("server_crash", [0], 30, 30), ("slow_link", [], 70, 80)]


def test_a_lock_is_held_until_it_is_given_back_or_the_run_is_over() -> None:
    chronicle = run_of(
        event(1, "lock", invocation=ID, object="Room/north"),
        event(5, "unlock", invocation=ID, object="Room/north"),
        event(7, "lock", invocation=ID, object="Room/north"),
        event(8, "lock", invocation="inv_1b", object="Room/south"),
    )
    held = [(object_, begin, end, number) for object_, begin, end, number, _ in locks(chronicle, {ID: 1})]
    assert held == [("Room/north", 1, 5, 1), ("Room/north", 7, 100, 1), ("Room/south", 8, 100, 0)]


def test_lanes_go_from_who_asks_to_who_is_asked() -> None:
    names = ("mail.1", "endpoint.2", "server.3", "main.1", "operator.1")
    chronicle = run_of(*(event(1, "start", process=name) for name in names), event(2, "ask", process="bob.1"))
    assert lanes(chronicle) == ["bob", "operator", "server", "endpoint", "mail"]
