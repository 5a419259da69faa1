"""The page that says which planted bug is caught by what, and how soon: pure text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from understudy_sim.mutants.edit import Mutant
from understudy_sim.mutants.hunt import Hunt
from understudy_sim.mutants.suite import NOT_RUN

# Of what else broke, so much is told.
ALSO_MAX = 3

HEAD = """\
# Planted bugs, and who catches them

Each mutant is one edit of the product, applied while it is imported; the bugs are of the families that engines like
this one have really had. A hunt runs the mutant's scenario (in `scenarios/`) under all faults, seed by seed, until a
claim breaks, at most {seeds_max} seeds; each mutant is hunted from the first seeds {first_seeds}. *Seeds* is the median
(and the range) of seeds until the catch, *found* says in how many hunts, *caught by* which claims broke first. The
reference model behind P7 knows the server's rules and so is first wherever a rule is broken; *also* names what else
broke in those same runs.

*Hidden* was found out when a mutant was planted, and not for all since: `yes` are mutants that hide from everything
else: 200 seeds with `--faults none` are green with them in the code, and so is the test suite, its own rehearsals under
fixed seeds included. `but for rehearsals`: those rehearsals do catch it, no other test does. The suite was run by
`suite` with several mutants planted at once, which is green only if no test notices any of them;
`tests/scenarios/test_drawn.py`, which draws ten rehearsals anew each time and so can meet any of them by chance, was
run with each alone. Left out are tests that run no product code a mutant could be in, and one that repeats others on
more interpreters:
{not_run}.

Written by `python -m understudy_sim.mutants table`; do not edit by hand.

{groups}

| id | what is wrong | needs | scenario | hidden | seeds | found | caught by |
|---|---|---|---|---|---|---|---|
"""


def page(rows: Iterable[tuple[Mutant, Hunt]], first_seeds: Sequence[int], seeds_max: int) -> str:
    """The whole page, of hunts of at most *seeds_max* seeds from each of *first_seeds*."""
    pairs = list(rows)
    lines = [row(mutant, hunt) for mutant, hunt in pairs]
    edits = [edit(mutant) for mutant, _ in pairs]
    head = HEAD.format(
        seeds_max=seeds_max,
        first_seeds=", ".join(f"{seed:,}" for seed in first_seeds),
        not_run=", ".join(f"`{path}`" for path in NOT_RUN),
        groups=groups(pairs),
    )
    return head + "\n".join(lines) + escaped(pairs) + "\n\n## The edits\n\n" + "\n".join(edits)


def escaped(pairs: Sequence[tuple[Mutant, Hunt]]) -> str:
    """Those nobody caught, and why."""
    missed = [mutant for mutant, hunt in pairs if not hunt.found]
    lines = [f"- {mutant.id}: {mutant.escapes or 'not known why'}." for mutant in missed]
    return "\n".join(["", "", "## Not caught, and why", "", *lines]) if lines else ""


def groups(pairs: Sequence[tuple[Mutant, Hunt]]) -> str:
    """How many of each family are planted, and how many of them caught in any hunt."""
    lines = ["| family | planted | caught |", "|---|---|---|"]
    for group in dict.fromkeys(mutant.group for mutant, _ in pairs):
        hunts = [hunt for mutant, hunt in pairs if mutant.group == group]
        lines.append(f"| {group} | {len(hunts)} | {sum(hunt.found > 0 for hunt in hunts)} |")
    return "\n".join(lines)


def row(mutant: Mutant, hunt: Hunt) -> str:
    """One mutant as a row of the table."""
    assert mutant.id == hunt.mutant_id, "a hunt belongs to its mutant"
    counts = [catch.seeds for catch in hunt.catches if catch is not None]
    median = hunt.median_seeds
    seeds = "–" if median is None else f"{median:.0f} ({min(counts)}–{max(counts)})"
    cells = (
        mutant.id,
        mutant.why,
        ", ".join(mutant.needs),
        mutant.scenario.partition(":")[0].rpartition(".")[2],
        hidden(mutant),
        seeds,
        f"{hunt.found} of {len(hunt.catches)}",
        caught_by(hunt),
    )
    return "| " + " | ".join(cells) + " |"


def caught_by(hunt: Hunt) -> str:
    """The claims that broke first, then what else broke in the same runs."""
    first = list(hunt.claims)
    every = [claim for catch in hunt.catches if catch is not None for claim in catch.claims]
    other = [claim for claim in dict.fromkeys(every) if claim not in first][:ALSO_MAX]
    words = "; ".join(first) + (f" (also {'; '.join(other)})" if other else "")
    return words.replace("|", "\\|") or "nobody"


def hidden(mutant: Mutant) -> str:
    """What else catches it: the table's word."""
    if mutant.invisible:
        return "yes"
    return "but for rehearsals" if mutant.rehearsed else ""


def edit(mutant: Mutant) -> str:
    """The edit of one mutant as a block."""
    lines = [f"{mutant.id}, in `{mutant.module}`:", "", "```text"]
    lines += [f"- {line}".rstrip() for line in mutant.before.splitlines()]
    lines += [f"+ {line}".rstrip() for line in mutant.after.splitlines()]
    return "\n".join([*lines, "```", ""])
