"""`understudy diff`: where two runs of one scenario part."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from understudy_sim.cli.meant import Meant, meant
from understudy_sim.cli.shared import FAULTS, SEED
from understudy_sim.stage.chronicle import Chronicle, Event
from understudy_sim.stage.chronicler import Chronicler
from understudy_sim.stage.difference import BRIEF, Comparison, one_line, told
from understudy_sim.stage.faults import FaultSet
from understudy_sim.stage.shrunk_file import is_fixed
from understudy_sim.stage.story import seconds

LINES: int = 40


@click.command(short_help="Say where two runs of a scenario part.")
@click.argument("script")
@click.argument("other", required=False)
@click.option("--seed", "seeds", type=SEED, multiple=True, help="A seed; given twice, the two runs to compare.")
@click.option("--variation", "variations", multiple=True, metavar="TEXT", help="How a run differs from its seed.")
@click.option("--faults", type=FAULTS, help="The faults of both runs, if not the scenario's.")
@click.option("--lines", type=click.IntRange(min=0), default=LINES, show_default=True, help="Of the two timelines.")
@click.option("--all", "everything", is_flag=True, help="Messages, syncs and requests in the timelines, too.")
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON.")
def diff(
    script: str,
    other: str | None,
    seeds: tuple[int, ...],
    variations: tuple[str, ...],
    faults: FaultSet | None,
    lines: int,
    everything: bool,
    as_json: bool,
) -> None:
    """Compare two runs by what happens in them: two seeds or two variations of the scenario in SCRIPT, or two files
    written by `understudy shrink`, SCRIPT and OTHER.  Exit 0: nothing that happens differs; 1: something does.
    """
    runs = _two(script, other, seeds, variations, faults)
    names = _names(other, seeds)
    one, two = (_chronicle(run) for run in runs)
    comparison = Comparison(one, two)
    first = comparison.first()
    click.echo(told(one, two, names))
    if first is not None and lines:
        click.echo(f"\nfrom there on (-: {names[0]} only, +: {names[1]} only)")
        for mark, side, event in comparison.aligned(lines, frozenset() if everything else BRIEF):
            click.echo(_row(comparison, mark, side, event))
    if as_json:
        click.echo(json.dumps({"digests": [one.digest, two.digest], "first": _as_json(comparison)}))
    sys.exit(0 if first is None else 1)


def _two(
    script: str, other: str | None, seeds: tuple[int, ...], variations: tuple[str, ...], faults: FaultSet | None
) -> tuple[Meant, Meant]:
    """The two runs that are meant.  Raises click.UsageError."""
    if other is not None:
        if seeds or variations:
            raise click.UsageError("two files are two runs: leave out --seed and --variation")
        for one in (script, other):
            if Path(one).is_file() and not is_fixed(Path(one)):
                raise click.UsageError(
                    f"{one} is not one run: compare two files written by `understudy shrink`, or seeds"
                )
        return meant(script, None, None, None, None), meant(other, None, None, None, None)
    if len(seeds) > 2 or len(variations) > 2 or not seeds:
        raise click.UsageError("two runs are compared: give --seed twice, or once with --variation, or two files")
    if len(seeds) == 1 and not variations:
        raise click.UsageError(f"seed {seeds[0]:#x} is one run: give a second --seed, or a --variation of it")
    texts: tuple[str | None, ...] = (None, *variations) if len(variations) == 1 and len(seeds) == 1 else variations
    texts = (*texts, None, None)[:2]
    first, second = seeds[0], seeds[-1]
    given = (faults if texts[0] is None else None, faults if texts[1] is None else None)
    return meant(script, first, given[0], None, texts[0]), meant(script, second, given[1], None, texts[1])


def _names(other: str | None, seeds: tuple[int, ...]) -> tuple[str, str]:
    if other is None and len(set(seeds)) == 2:
        return f"{seeds[0]:#x}", f"{seeds[1]:#x}"
    return "first", "second"


def _chronicle(run: Meant) -> Chronicle:
    chronicler = Chronicler()
    run.run(chronicler)
    return chronicler.chronicle


def _row(comparison: Comparison, mark: str, side: int, event: Event) -> str:
    about = comparison.about(side, event)
    text = f"{mark} {seconds(event.at_ns):>11}  {event.process:<11} {event.kind:<13} {about + '  ' if about else ''}"
    return one_line(f"{text}{comparison.what(side, event)}")


def _as_json(comparison: Comparison) -> dict[str, Any] | None:
    first = comparison.first()
    if first is None:
        return None
    sides = [None if event is None else event.as_json() for event in (first.one, first.other)]
    return {"at_ns": first.at_ns, "lane": first.lane, "events": sides}
