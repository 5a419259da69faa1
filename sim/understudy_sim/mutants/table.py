"""What hunts came to, for people: a table that fits a terminal, and the page `docs/mutants.md`.  Pure text."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any, Final

import attrs

from understudy_sim.mutants.edit import Mutant
from understudy_sim.mutants.hunt import CLEAN, Hunt, median_seeds
from understudy_sim.mutants.real_bugs import REAL_BUGS
from understudy_sim.mutants.suite import NOT_RUN

# Of what else broke, so much is told.
ALSO_MAX: Final = 3
WIDTH: Final = 100

HEAD = """\
# Planted bugs, and who catches them

Each mutant is one edit of the product, applied while it is imported; the bugs are of the families that engines like
this one have really had. A hunt runs {where} seed by seed until a claim breaks, at most {seeds_max:,} runs; each
mutant is hunted from the first seeds {first_seeds}, by each strategy named. *Seeds* is the median (and the range) of
runs until the catch, *found* says in how many hunts, *caught by* which claims broke first. The reference model behind
P7 knows the server's rules and so is first wherever a rule is broken; *also* names what else broke in those same runs.

*Hidden* was found out when a mutant was planted, and not for all since: `yes` are mutants that hide from everything
else: 200 seeds with `--faults none` are green with them in the code, and so is the test suite, its own rehearsals under
fixed seeds included. `but for rehearsals`: those rehearsals do catch it, no other test does. The suite was run by
`python -m understudy_sim.mutants suite` with several mutants planted at once, which is green only if no test notices
any of them; `tests/scenarios/test_drawn.py`, which draws ten rehearsals anew each time and so can meet any of them by
chance, was run with each alone. Left out are tests that run no product code a mutant could be in, and one that repeats
others on more interpreters:
{not_run}.

Written by `understudy mutate --page docs/mutants.md`; do not edit by hand.

{summary}

{groups}

