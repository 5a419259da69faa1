"""Where two runs of one scenario part, in words: from their chronicles, by what happened and not by when.

Events are compared lane by lane: what one process did, what one partition's log holds, what one client was answered.
Incarnations, times and the bytes of ids count for nothing; invocations are compared by their names.  So a run that is a
millisecond later is no other run, and two lanes that only took turns otherwise do not differ.

Two differences are told: the first one at all, and the first that lasts: a record, a journal entry, an answer, what an
external service did.
"""

from __future__ import annotations

import difflib
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from understudy_sim.stage.application import Application
from understudy_sim.stage.chronicle import Chronicle, Event
from understudy_sim.stage.chronicle_words import shortened
from understudy_sim.stage.chronicler import Chronicler
from understudy_sim.stage.run import run_seed
from understudy_sim.stage.scenario import Scenario
from understudy_sim.stage.silence import silent
from understudy_sim.stage.story import INVOCATION, seconds
from understudy_sim.stage.strategies.port import Trial

# What somebody else can see, or what a restart finds again.
LASTING: Final = frozenset({"record", "entry", "ended", "ledger", "answer", "gave_up", "act", "run"})
# What the runs were given, or what only says when: no difference by itself.
GIVEN: Final = frozenset(
    {"fault", "heal", "start", "exit", "crash", "pause", "sync", "synced", "disk.cut", "flush", "end", "violation"}
)
# What a page of two timelines leaves out.
BRIEF: Final = frozenset({"sync", "synced", "flush", "send", "receive", "request", "response", "status", "end"})
CONTEXT: Final = 3
WINDOW: Final = 200  # so many events are at least looked at for what goes with what
COLUMNS: Final = 118
LINES_MAX: Final = 3  # of what differs itself
_MILLISECONDS: Final = re.compile(r"\b\d{9,} ms\b")
_KNOWN_ONCE: Final = re.compile(r"\bin \d+ ms\b")


@attrs.frozen
class Difference:
    """Where two runs part: in which *lane*, what happened there in each (None: nothing more), what was before in both,
    and what came next in each."""

    lane: str
    one: Event | None
    other: Event | None
    before: tuple[Event, ...]
    next_one: tuple[Event, ...]
    next_other: tuple[Event, ...]

    @property
    def at_ns(self) -> int:
        """When they part: the earlier of the two."""
        return min(event.at_ns for event in (self.one, self.other) if event is not None)


class Comparison:
    """Two chronicles, event by event."""

    def __init__(self, one: Chronicle, other: Chronicle) -> None:
        self._names = [_names_of(one), _names_of(other)]
        self.runs = (one, other)

    def sign(self, side: int, event: Event) -> str:
        """What makes an event of one side equal to one of the other."""
        return f"{event.kind} {self.about(side, event)} {self.what(side, event)}"

    def names(self, side: int) -> dict[str, str]:
        """Invocations of one side: ids to names."""
        return self._names[side]

    def about(self, side: int, event: Event) -> str:
        """The invocation an event is about, by its name."""
        return self._names[side].get(event.invocation, "")

    def what(self, side: int, event: Event) -> str:
        """An event's words, with names instead of ids and without times."""
        names = self._names[side]
        text = INVOCATION.sub(lambda found: names.get(found.group(), "inv"), event.what)
        return _KNOWN_ONCE.sub("in a while", _MILLISECONDS.sub("its time", text))

    def first(self, kinds: frozenset[str] | None = None, never: frozenset[str] = GIVEN) -> Difference | None:
        """The earliest place where a lane of one run is not that of the other; only *kinds*, if they are named."""
        found: list[Difference] = []
        lanes = [self._lanes(side, kinds, never) for side in (0, 1)]
        for lane in dict.fromkeys((*lanes[0], *lanes[1])):
            parted = self._parted(lane, lanes[0].get(lane, []), lanes[1].get(lane, []))
            if parted is not None:
                found.append(parted)
        return min(found, key=lambda one: one.at_ns, default=None)

    def _lanes(self, side: int, kinds: frozenset[str] | None, never: frozenset[str]) -> dict[str, list[Event]]:
        lanes: dict[str, list[Event]] = {}
        for event in self.runs[side].events:
            if event.kind not in never and (kinds is None or event.kind in kinds):
                lanes.setdefault(lane_of(event), []).append(event)
        return lanes

    def _parted(self, lane: str, one: Sequence[Event], other: Sequence[Event]) -> Difference | None:
        length = max(len(one), len(other))
        for index in range(length):
            mine = one[index] if index < len(one) else None
            theirs = other[index] if index < len(other) else None
            if mine is None or theirs is None or self.sign(0, mine) != self.sign(1, theirs):
                return Difference(
                    lane,
                    mine,
                    theirs,
                    tuple(one[max(0, index - CONTEXT) : index]),
                    tuple(one[index + 1 : index + 1 + CONTEXT]),
                    tuple(other[index + 1 : index + 1 + CONTEXT]),
                )
        return None

    def aligned(self, limit: int, kinds_left_out: frozenset[str] = BRIEF) -> Iterator[tuple[str, int, Event]]:
        """The timelines beside each other, from a little before they part: (`=`, `-` or `+`, side, event).

        `-` is of the first run only, `+` of the second; at most *limit* of them.
        """
        sides = [[event for event in run.events if event.kind not in kinds_left_out] for run in self.runs]
        signs = [[f"{lane_of(event)} {self.sign(side, event)}" for event in sides[side]] for side in (0, 1)]
        same = next((index for index, pair in enumerate(zip(*signs, strict=False)) if pair[0] != pair[1]), None)
        if same is None and len(signs[0]) == len(signs[1]):
            return
        begin = max(0, (min(map(len, signs)) if same is None else same) - CONTEXT)
        mine, theirs = (texts[begin : begin + max(WINDOW, 4 * limit)] for texts in signs)
        given = 0
        for tag, a, b, c, d in difflib.SequenceMatcher(None, mine, theirs, autojunk=False).get_opcodes():
            rows = [("=", 0, index) for index in range(a, b)] if tag == "equal" else []
            if tag != "equal":
                rows = [*(("-", 0, index) for index in range(a, b)), *(("+", 1, index) for index in range(c, d))]
            for mark, side, index in rows:
                if given == limit:
                    return
                given += 1
                yield mark, side, sides[side][begin + index]


