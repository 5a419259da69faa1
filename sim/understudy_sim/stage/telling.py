"""What a person sees of a search: one live line while it runs (on a terminal), and a page when it is over."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from typing import Final

from understudy_sim.kernel.clock import NS_PER_S
from understudy_sim.stage.faults import KINDS
from understudy_sim.stage.scenario import Scenario
from understudy_sim.stage.summary import Summary

SHOWN_EVERY_S: Final = 0.1
WIDTH: Final = 100

Echo = Callable[[str], object]


class Progress:
    """The live line: runs, rate, virtual time, cells, faults so far.  Silent when nobody looks."""

    def __init__(self, name: str, seeds: int | None) -> None:
        self._name = name
        self._of = "" if seeds is None else f"/{seeds}"
        self._started = time.monotonic()
        self._shown = 0.0
        self._live = sys.stderr.isatty()

    def show(self, summary: Summary) -> None:
        """A run is done."""
        now = time.monotonic()
        if not self._live or now - self._shown < SHOWN_EVERY_S:
            return
        self._shown = now
        rate = summary.seeds / max(now - self._started, 0.001)
        bitten = sum(row[2] for row in summary.faults.values())
        known = f"{summary.cells.bit_count():,} cells, quiet for {summary.quiet}  {bitten:,} faults bit"
        if summary.left:
            known = f"left: {summary.left}"
        varied = f"+{summary.varied}" if summary.varied else ""
        text = (
            f"{self._name}  {summary.seeds - summary.varied}{self._of}{varied} seeds  {rate:.1f}/s  "
            f"{len(summary.failures)} failed  {known}"
        )
        sys.stderr.write(f"\r\x1b[2K{text[:WIDTH]}")
        sys.stderr.flush()

    def clear(self) -> None:
        """The search is over: leave no trace of the line."""
        if self._live and self._shown:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()


def tell_summary(echo: Echo, scenario: Scenario, summary: Summary, seconds: float, missed: Sequence[str]) -> None:
    """The page at the end."""
    failed = len(summary.failures)
    verdict = "all claims hold" if not failed else f"{failed} of them break a claim"
    rate = summary.seeds / seconds if seconds else 0.0
    virtual_s = summary.virtual_ns // NS_PER_S
    seeds = len(summary.distinct)
    runs = f"{seeds} seed{'s' if seeds != 1 else ''}"
    if summary.varied:
        runs = f"{summary.seeds} runs of {runs}"
    echo(f"{scenario.name}: {runs}, {verdict}")
    if summary.ended:
        left = f"; left: {summary.left}" if summary.left else ""
        echo(f"  ended because {summary.ended}{left}")
    for line in summary.page:
        echo(f"  {line}")
    echo(
        f"  {summary.invocations:,} invocations, {summary.attempts:,} attempts, {summary.steps:,} steps and "
        f"{virtual_s:,} virtual seconds in {seconds:.1f} s ({rate:.1f} seeds/s)"
    )
    share = summary.bytes_seeds / summary.seeds if summary.seeds else 0.0
    echo(f"  all hops as bytes in {share:.0%} of the seeds")
    _wrapped(echo, "schedules", [f"{policy} {runs}" for policy, runs in sorted(summary.schedules.items())])
    _tell_counts(echo, summary)
    for claim in summary.not_judged:
        echo(f"  not judged of a guest: {claim}")
    for name in missed:
        echo(f"  never seen: {name}; a scenario that never gets there shows nothing about it")
    echo(f"  digest {summary.digest}")


def _tell_counts(echo: Echo, summary: Summary) -> None:
    if summary.faults:
        echo("  faults             in seeds     fired       bit")
        for kind in [*KINDS, *(kind for kind in summary.faults if kind not in KINDS)]:
            if kind in summary.faults:
                seeds, fired, bit = summary.faults[kind]
                echo(f"    {kind:<18}{seeds:>7}{fired:>10}{bit:>10}")
    if summary.happened:
        echo("  happened                  in seeds     times")
        for what in sorted(summary.happened):
            seeds, times = summary.happened[what]
            echo(f"    {what:<25}{seeds:>7}{times:>10}")
    if summary.sometimes:
        echo("  seen sometimes")
        for name, seeds in summary.sometimes.items():
            echo(f"    {seeds:>5} seeds  {name}")


def _wrapped(echo: Echo, name: str, parts: Sequence[str]) -> None:
    """A row of words that may be long."""
    if parts:
        first = f"  {name}  "
        lines = textwrap.wrap(", ".join(parts), WIDTH, initial_indent=first, subsequent_indent=" " * len(first))
        for line in lines:
            echo(line)