| id | what is wrong | needs | scenario | hidden | seeds | found | caught by |
|---|---|---|---|---|---|---|---|
"""

Row = tuple[Mutant, list[Hunt]]


# --- for a terminal -----------------------------------------------------------------------------------------------


def line(hunt: Hunt) -> str:
    """One hunt in one line."""
    catch = hunt.catch
    if catch is None:
        return _cut(f"{hunt.mutant_id:6} {hunt.strategy:10} {'–':>5} {hunt.seconds:>6.1f}  not in {hunt.seeds} runs")
    told = f"{catch.scenario}: {catch.claims[0]}"
    return _cut(f"{hunt.mutant_id:6} {hunt.strategy:10} {catch.seeds:>5} {catch.seconds:>6.1f}  {told}")


LINE_HEAD: Final = f"{'id':6} {'strategy':10} {'seeds':>5} {'s':>6}  caught by"


def _cut(text: str) -> str:
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


def tell(hunts: Sequence[Hunt]) -> list[str]:
    """What each strategy came to, in a few lines."""
    lines: list[str] = []
    for strategy, row in summary_of(hunts).items():
        lines.append(
            f"{strategy}: {row['found']} of {row['hunts']} found ({row['percent']} %), median "
            f"{_number(row['median_seeds'])} seeds and {_number(row['median_seconds'])} s"
        )
        if row["missed"]:
            lines.append(f"  not found: {', '.join(row['missed'])}")
    clean = [hunt for hunt in hunts if hunt.mutant_id == CLEAN]
    if clean:
        alarms = sum(hunt.catch is not None for hunt in clean)
        lines.append(f"{CLEAN}: {alarms} false alarms in {sum(hunt.seeds for hunt in clean)} runs")
    return lines


def summary_of(hunts: Iterable[Hunt]) -> dict[str, dict[str, Any]]:
    """By strategy: hunts, how many found something, medians to detection (of all hunts), and who was missed."""
    by_strategy: dict[str, list[Hunt]] = {}
    for hunt in hunts:
        if hunt.mutant_id != CLEAN:
            by_strategy.setdefault(hunt.strategy, []).append(hunt)
    return {strategy: _row_of(found) for strategy, found in by_strategy.items()}


def _row_of(hunts: list[Hunt]) -> dict[str, Any]:
    caught = [hunt.catch for hunt in hunts if hunt.catch is not None]
    return {
        "hunts": len(hunts),
        "found": len(caught),
        "percent": round(100 * len(caught) / len(hunts), 1),
        "median_seeds": median_seeds(hunts),
        "median_seconds": round(statistics.median(one.seconds for one in caught), 1) if caught else None,
        "seeds_max": max((one.seeds for one in caught), default=None),
        "missed": sorted(dict.fromkeys(hunt.mutant_id for hunt in hunts if hunt.catch is None)),
    }


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


# --- as JSON ------------------------------------------------------------------------------------------------------


def as_json(mutants: Sequence[Mutant | None], hunts: Sequence[Hunt], failures: Sequence[str]) -> dict[str, Any]:
    """The object of `--json`."""
    known = {mutant.id: mutant for mutant in mutants if mutant is not None}
    rows = []
    for hunt in hunts:
        mutant = known.get(hunt.mutant_id)
        about = {"group": mutant.group, "why": mutant.why} if mutant is not None else {}
        rows.append({**attrs.asdict(hunt), **about})
    return {"summary": summary_of(hunts), "hunts": rows, "failures": list(failures)}


# --- the page -----------------------------------------------------------------------------------------------------


def page(mutants: Sequence[Mutant], hunts: Sequence[Hunt], seeds_max: int) -> str:
    """The whole page, of hunts of at most *seeds_max* runs."""
    rows = rows_of(mutants, hunts)
    told = [hunt for _, found in rows for hunt in found]
    everywhere = any(hunt.where == "everywhere" for hunt in told)
    head = HEAD.format(
        where="all scenarios in turn" if everywhere else "the mutant's scenario (in `scenarios/`)",
        seeds_max=seeds_max,
        first_seeds=", ".join(f"{seed:,}" for seed in dict.fromkeys(hunt.first_seed for hunt in told)),
        not_run=", ".join(f"`{path}`" for path in NOT_RUN),
        summary=summary_table(told),
        groups=groups(rows),
    )
    body = "\n".join(row(mutant, found) for mutant, found in rows)
    edits = "\n".join(edit(mutant) for mutant, _ in rows)
    return head + body + escaped(rows) + "\n\n" + real_bugs(mutants, told) + "\n\n## The edits\n\n" + edits


def rows_of(mutants: Sequence[Mutant], hunts: Sequence[Hunt]) -> list[Row]:
    """Each mutant that was hunted with its hunts."""
    by_id: dict[str, list[Hunt]] = {}
    for hunt in hunts:
        by_id.setdefault(hunt.mutant_id, []).append(hunt)
    return [(mutant, by_id[mutant.id]) for mutant in mutants if mutant.id in by_id]


def summary_table(hunts: Sequence[Hunt]) -> str:
    """What each strategy came to."""
    lines = [
        "| strategy | hunts | found | median seeds | most seeds | median seconds |",
        "|---|---|---|---|---|---|",
    ]
    for strategy, one in summary_of(hunts).items():
        found = f"{one['found']} ({one['percent']} %)"
        numbers = [_number(one[name]) for name in ("median_seeds", "seeds_max", "median_seconds")]
        lines.append(f"| {strategy} | {one['hunts']} | {found} | {' | '.join(numbers)} |")
    return "\n".join(lines)


def groups(rows: Sequence[Row]) -> str:
    """How many of each family are planted, and how many of them caught in any hunt."""
    lines = ["| family | planted | caught |", "|---|---|---|"]
    for group in dict.fromkeys(mutant.group for mutant, _ in rows):
        members = [found for mutant, found in rows if mutant.group == group]
        lines.append(f"| {group} | {len(members)} | {sum(any(hunt.catch for hunt in one) for one in members)} |")
    return "\n".join(lines)


def row(mutant: Mutant, hunts: Sequence[Hunt]) -> str:
    """One mutant as a row of the table."""
    assert all(hunt.mutant_id == mutant.id for hunt in hunts), "a hunt belongs to its mutant"
    strategies = dict.fromkeys(hunt.strategy for hunt in hunts)
    cells = (
        mutant.id,
        mutant.why,
        ", ".join(mutant.needs),
        mutant.scenario.partition(":")[0].rpartition(".")[2],
        hidden(mutant),
        "; ".join(_seeds(name, [one for one in hunts if one.strategy == name], len(strategies)) for name in strategies),
        f"{sum(hunt.catch is not None for hunt in hunts)} of {len(hunts)}",
        caught_by(hunts),
    )
    return "| " + " | ".join(cells) + " |"


def _seeds(strategy: str, hunts: list[Hunt], strategies: int) -> str:
    counts = [hunt.catch.seeds for hunt in hunts if hunt.catch is not None]
    median = median_seeds(hunts)
    text = "–" if median is None else f"{median:.0f}"
    if median is not None and len(hunts) > 1:
        text += f" ({min(counts)}–{max(counts)})"
    return text if strategies == 1 else f"{strategy} {text}"


def caught_by(hunts: Sequence[Hunt]) -> str:
    """The claims that broke first, most frequent first, then what else broke in the same runs."""
    catches = [hunt.catch for hunt in hunts if hunt.catch is not None]
    firsts = [catch.claims[0] for catch in catches]
    first = sorted(dict.fromkeys(firsts), key=lambda claim: (-firsts.count(claim), claim))
    every = [claim for catch in catches for claim in catch.claims]
    other = [claim for claim in dict.fromkeys(every) if claim not in first][:ALSO_MAX]
    words = "; ".join(first) + (f" (also {'; '.join(other)})" if other else "")
    return words.replace("|", "\\|") or "nobody"


def hidden(mutant: Mutant) -> str:
    """What else catches it: the table's word."""
    if mutant.invisible:
        return "yes"
    return "but for rehearsals" if mutant.rehearsed else ""


