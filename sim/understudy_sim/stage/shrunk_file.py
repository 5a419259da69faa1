"""A run as a short Python file that somebody can read, run, keep as a test, and change.

The file names its scenario, its operations, its faults at their instants, where its schedule is not first come, first
served, and every decision that is not tame.  See `fixed.py` for what runs it.
"""

from __future__ import annotations

import importlib.util
import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from understudy_sim.stage.faults import FaultSet
from understudy_sim.stage.fixed import EVERYTHING, FIFO, Fixed
from understudy_sim.stage.operations import Operation
from understudy_sim.stage.report import Report
from understudy_sim.stage.scenario import Scenario
from understudy_sim.stage.shrink import Shrunk, explained
from understudy_sim.stage.strategies.port import Trial

WIDTH: Final = 120
BIG: Final = 10_000  # from here on a number gets separators
_INDENT: Final = "    "


@attrs.frozen(kw_only=True)
class About:
    """What a file says of itself: the claim that broke and how, the seed it came from, and the first difference."""

    claim: str = ""
    what: str = ""
    found: str = ""
    difference: str = ""


def file_text(script: str, scenario: str, trial: Trial, report: Report, about: About) -> str:
    """The file for *trial* of the scenario in *script* (`path` or `path::name`); *report* is its run."""
    call = _call(f"{_scenario(script)}.fixed", list(_written(trial, report).items()), "small = ")
    names = sorted({"scenario_in", *_names(trial, report)}, key=lambda name: (name.islower(), name))
    return (
        f'"""{_docstring(scenario, about)}"""\n\n'
        f"{_import(names)}\n\n"
        f"{call}\n\n"
        'if __name__ == "__main__":\n'
        f"{_INDENT}small.main()\n"
    )


def written(script: str, scenario: Scenario, shrunk: Shrunk, found: str) -> tuple[str, str]:
    """The file for what a shrinker left, and the first difference from the nearest run that holds, which is in it."""
    difference = explained(scenario, shrunk)
    about = About(claim=shrunk.claim, what=shrunk.story.difference, found=found, difference=difference)
    return file_text(script, scenario.name, shrunk.trial, shrunk.report, about), difference


