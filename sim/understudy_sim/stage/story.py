"""How a failure is told: the claim, which operation, which fault, what differed.  Built only when something broke."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import Final

from understudy_sim.kernel.clock import NS_PER_S
from understudy_sim.stage.history import Asked, History
from understudy_sim.stage.report import Report, Story
from understudy_sim.stage.tally import Firing, Tally
from understudy_sim.stage.truth import Truth
from understudy_sim.stage.watch import Violation

INVOCATION: Final = re.compile(r"inv_1[0-9A-Za-z]{33}")
FIRINGS_MAX: Final = 3
DETAIL_CHARACTERS_MAX: Final = 600
DETAIL_LINES_MAX: Final = 4  # behind the first: it says what happened, they who was where
DETAIL_LINE_CHARACTERS_MAX: Final = 180
UNDER: Final = " " * 13  # where what is told of a word begins
WIDTH: Final = 100
ACTS_MAX: Final = 3
CALLERS_MAX: Final = 100
CHAIN_LINES_MAX: Final = 40


def tell(violation: Violation, truth: Truth, history: History, tally: Tally, chain: Sequence[str] = ()) -> Story:
    """The story of one violation.  *chain* says who waits for whom, where that is what broke."""
    found = INVOCATION.search(violation.what)
    invocation_id = violation.invocation_id or (found.group() if found else "")
    return Story(
        claim=violation.claim,
        operation=_operation(invocation_id, truth, history, violation),
        fault=_fault(tally.firings, violation.at_ns),
        difference=violation.what.partition("\n")[0] if chain and violation.invocation_id else violation.what,
        at_ns=violation.at_ns,
        chain=tuple(chain),
    )


def _operation(invocation_id: str, truth: Truth, history: History, violation: Violation) -> str:
    asked = _asked_for(invocation_id, truth, history)
    acts = _acts_on(invocation_id, truth, history, violation)
    command = truth.commands.get(invocation_id)
    if command is None:
        before = [one for one in history.asked if one.asked_ns <= violation.at_ns]
        if not before:
            return "before any operation"
        return f"after {before[-1].operation}, asked at {seconds(before[-1].asked_ns)}"
    target = command.target
    place = target.service if target.key is None else f"{target.service}/{target.key}"
    told = f"{place}/{target.handler} ({invocation_id})"
    if asked is not None:
        told = f"{asked.call}, asked at {seconds(asked.asked_ns)}, which came to {told}"
    return "; ".join([told, *acts])


def _acts_on(invocation_id: str, truth: Truth, history: History, violation: Violation) -> list[str]:
    """What operators had done to the invocation, or to whoever called it, by then."""
    meant = _with_callers(invocation_id, truth)
    return [
        f"{one.act}, answered {one.status} at {seconds(one.at_ns)}"
        for one in history.acted
        if one.invocation_id in meant and one.at_ns <= violation.at_ns
    ][-ACTS_MAX:]


def _with_callers(invocation_id: str, truth: Truth) -> list[str]:
    """The invocation, and who called it, up to the one a client asked for."""
    found = [invocation_id]
    while found[-1] in truth.callers and len(found) < CALLERS_MAX:
        found.append(truth.callers[found[-1]])
    return found


def _asked_for(invocation_id: str, truth: Truth, history: History) -> Asked | None:
    """The client's call that led to an invocation, through whoever called it."""
    root = truth.commands.get(_with_callers(invocation_id, truth)[-1])
    if root is None or not root.idempotency_key:
        return None
    asked = (one for one in history.asked if one.attach is None)
    return next((one for one in asked if one.idempotency_key == root.idempotency_key), None)


def _fault(firings: Sequence[Firing], at_ns: int) -> str:
    before = [one for one in firings if one.at_ns <= at_ns][-FIRINGS_MAX:]
    if not before:
        return "none: it breaks on a good day"
    return "; ".join(f"{one.kind} of {one.what} at {seconds(one.at_ns)}" for one in reversed(before))


def seconds(ns: int) -> str:
    """Virtual time for people: 4.815 s."""
    return f"{ns / NS_PER_S:.3f} s"


def describe_story(story: Story) -> str:
    """The claim, what is told of it, and who waits for whom where that is what broke: for a terminal, or a log."""
    first, *rest = story.difference.split("\n")
    lines = [
        story.claim,
        *_lines("  operation  ", story.operation),
        *_lines("  fault      ", story.fault),
        *_lines("  differs    ", _cut(first, DETAIL_CHARACTERS_MAX)),
        *(one for line in rest[:DETAIL_LINES_MAX] for one in _lines(UNDER, _cut(line, DETAIL_LINE_CHARACTERS_MAX))),
    ]
    if len(rest) > DETAIL_LINES_MAX:
        lines.append(f"{UNDER}  … {len(rest) - DETAIL_LINES_MAX} lines more")
    for number, line in enumerate(story.chain[:CHAIN_LINES_MAX]):
        lines += _lines(UNDER if number else "  waits      ", line)
    if len(story.chain) > CHAIN_LINES_MAX:
        lines.append(f"{UNDER}… {len(story.chain) - CHAIN_LINES_MAX} lines more: ask `understudy why`")
    return "\n".join(line.rstrip() for line in lines)


def _lines(word: str, text: str) -> list[str]:
    """What is told of *word*, in lines that fit a terminal; the further ones under the first."""
    told = text.lstrip()
    first = word + " " * (len(text) - len(told))
    return textwrap.wrap(
        told,
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first]


def _cut(text: str, characters_max: int) -> str:
    return text if len(text) <= characters_max else f"{text[:characters_max]} …"


def describe_run(report: Report) -> str:
    """The operations and faults of one run, in order."""
    lines = [f"operations ({len(report.calls)})"]
    lines += [f"  {call}" for call in report.calls]
    lines.append(f"faults ({len(report.firings)})" if report.firings else "faults (none)")
    lines += [f"  {seconds(one.at_ns):>12}  {one.kind} of {one.what}" for one in report.firings]
    return "\n".join(lines)
