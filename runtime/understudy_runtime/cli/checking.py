"""Journals against code: each is replayed, and what does not fit is said with both sides.

What the handlers print while they replay goes to stderr.  A handler that neither waits nor ends is interrupted.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from types import FrameType
from typing import Any, Final

import attrs
from understudy.endpoint import App
from understudy.replaying import (
    Awaited,
    Command,
    Ended,
    ForeignAwait,
    Mismatch,
    NotHere,
    Raised,
    Replayed,
    commands_of,
    replay,
)

from understudy_runtime.cli.journals import Journal

STEPS_SHOWN: Final = 3
MISMATCH: Final = 570
NOT_HERE: Final = 404


class TooLong(KeyboardInterrupt):
    """A replay took longer than any replay does."""


@attrs.frozen
class Misfit:
    """The first thing that does not fit: at which step, what the journal has there, what the code does there.

    `recorded` and `replayed` are in words; None: there is no step.
    """

    code: int
    step: int | None
    recorded: str | None
    replayed: str | None
    message: str
    where: str = ""


@attrs.frozen
class Verdict:
    """What became of one journal.  `next` are the steps the code would take then, `fate` where they lead."""

    journal: Journal
    misfit: Misfit | None
    next: tuple[str, ...] = ()
    fate: str = ""

    @property
    def fits(self) -> bool:
        return self.misfit is None


def check(app: App, journals: Sequence[Journal], seconds_max: float) -> list[Verdict]:
    """Replay each of *journals* with *app*; a replay gets *seconds_max* seconds."""
    with redirect_stdout(sys.stderr):
        return [_verdict(app, one, seconds_max) for one in journals]


def _verdict(app: App, journal: Journal, seconds_max: float) -> Verdict:
    try:
        with _at_most(seconds_max):
            found = replay(app, journal.recorded)
    except TooLong:
        message = f"the handler neither waited nor ended within {seconds_max:g} s: it blocks or loops outside ctx.run"
        return Verdict(journal, Misfit(MISMATCH, None, None, None, message))
    except ValueError as error:
        return Verdict(journal, Misfit(MISMATCH, None, None, None, str(error)))
    steps = tuple(one.words for one in found.commands)
    return Verdict(journal, None if found.fits else _misfit(found), steps, _fate(found))


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raise TooLong in what runs here once *seconds* are over."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _misfit(found: Replayed) -> Misfit:
    fate = found.fate
    if isinstance(fate, Mismatch):
        recorded, replayed = _words(fate.recorded), _words(fate.replayed)
        if replayed is None and fate.awaited is not None:
            replayed = "wait for " + " or ".join(fate.awaited.lines)
        return Misfit(fate.code, fate.index, recorded, replayed, fate.message)
    if isinstance(fate, ForeignAwait):
        return Misfit(
            MISMATCH,
            None,
            None,
            None,
            f"the code cannot be replayed: {fate.detail}",
            f"{fate.site.filename}:{fate.site.line}",
        )
    if isinstance(fate, NotHere):
        return Misfit(NOT_HERE, None, None, None, fate.message)
    assert isinstance(fate, Raised), "nothing else does not fit"
    return Misfit(
        fate.code,
        fate.left[0].index,
        fate.left[0].words,
        None,
        f"the handler raised {fate.message} before it came there",
    )


def _words(command: Command | None) -> str | None:
    return None if command is None else command.words


def _fate(found: Replayed) -> str:
    fate = found.fate
    if isinstance(fate, Awaited):
        return "waits for " + " or ".join(fate.lines)
    if isinstance(fate, Ended):
        return "ends" if fate.failure is None else f"ends with failure {fate.failure.code}: {fate.failure.message}"
    if isinstance(fate, Raised):
        return f"raises {fate.message}, and is tried again"
    return ""


# -- telling --


def lines(verdict: Verdict) -> Iterator[str]:
    """A misfit for people: whose, the steps before, both sides, what it means."""
    misfit = verdict.misfit
    assert misfit is not None, "who fits is counted"
    journal = verdict.journal
    pinned = f", pinned to {journal.deployment_id}" if journal.deployment_id else ""
    yield f"{journal.recorded.invocation_id}  {journal.target}  ({journal.status or 'exported'}{pinned})"
    if misfit.step is not None:
        before = commands_of(journal.recorded.frames)[: misfit.step]
        if len(before) > STEPS_SHOWN:
            yield f"     … {len(before) - STEPS_SHOWN} steps before"
        for one in before[-STEPS_SHOWN:]:
            yield f"     {one.index:>4}  {one.words}"
        yield f"   - {misfit.step:>4}  {misfit.recorded or 'nothing more'}    (the journal)"
        yield f"   + {misfit.step:>4}  {misfit.replayed or 'no step'}    (this code)"
    has_both = misfit.code == MISMATCH and misfit.recorded is not None and misfit.replayed is not None
    yield f"     {misfit.code}: {'the code does not repeat its journal here' if has_both else misfit.message}"
    if misfit.where:
        yield f"     at {misfit.where}"


def summary(verdicts: Sequence[Verdict], waiting: int) -> str:
    """How many fit."""
    fitting = sum(one.fits for one in verdicts)
    text = f"{fitting} of {len(verdicts)} journals fit this code" if verdicts else "there is no journal to replay"
    if waiting:
        text += f"; {waiting} invocations have not begun and will run it from the start"
    return text


def as_json(verdicts: Sequence[Verdict], waiting: int) -> dict[str, Any]:
    """All of it."""
    return {
        "checked": len(verdicts),
        "fitting": sum(one.fits for one in verdicts),
        "waiting": waiting,
        "journals": [_one(one) for one in verdicts],
    }


def _one(verdict: Verdict) -> Mapping[str, Any]:
    journal = verdict.journal
    shown: dict[str, Any] = {
        "id": journal.recorded.invocation_id,
        "target": journal.target,
        "status": journal.status,
        "deployment_id": journal.deployment_id,
        "steps": len(journal.recorded.commands),
        "fits": verdict.fits,
        "next": list(verdict.next),
        "fate": verdict.fate,
    }
    if verdict.misfit is not None:
        shown["misfit"] = attrs.asdict(verdict.misfit)
    return shown