def load_fixed(file: Path) -> Fixed:
    """The run that is written in *file*.  Raises ValueError when there is none, NoScenario when it cannot be read."""
    from understudy_sim.stage.script import NoScenario

    spec = importlib.util.spec_from_file_location(f"fixed:{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{file} is no shrunk run: it is no Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (NoScenario, FileNotFoundError) as error:
        raise NoScenario(f"{file} cannot be read: {error}") from error
    except Exception as error:
        raise NoScenario(f"{file} cannot be run: {type(error).__name__}: {error}") from error
    found = [one for one in vars(module).values() if isinstance(one, Fixed)]
    if not found:
        raise ValueError(f"{file} is no shrunk run: it has no scenario.fixed(...); write one with `understudy shrink`")
    return found[0]


def is_fixed(file: Path) -> bool:
    """Whether *file* looks like one that a run is written in."""
    return file.suffix == ".py" and file.is_file() and b".fixed(" in file.read_bytes()


# --- what is in it ----------------------------------------------------------------------------------------------------


def _scenario(script: str) -> str:
    return f"scenario_in({_text(script)}, near=__file__)"


def _written(trial: Trial, report: Report) -> dict[str, Any]:
    """The arguments of `Scenario.fixed` that are not as by default."""
    variation = trial.variation
    operations = report.calls if variation.calls is None or variation.kept_calls is not None else variation.calls
    drawn = EVERYTHING if not variation.tame else variation.wild
    schedule = FIFO if variation.schedule is None else variation.schedule
    written: dict[str, Any] = {}
    if drawn:
        written["seed"] = Literal(hex(trial.seed))
    written["operations"] = list(operations)
    if variation.strikes is None and variation.faults is not None:
        written["faults"] = variation.faults.kinds
    if variation.strikes is None or variation.strikes:
        written["strikes"] = None if variation.strikes is None else sorted(variation.strikes, key=lambda one: one.at_ns)
    if variation.schedule is None or schedule.kind != "fifo":
        written["schedule"] = variation.schedule or attrs.evolve(FIFO, kind="drawn")
    elif schedule.deviations:
        written["deviations"] = list(schedule.deviations)
    if variation.overrides:
        written["decisions"] = Decisions(variation.overrides, report)
    if drawn:
        written["drawn"] = drawn
    for name in ("salts", "borrowed"):
        if getattr(variation, name):
            written[name] = dict(getattr(variation, name))
    if variation.crash_at is not None:
        written["crash_at"] = variation.crash_at
    if variation.orders:
        written["orders"] = variation.orders
    return written


def _names(trial: Trial, report: Report) -> Iterable[str]:
    for value in _written(trial, report).values():
        for one in value if isinstance(value, list | tuple) else (value,):
            if attrs.has(type(one)) and not isinstance(one, FaultSet | Literal | Decisions):
                yield type(one).__name__


@attrs.frozen
class Literal:
    """Python as it stands."""

    text: str


@attrs.frozen
class Decisions:
    """Forced answers, with what they mean in this run."""

    overrides: Mapping[tuple[str, int | None], int]
    report: Report


def decision_name(key: tuple[str, int | None]) -> str:
    """How a file calls a decision."""
    return key[0] if key[1] is None else f"{key[0]}#{key[1]}"


def meaning_of(label: str, report: Report) -> str:
    """What a decision about the plan came to; empty where the report does not say."""
    plan = report.plan
    group, _, name = label.partition("/")
    if group == "limits" and hasattr(plan.limits, name):
        return f"{name}={_number(getattr(plan.limits, name))}"
    told = {
        "partitions": f"{plan.partition_count} partitions",
        "latency": f"latency up to {plan.latency_ns_max // 1_000_000} ms",
        "sync": f"a sync takes up to {plan.sync_ns_max // 1_000_000} ms",
        "provider": f"external services take up to {plan.provider_ms_max} ms",
        "bytes": f"clients speak {plan.hops.client.value}, the endpoint {plan.hops.endpoint.value}",
        "request_response": "attempts are request and response",
        "version": f"protocol version {plan.protocol_version}",
        "hurt_s": f"faults for {plan.hurts[0][1] // 1_000_000_000} s",
    }
    return told.get(name, "") if group == "plan" else ""


# --- as Python --------------------------------------------------------------------------------------------------------


def _call(name: str, arguments: Sequence[tuple[str, Any]], before: str = "", indent: str = "", after: str = "") -> str:
    """A call by keywords, on one line where it fits."""
    flat = f"{indent}{before}{name}({', '.join(f'{key}={_flat(value)}' for key, value in arguments)}){after}"
    if len(flat) <= WIDTH and not any(isinstance(value, list | Decisions) for _, value in arguments):
        return flat
    inner = indent + _INDENT
    lines = [f"{indent}{before}{name}("]
    lines += [_argument(key, value, inner) for key, value in arguments]
    return "\n".join([*lines, f"{indent}){after}"])


def _argument(key: str, value: Any, indent: str) -> str:
    inner = indent + _INDENT
    if isinstance(value, list):
        items = [_item(one, inner) for one in value]
        return "\n".join([f"{indent}{key}=[", *items, f"{indent}],"]) if items else f"{indent}{key}=[],"
    if isinstance(value, Decisions):
        rows = [_decision(one, answer, value.report, inner) for one, answer in value.overrides.items()]
        return "\n".join([f"{indent}{key}={{", *rows, f"{indent}}},"])
    return f"{indent}{key}={_flat(value)},"


def _decision(key: tuple[str, int | None], answer: int, report: Report, indent: str) -> str:
    meaning = meaning_of(key[0], report)
    row = f"{indent}{_text(decision_name(key))}: {_number(answer)},"
    return f"{row}  # {meaning}" if meaning else row


def _item(value: Any, indent: str) -> str:
    if attrs.has(type(value)):
        return _call(type(value).__name__, _fields(value), indent=indent, after=",")
    return f"{indent}{_flat(value)},"


def _fields(value: Any) -> list[tuple[str, Any]]:
    """The fields that are not as by default; of an operation first who does what, last how."""
    given = {
        field.name: getattr(value, field.name)
        for field in attrs.fields(type(value))
        if getattr(value, field.name) != field.default
    }
    if isinstance(value, Operation):
        first = ("client", "service", "key", "handler", "argument")
        given = {name: given[name] for name in (*(one for one in first if one in given), *given)}
    return list(given.items())


def _flat(value: Any) -> str:
    match value:
        case Literal():
            return value.text
        case str():
            return _text(value)
        case bool() | None | float():
            return repr(value)
        case int():
            return _number(value)
        case tuple():
            return f"({', '.join(map(_flat, value))}{',' if len(value) == 1 else ''})"
        case list():
            return f"[{', '.join(map(_flat, value))}]"
        case dict():
            return f"{{{', '.join(f'{_flat(key)}: {_flat(item)}' for key, item in value.items())}}}"
    if attrs.has(type(value)):
        return f"{type(value).__name__}({', '.join(f'{name}={_flat(item)}' for name, item in _fields(value))})"
    return repr(value)


def _number(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= BIG:
        return f"{value:_}"
    return str(value)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if value.isprintable() else repr(value)


def _import(names: Sequence[str]) -> str:
    line = f"from understudy_sim import {', '.join(names)}"
    if len(line) <= WIDTH:
        return line
    return "\n".join(["from understudy_sim import (", *(f"{_INDENT}{name}," for name in names), ")"])


def _docstring(scenario: str, about: About) -> str:
    lines = [f"{scenario}, made small{f' from {about.found}' if about.found else ''}: {about.claim or 'it held'}."]
    lines = textwrap.wrap(lines[0], WIDTH - 4)
    if about.what:
        lines += ["", *_indented("It breaks so:", about.what)]
    if about.difference:
        lines += ["", *about.difference.splitlines()]
    lines += ["", "Run it: python FILE, or pytest FILE.  All claims must hold: then it ends with 0."]
    text = "\n".join(line.rstrip() for line in lines)
    plain = text.replace("\\", "\\\\").replace('"""', "'''")
    return "".join(one if one == "\n" or one.isprintable() else repr(one)[1:-1] for one in plain) + "\n"


def _indented(title: str, text: str) -> list[str]:
    wrapped = [part for line in text.splitlines() for part in textwrap.wrap(line, WIDTH - 8) or [""]]
    return [title, *(f"{_INDENT}{line}" for line in wrapped)]
