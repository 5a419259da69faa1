"""Fills the page.  Equal chronicles give equal bytes.

Whatever a run's payloads say is text: the data is JSON without `<`, `>` and `&`, in a block that is no script, and the
script never makes markup of it.  The page's own policy forbids it to load or send anything.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from importlib.resources import files
from string import Template
from typing import Any, Final

from understudy_sim.report.lanes import bars, faults, lanes, locks
from understudy_sim.stage.chronicle import KINDS, Chronicle
from understudy_sim.stage.report import Story

# What could end the block the data is in, or a line of it for an old reader.
ESCAPED: Final = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


def page(chronicle: Chronicle, stories: Sequence[Story], line: str = "") -> str:
    """The whole page.  *line* names the run on a command line, behind `understudy replay`."""
    folder = files("understudy_sim.report")
    template = Template(folder.joinpath("report.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=html.escape(f"{chronicle.scenario}, seed {chronicle.seed:#x}"),
        style=folder.joinpath("report.css").read_text(encoding="utf-8"),
        script=folder.joinpath("report.js").read_text(encoding="utf-8"),
        data=embedded(data(chronicle, stories, line)),
    )


def embedded(value: Any) -> str:
    """*value* as JSON that nothing in it can lead out of."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(ESCAPED)


def data(chronicle: Chronicle, stories: Sequence[Story], line: str) -> dict[str, Any]:
    """What the script draws: tables of small rows, which name processes and kinds by their place in a list."""
    processes = lanes(chronicle)
    place = {name: index for index, name in enumerate(processes)}
    numbers = {one.id: one.number for one in chronicle.invocations}
    kinds = list(KINDS)
    return {
        "scenario": chronicle.scenario,
        "seed": f"{chronicle.seed:#x}",
        "line": line,
        "digest": chronicle.digest,
        "steps": chronicle.steps,
        "ended": chronicle.ended_ns,
        "ending": chronicle.ending,
        "variation": chronicle.variation,
        "stories": [_story(one) for one in stories],
        "kinds": kinds,
        "kindTexts": list(KINDS.values()),
        "processes": processes,
        "invocations": [
            [one.number, one.id, one.target, one.label, numbers.get(one.caller, 0)] for one in chronicle.invocations
        ],
        "events": [
            [
                one.at_ns,
                one.step,
                place.get(one.process.rpartition(".")[0], -1),
                int(one.process.rpartition(".")[2] or 0),
                kinds.index(one.kind),
                numbers.get(one.invocation, 0),
                one.what,
                {name: list(fact) if isinstance(fact, tuple) else fact for name, fact in one.facts},
            ]
            for one in chronicle.events
        ],
        "messages": [
            [
                one.number,
                place[one.source.rpartition(".")[0]],
                place[one.target.rpartition(".")[0]],
                one.sent_ns,
                one.received_ns,
                numbers.get(one.invocation, 0),
                one.what,
                int(one.is_lost),
            ]
            for one in chronicle.messages
        ],
        "bars": bars(chronicle, place, numbers),
        "locks": locks(chronicle, numbers),
        "faults": faults(chronicle, place),
    }


def _story(story: Story) -> dict[str, Any]:
    return {
        "claim": story.claim,
        "operation": story.operation,
        "fault": story.fault,
        "differs": story.difference,
        "at": story.at_ns,
        "chain": list(getattr(story, "chain", ())),
    }