def escaped(rows: Sequence[Row]) -> str:
    """Those nobody caught, and why."""
    missed = [mutant for mutant, hunts in rows if not any(hunt.catch for hunt in hunts)]
    lines = [f"- {mutant.id}: {mutant.escapes or 'not known why'}." for mutant in missed]
    return "\n".join(["", "", "## Not caught, and why", "", *lines]) if lines else ""


def real_bugs(mutants: Sequence[Mutant], hunts: Sequence[Hunt]) -> str:
    """Bugs that engines like this one have had, and the mutants that stand for them here."""
    medians = {
        id_: median_seeds([hunt for hunt in hunts if hunt.mutant_id == id_])
        for id_ in dict.fromkeys(hunt.mutant_id for hunt in hunts)
    }
    lines = [
        "## Bugs that were real, and what stands for them here",
        "",
        "| seen in | what went wrong | mutant (median seeds), or why there is none |",
        "|---|---|---|",
    ]
    for bug in REAL_BUGS:
        planted = "; ".join(f"{id_} ({_number(medians.get(id_))})" for id_ in bug.mutants)
        answer = "; ".join(part for part in (planted, bug.why_not) if part)
        lines.append(f"| {bug.source} | {bug.what} | {answer} |")
    return "\n".join(lines)


def edit(mutant: Mutant) -> str:
    """The edits of one mutant as blocks."""
    parts = []
    for one in mutant.edits:
        lines = [f"{mutant.id}, in `{one.module}`:", "", "```text"]
        lines += [f"- {line}".rstrip() for line in one.before.splitlines()]
        lines += [f"+ {line}".rstrip() for line in one.after.splitlines()]
        parts.append("\n".join([*lines, "```", ""]))
    return "\n".join(parts)
