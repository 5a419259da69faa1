"""What a seed drew, for people: sizes, hops, schedule, how often faults were to strike, bounds not as by default.

All that is not the same in every run is shown here, so that nobody must know where it was drawn.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Final

import attrs
from understudy_runtime.limits import Limits

from understudy_sim.kernel.clock import NS_PER_MS, NS_PER_S
from understudy_sim.stage.nemesis import every_ns
from understudy_sim.stage.plan import Plan
from understudy_sim.stage.report import Report

WIDTH: Final = 100
INDENT: Final = 13
GLUE: Final = "\x1f"


def banner(report: Report) -> list[str]:
    """The lines, indented as a story's are."""
    plan = report.plan
    rows = [
        ("drawn", _sizes(plan)),
        ("schedule", [report.schedule.words]),
        ("trouble", [f"{begin // NS_PER_S}-{(begin + lasts) // NS_PER_S} s" for begin, lasts in plan.hurts]),
        ("faults", [f"{kind} every {every_ns(plan, kind) / NS_PER_S:.2g} s" for kind in plan.intensity] or ["none"]),
        ("bounds", _bounds(plan.limits) or ["all as by default"]),
    ]
    return [line for name, parts in rows for line in _wrapped(name, parts)]


def _wrapped(name: str, parts: Sequence[str]) -> list[str]:
    """A row, broken between its parts only."""
    text = ", ".join(part.replace(" ", GLUE) for part in parts)
    first = f"  {name:<{INDENT - 2}}"
    lines = textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=" " * INDENT, break_on_hyphens=False)
    return [line.replace(GLUE, " ") for line in lines]


def _sizes(plan: Plan) -> list[str]:
    hops = plan.hops
    found = [
        f"{plan.partition_count} partition{'s' if plan.partition_count > 1 else ''}",
        f"clients {hops.client.value}",
        f"endpoint {hops.endpoint.value}{', registered' if hops.registered else ''}",
        "full duplex" if plan.bidi else "request and response",
        f"protocol {plan.protocol_version}",
        f"latency up to {plan.latency_ns_max / NS_PER_MS:g} ms",
        f"syncs up to {plan.sync_ns_max / NS_PER_MS:g} ms",
        f"services up to {plan.provider_ms_max} ms",
    ]
    if plan.upgrade is not None:
        found.append(f"upgraded at {plan.upgrade.at_ns / NS_PER_S:.1f} s")
    if plan.has("clock_jump"):
        found.append(f"clocks jump up to {plan.clock_jump_ms_max / 1000:g} s")
    return found


def _bounds(limits: Limits) -> list[str]:
    usual = Limits()
    found = []
    for field in attrs.fields(Limits):
        drawn, by_default = getattr(limits, field.name), getattr(usual, field.name)
        if drawn == by_default:
            continue
        if attrs.has(type(drawn)):
            inner = (
                (one.name, getattr(drawn, one.name), getattr(by_default, one.name)) for one in attrs.fields(type(drawn))
            )
            found += [f"{field.name}.{name} {now} ({before})" for name, now, before in inner if now != before]
        else:
            found.append(f"{field.name} {_number(drawn)} ({_number(by_default)})")
    return found


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
