"""What a person sees of a search: one live line while it runs (on a terminal), and a page when it is over."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

from understudy_sim.stage.faults import KINDS
from understudy_sim.stage.scenario import Scenario
from understudy_sim.stage.search import Summary

SHOWN_EVERY_S: Final = 0.1
NS_PER_S: Final = 1_000_000_000


class Progress:
    """The live line: seeds, rate, virtual time, faults so far.  Silent when nobody looks."""

    def __init__(self, name: str, seeds: int) -> None:
        self._name = name
        self._seeds = seeds
        self._started = time.monotonic()
        self._shown = 0.0
        self._live = sys.stderr.isatty()

    def show(self, summary: Summary) -> None:
        """A seed is done."""
        now = time.monotonic()
        if not self._live or now - self._shown < SHOWN_EVERY_S:
            return
        self._shown = now
        rate = summary.seeds / max(now - self._started, 0.001)
        bitten = sum(row[2] for row in summary.faults.values())
        text = (
            f"{self._name}  {summary.seeds}/{self._seeds} seeds  {rate:.1f}/s  "
            f"{summary.virtual_ns // NS_PER_S:,} virtual s  {bitten:,} faults bit  {len(summary.failures)} failed"
        )
        sys.stderr.write(f"\r\x1b[2K{text}")
        sys.stderr.flush()

    def clear(self) -> None:
        """The search is over: leave no trace of the line."""
        if self._live and self._shown:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()


def tell_summary(
    echo: Callable[[str], object], scenario: Scenario, summary: Summary, seconds: float, missed: Sequence[str]
) -> None:
    """The page at the end."""
    failed = len(summary.failures)
    verdict = "all claims hold" if not failed else f"{failed} of them break a claim"
    rate = summary.seeds / seconds if seconds else 0.0
    virtual_s = summary.virtual_ns // NS_PER_S
    echo(f"{scenario.name}: {summary.seeds} seeds, {verdict}")
    echo(
        f"  {summary.invocations:,} invocations, {summary.attempts:,} attempts, {summary.steps:,} steps and "
        f"{virtual_s:,} virtual seconds in {seconds:.1f} s ({rate:.1f} seeds/s)"
    )
    share = summary.bytes_seeds / summary.seeds if summary.seeds else 0.0
    echo(f"  all hops as bytes in {share:.0%} of the seeds")
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
    for name in missed:
        echo(f"  never seen: {name}; a scenario that never gets there shows nothing about it")
    echo(f"  digest {summary.digest}")
