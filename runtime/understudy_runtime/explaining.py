"""Who waits for whom, in words: the same for a server that runs and for a rehearsal that was stopped.

A `Waiter` has causes, any of which would let it go on.  A cause names the durable record that would wake the waiter,
who must produce that record, and what is known about whether anybody can.  Values in, lines out: whoever looked at a
server or at a rehearsal makes the values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from understudy_runtime.model.values import frozen


class Hope(StrEnum):
    """Whether what is waited for can come."""

    COMES = "comes"  # an event that is due leads there
    OTHER = "other"  # when the invocation *on* ends, and only then
    OUTSIDE = "outside"  # somebody outside can do it, who has not said that they will
    ANYBODY = "anybody"  # whoever still runs might do it; nobody if nobody does
    NOBODY = "nobody"  # nothing leads there any more


@frozen
class Cause:
    """One thing somebody waits for: *what*, in words that follow "waits for".

    *on* is the id of who can end the wait, *record* what would be durable then, *producer* who makes it, and *because*
    says why *hope* is what it is.
    """

    what: str
    on: str = ""
    record: str = ""
    producer: str = ""
    hope: Hope = Hope.OTHER
    because: str = ""


@frozen
class Waiter:
    """Somebody who has not come to an end.  *name* is for people, *state* follows "is"."""

    id: str
    name: str
    state: str
    causes: tuple[Cause, ...] = ()


@frozen
class Verdict:
    """What becomes of the waiters: who can go on by themselves, who only if somebody outside acts, and the circles."""

    moving: tuple[str, ...]
    at_others_mercy: tuple[str, ...]
    stuck: tuple[str, ...]
    circles: tuple[tuple[str, ...], ...]


# What a wait is called, by the machine's words (`machine/waits.py`): what, record, producer.
WORDS: Final = MappingProxyType[str, tuple[str, str, str]](
    {
        "start": ("its time{until}", "TimerFired", "the timers of the server"),
        "sleep": ("the end of its sleep{until}", "TimerFired", "the timers of the server"),
        "lock": ("the lock of {detail}, held by {on}", "the end of {on}", ""),
        "call": ("the answer of {on}, which it called", "Complete, when that one ends", ""),
        "attach": ("the end of {on}, which it attached to", "Complete, when that one ends", ""),
        "output": ("word whether {on} has ended", "Complete, at once", "the partition of {on}"),
        "promise": ("the promise {detail}", "a COMPLETE_PROMISE entry", "a handler of the same workflow"),
        "awakeable": ("the awakeable {detail}", "Signal", "whoever was given its id"),
        "signal": ("the signal {detail}", "Signal", "whoever sends it"),
        "run": ("its own step {detail}", "AttemptOutput with the step's result", "the attempt that executes it"),
        "retry": ("its next attempt{until}: the last one failed ({detail})", "AttemptOutput", "the server"),
        "resume": ("somebody to resume it: it is paused", "Resume", "an operator"),
        "slot": ("a slot to run in{detail}", "AttemptOutput", "the server, when an attempt that runs is over"),
        "place": ("a place to run at: {detail}", "AttemptOutput", "an operator, or a deployment that comes back"),
        "handler": ("its handler, which runs{detail}", "AttemptOutput", "the attempt"),
    }
)
COMING: Final = ("start", "sleep", "retry", "run", "slot", "handler", "output")
ASKED_OUTSIDE: Final = ("resume", "awakeable", "signal", "promise", "place")
CHAIN_MAX: Final = 24
CAUSES_MAX: Final = 8


def cause(kind: str, *, on: str = "", on_name: str = "", detail: str = "", until: str = "") -> Cause:
    """A wait of a *kind* in the usual words.  What is due comes; what others must do is up to them."""
    what, record, producer = WORDS[kind]
    said = {"on": on_name or on or "somebody", "detail": detail, "until": f", {until}" if until else ""}
    hope = Hope.COMES if kind in COMING else Hope.OUTSIDE if kind in ASKED_OUTSIDE else Hope.OTHER
    return Cause(what.format(**said), on, record.format(**said), producer.format(**said), hope)


# --- what becomes of them ---------------------------------------------------------------------------------------


def judged(waiters: Mapping[str, Waiter]) -> Verdict:
    """Who can go on: each needs one of its causes, and who waits for others needs one that can.

    A cause on somebody who is not among *waiters* is as good as its hope says.
    """
    moving = _moved(waiters, {}, (Hope.COMES,))
    if moving:
        moving = _moved(waiters, moving, (Hope.COMES, Hope.ANYBODY))
    mercy = _moved(waiters, moving, (Hope.COMES, Hope.OUTSIDE))
    stuck = {id_: one for id_, one in waiters.items() if id_ not in mercy}
    return Verdict(
        moving=tuple(moving),
        at_others_mercy=tuple(id_ for id_ in mercy if id_ not in moving),
        stuck=tuple(stuck),
        circles=_circles(stuck),
    )


def _moved(waiters: Mapping[str, Waiter], begun: Mapping[str, None], hopes: Sequence[Hope]) -> dict[str, None]:
    """Those of *waiters* who can go on when causes of *hopes* can, by themselves or after others."""
    moving = dict(begun)
    grew = True
    while grew:
        grew = False
        for id_, waiter in waiters.items():
            if id_ not in moving and any(_can(one, waiters, moving, hopes) for one in waiter.causes):
                moving[id_] = None
                grew = True
    return {id_: None for id_ in waiters if id_ in moving}


def _can(one: Cause, waiters: Mapping[str, Waiter], moving: Mapping[str, None], hopes: Sequence[Hope]) -> bool:
    return one.hope in hopes or (one.hope is Hope.OTHER and (one.on in moving or one.on not in waiters))


def _circles(stuck: Mapping[str, Waiter]) -> tuple[tuple[str, ...], ...]:
    """Each circle of those who wait for each other, from its smallest id."""
    found: dict[tuple[str, ...], None] = {}
    seen: dict[str, None] = {}
    for start in stuck:
        path: dict[str, None] = {}
        at = start
        while at in stuck and at not in seen and at not in path:
            path[at] = None
            at = next((one.on for one in stuck[at].causes if one.on in stuck), "")
        if at in path:
            members = list(path)
            circle = tuple(members[members.index(at) :])
            first = circle.index(min(circle))
            found[circle[first:] + circle[:first]] = None
        seen.update(path)
    return tuple(found)


# --- in words ---------------------------------------------------------------------------------------------------


def chain(
    waiters: Mapping[str, Waiter], start: str, verdict: Verdict | None = None, told: dict[str, None] | None = None
) -> list[str]:
    """Who waits for whom from *start* on, and what becomes of it.  Whom *told* has is not told of again."""
    assert start in waiters, "somebody waits"
    verdict = judged(waiters) if verdict is None else verdict
    before = dict(told or {})
    lines: list[str] = []
    here: dict[str, None] = {}
    at = start
    while at in waiters and at not in here and at not in before and len(here) < CHAIN_MAX:
        here[at] = None
        lines += _waiter_lines(waiters[at])
        at = _next(waiters[at], waiters, verdict)
    if told is not None:
        told.update(here)
    if at in before:
        lines.append(f"{waiters[at].name}: see above")
        return [*lines, f"verdict: {_in_short(start, verdict)}"]
    if at in here:
        lines.append(f"{waiters[at].name}: it is the one above")
    return [*lines, *_conclusion(waiters, start, verdict)]


def _next(waiter: Waiter, waiters: Mapping[str, Waiter], verdict: Verdict) -> str:
    """Whom to tell of next: who can still move, of several."""
    others = [one.on for one in waiter.causes if one.on in waiters]
    return next((one for one in others if one not in verdict.stuck), others[0] if others else "")


def _waiter_lines(waiter: Waiter) -> list[str]:
    id_ = f" ({waiter.id})" if waiter.id != waiter.name else ""
    lines = [f"{waiter.name}{id_}", f"  is {waiter.state}"]
    for number, one in enumerate(waiter.causes[:CAUSES_MAX]):
        lines.append(f"  {'or ' if number else ''}waits for {one.what}")
        if one.record:
            lines.append(f"    woken by {one.record}" + (f", made by {one.producer}" if one.producer else ""))
        if one.because:
            lines.append(f"    {one.because}")
    if len(waiter.causes) > CAUSES_MAX:
        lines.append(f"  or for {len(waiter.causes) - CAUSES_MAX} other things")
    return lines


def _in_short(start: str, verdict: Verdict) -> str:
    if start in verdict.moving:
        return "it goes on by itself"
    if start in verdict.at_others_mercy:
        return "it goes on if somebody outside does their part, and not by itself"
    return "it can never go on by itself"


def _conclusion(waiters: Mapping[str, Waiter], start: str, verdict: Verdict) -> list[str]:
    """What becomes of *start*; of who is stuck also why."""
    lines = [f"verdict: {_in_short(start, verdict)}"]
    if start not in verdict.stuck:
        return lines
    reached = reached_from(waiters, start)
    for circle in verdict.circles:
        if any(one in reached for one in circle):
            lines += [f"  {line}" for line in circle_lines(waiters, circle)]
    ends = [one for id_ in reached for one in waiters[id_].causes if one.hope in (Hope.NOBODY, Hope.ANYBODY)]
    for one in dict.fromkeys(ends):
        why = "nobody is left who could" if one.hope is Hope.ANYBODY else one.because
        because = f" ({why})" if why else ""
        lines.append(f"  nobody can produce {one.record or one.what}{because}")
    return lines


def circle_lines(waiters: Mapping[str, Waiter], circle: Sequence[str]) -> list[str]:
    """A circle, one member a line."""
    lines = [f"a circle of {len(circle)}; the end of any of them, by a cancel, lets the others on:"]
    for index, id_ in enumerate(circle):
        then = "the next" if index + 1 < len(circle) else "the first"
        lines.append(f"  {waiters[id_].name}, which waits for {then}")
    return lines


def reached_from(waiters: Mapping[str, Waiter], start: str) -> dict[str, None]:
    """Everybody whom *start* waits for, directly or not, and itself."""
    reached: dict[str, None] = {}
    to_look_at = [start]
    while to_look_at:
        at = to_look_at.pop()
        if at in waiters and at not in reached:
            reached[at] = None
            to_look_at += [one.on for one in reversed(waiters[at].causes) if one.on]
    return reached


def everything(waiters: Mapping[str, Waiter], chains_max: int) -> list[str]:
    """All chains: the circles, who is stuck, who needs somebody outside, the rest; nobody is told of twice."""
    verdict = judged(waiters)
    counts = (
        (len(verdict.stuck), "can never go on by themselves"),
        (len(verdict.at_others_mercy), "need somebody outside"),
        (len(verdict.moving), "go on by themselves"),
    )
    told_counts = ", ".join(f"{count} {what}" for count, what in counts if count)
    lines = [f"{len(waiters)} have not come to their end: {told_counts}"]
    told: dict[str, None] = {}
    in_circles = [one for circle in verdict.circles for one in circle[:1]]
    chains = 0
    for id_ in (*in_circles, *verdict.stuck, *verdict.at_others_mercy, *verdict.moving):
        if id_ in told:
            continue
        if chains == chains_max:
            left = sum(one not in told for one in waiters)
            return [*lines, "", f"… and {left} more: name one to be told of it"]
        chains += 1
        lines += ["", *chain(waiters, id_, verdict, told)]
    return lines
