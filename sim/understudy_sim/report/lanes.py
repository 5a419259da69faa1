"""Which lanes a page has, and what lasts in them: lives, pauses, bodies, attempts, statuses, locks, faults.

A bar is `[kind, lane or number, begin_ns, end_ns, what, invocation, event]`: *event* is the index of the event that
began it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from understudy_sim.stage.chronicle import Chronicle, Event

# Faults that are over as soon as they have happened, whatever time was drawn for them.
AT_ONCE: Final = ("crash", "reset", "half_open", "clock", "drain", "down", "error", "silent", "lost", "torn")
LAST: Final = 2**62
# What begins a bar, and what ends it.
PAIRS: Final = MappingProxyType(
    {
        "start": ("life", ("crash", "exit")),
        "body.start": ("body", ("body.end",)),
        "attempt.start": ("attempt", ("attempt.end",)),
    }
)


def lanes(chronicle: Chronicle) -> list[str]:
    """Names of processes, from who asks to who is asked: clients, the server, endpoints, services outside."""
    clients: dict[str, None] = {}
    asked: dict[str, None] = {}
    for event in chronicle.events:
        if event.kind == "ask":
            clients[_name(event)] = None
        elif event.process and _name(event) != "main":
            asked[_name(event)] = None
    for message in chronicle.messages:
        asked[message.source.rpartition(".")[0]] = None
        asked[message.target.rpartition(".")[0]] = None
    others = [one for one in asked if one not in clients]
    return [*sorted(clients), *sorted(others, key=lambda name: (_rank(name), others.index(name)))]


def _rank(name: str) -> int:
    return 1 if name == "server" else 2 if name.startswith("endpoint") else 0 if name.startswith("operator") else 3


def _name(event: Event) -> str:
    return event.process.rpartition(".")[0]


def bars(chronicle: Chronicle, place: Mapping[str, int], numbers: Mapping[str, int]) -> list[list[Any]]:
    """What lasts in the lanes of processes, and the statuses of invocations."""
    return [*_paired(chronicle, place, numbers), *_pauses(chronicle, place), *_statuses(chronicle, numbers)]


def _paired(chronicle: Chronicle, place: Mapping[str, int], numbers: Mapping[str, int]) -> Iterator[list[Any]]:
    opened: dict[tuple[Any, ...], tuple[int, Event]] = {}
    enders = {ender: kind for kind, enders in PAIRS.values() for ender in enders}
    for index, event in enumerate(chronicle.events):
        if event.kind in PAIRS:
            opened[_key(PAIRS[event.kind][0], event)] = index, event
        elif event.kind in enders:
            begun = opened.pop(_key(enders[event.kind], event), None)
            if begun is not None:
                yield _bar(enders[event.kind], begun, event.at_ns, place, numbers)
        if event.kind in ("crash", "exit"):
            # Whatever a process was doing is over with it.
            for key in [key for key in opened if key[1] == event.process]:
                yield _bar(key[0], opened.pop(key), event.at_ns, place, numbers)
    for key, begun in opened.items():
        yield _bar(key[0], begun, chronicle.ended_ns, place, numbers)


def _key(kind: str, event: Event) -> tuple[Any, ...]:
    """By what a begin and its end belong together."""
    if kind == "body":
        return kind, event.process, event.fact("body")
    if kind == "attempt":
        return kind, event.process, event.invocation, event.fact("lease"), event.fact("attempt")
    return kind, event.process


def _bar(
    kind: str, begun: tuple[int, Event], end_ns: int, place: Mapping[str, int], numbers: Mapping[str, int]
) -> list[Any]:
    index, event = begun
    lane = place.get(_name(event), -1)
    return [kind, lane, event.at_ns, end_ns, event.what, numbers.get(event.invocation, 0), index]


def _pauses(chronicle: Chronicle, place: Mapping[str, int]) -> Iterator[list[Any]]:
    ends = _heals(chronicle)
    for index, event in enumerate(chronicle.events):
        if event.kind == "pause":
            end_ns = min(event.at_ns + int(event.fact("lasts_ns", 0)), _next(ends, event.at_ns), chronicle.ended_ns)
            yield ["pause", place.get(_name(event), -1), event.at_ns, end_ns, event.what, 0, index]


def _statuses(chronicle: Chronicle, numbers: Mapping[str, int]) -> Iterator[list[Any]]:
    """One bar for each status that an invocation goes through; the lane is the invocation's number."""
    current: dict[str, tuple[int, Event]] = {}
    for index, event in enumerate(chronicle.events):
        if event.kind == "status" and event.invocation in numbers:
            yield from _status(current.pop(event.invocation, None), event.at_ns, numbers)
            if event.what not in ("COMPLETED", "FORGOTTEN"):
                current[event.invocation] = index, event
    for begun in current.values():
        yield from _status(begun, chronicle.ended_ns, numbers)


def _status(begun: tuple[int, Event] | None, end_ns: int, numbers: Mapping[str, int]) -> Iterator[list[Any]]:
    if begun is not None:
        index, event = begun
        number = numbers[event.invocation]
        yield ["status", number, event.at_ns, end_ns, event.what, number, index]


def locks(chronicle: Chronicle, numbers: Mapping[str, int]) -> list[list[Any]]:
    """`[object, begin_ns, end_ns, invocation, event]` for each time that an object was held."""
    held: dict[str, tuple[int, Event]] = {}
    found: list[list[Any]] = []
    for index, event in enumerate(chronicle.events):
        object_ = event.fact("object", "")
        if event.kind == "lock":
            held[object_] = index, event
        elif event.kind == "unlock" and object_ in held:
            found.append(_held(object_, held.pop(object_), event.at_ns, numbers))
    found += [_held(object_, begun, chronicle.ended_ns, numbers) for object_, begun in held.items()]
    return sorted(found, key=lambda one: (one[0], one[1]))


def _held(object_: str, begun: tuple[int, Event], end_ns: int, numbers: Mapping[str, int]) -> list[Any]:
    index, event = begun
    return [object_, event.at_ns, end_ns, numbers.get(event.invocation, 0), index]


def faults(chronicle: Chronicle, place: Mapping[str, int]) -> list[list[Any]]:
    """`[kind, lanes, begin_ns, end_ns, what, event]`; what happens at once ends where it begins."""
    ends = _heals(chronicle)
    found: list[list[Any]] = []
    for index, event in enumerate(chronicle.events):
        if event.kind == "fault":
            kind = str(event.fact("fault", ""))
            lasts_ns = 0 if any(word in kind for word in AT_ONCE) else int(event.fact("lasts_ns", 0))
            end_ns = min(event.at_ns + lasts_ns, _next(ends, event.at_ns), max(chronicle.ended_ns, event.at_ns))
            on = [place[one.strip()] for one in event.fact("on", ()) if one.strip() in place]
            found.append([kind, on, event.at_ns, end_ns, event.what, index])
    return found


def _heals(chronicle: Chronicle) -> list[int]:
    return [event.at_ns for event in chronicle.events if event.kind == "heal"]


def _next(ends: list[int], at_ns: int) -> int:
    """When faults are over next."""
    return next((one for one in ends if one >= at_ns), LAST)