def lane_of(event: Event) -> str:
    """Where an event belongs: the log of a partition, or the process it happened in, whatever its incarnation."""
    partition = event.fact("partition")
    if partition is not None and event.kind not in ("leader", "replayed"):
        return f"partition {partition}"
    return event.process.partition(".")[0] or "the world"


def told(one: Chronicle, other: Chronicle, names: tuple[str, str]) -> str:
    """Both differences for people, a few lines each; *names* say which run is which."""
    comparison = Comparison(one, other)
    first = comparison.first()
    if first is None:
        return "nothing that happened differs"
    lasting = comparison.first(LASTING)
    lines = [f"The two runs part at {seconds(first.at_ns)}, in {first.lane}:", *_told(comparison, first, names)]
    if lasting is not None and (lasting.one, lasting.other) != (first.one, first.other):
        lines += [
            f"The first difference that lasts is at {seconds(lasting.at_ns)}, in {lasting.lane}:",
            *_told(comparison, lasting, names),
        ]
    return "\n".join(lines)


def _told(comparison: Comparison, difference: Difference, names: tuple[str, str]) -> list[str]:
    width = max(map(len, (*names, "both")))
    lines = [one_line(_line(comparison, 0, event, "both".ljust(width))) for event in difference.before]
    sides = ((difference.one, *difference.next_one), (difference.other, *difference.next_other))
    for side, events in enumerate(sides):
        name = names[side].ljust(width)
        given = [_line(comparison, side, event, name) for event in events[:2] if event is not None]
        lines += textwrap.wrap(given[0], COLUMNS, subsequent_indent=" " * 8)[:LINES_MAX] if given else []
        lines += [one_line(line) for line in given[1:]]
        if not given:
            lines.append(f"  {name}  (nothing more)")
    return lines


def _line(comparison: Comparison, side: int, event: Event, name: str) -> str:
    about = comparison.about(side, event)
    text = f"  {name}  {seconds(event.at_ns):>11}  {event.kind:<13} {about + '  ' if about else ''}{event.what}"
    names = comparison.names(side)
    return INVOCATION.sub(lambda found: names.get(found.group(), found.group()), " ".join(text.split("\n")))


def one_line(text: str) -> str:
    """*text* as one line, no longer than a page is wide."""
    return shortened(" ".join(text.split("\n")), COLUMNS)


def _names_of(chronicle: Chronicle) -> dict[str, str]:
    return {one.id: one.name for one in chronicle.invocations}


def chronicled(scenario: Scenario, trial: Trial) -> Chronicle:
    """Run *trial* and write down what happens."""
    chronicler = Chronicler()
    with silent():
        run_seed(scenario, Application(scenario.app), trial.seed, trial.variation, [chronicler])
    return chronicler.chronicle
