"""The page that says which planted bug is caught by what, and how soon: pure text."""

from __future__ import annotations

from collections.abc import Iterable

from understudy_sim.mutants.edit import Mutant
from understudy_sim.mutants.hunt import FIRST_SEEDS, SEEDS_MAX, Hunt
from understudy_sim.mutants.suite import NOT_RUN

HEAD = """\
# Planted bugs, and who catches them

Each mutant is one edit of the product, applied while it is imported; the bugs are of the families that engines like
this one have really had. A hunt runs the ticket tour under all faults, seed by seed, until a claim breaks, at most
{seeds_max} seeds; each mutant is hunted from the first seeds {first_seeds}. *Seeds* is the median (and the range) of
seeds until the catch, *found* says in how many hunts, *caught by* which claims broke first.

*Hidden*: `yes` are mutants that hide from everything else: 200 seeds with `--faults none` are green with them in the
code, and so is the test suite, its own rehearsals under fixed seeds included. `but for rehearsals`: those rehearsals
do catch it, no other test does. The suite was run by `suite` with several mutants planted at once, which is green only
if no test notices any of them; `tests/scenarios/test_drawn.py`, which draws ten rehearsals anew each time and so can
meet any of them by chance, was run with each alone. Left out are tests that run no product code a mutant could be in,
and one that repeats others on more interpreters:
{not_run}.

Written by `python -m understudy_sim.mutants table`; do not edit by hand.

| id | group | what is wrong | needs | hidden | seeds | found | caught by |
|---|---|---|---|---|---|---|---|
"""


def page(rows: Iterable[tuple[Mutant, Hunt]]) -> str:
    """The whole page."""
    pairs = list(rows)
    lines = [row(mutant, hunt) for mutant, hunt in pairs]
    edits = [edit(mutant) for mutant, _ in pairs]
    head = HEAD.format(
        seeds_max=SEEDS_MAX,
        first_seeds=", ".join(f"{seed:,}" for seed in FIRST_SEEDS),
        not_run=", ".join(f"`{path}`" for path in NOT_RUN),
    )
    return head + "\n".join(lines) + "\n\n## The edits\n\n" + "\n".join(edits)


def row(mutant: Mutant, hunt: Hunt) -> str:
    """One mutant as a row of the table."""
    assert mutant.id == hunt.mutant_id, "a hunt belongs to its mutant"
    counts = [catch.seeds for catch in hunt.catches if catch is not None]
    median = hunt.median_seeds
    seeds = "–" if median is None else f"{median:.0f} ({min(counts)}–{max(counts)})"
    cells = (
        mutant.id,
        mutant.group,
        mutant.why,
        ", ".join(mutant.needs),
        hidden(mutant),
        seeds,
        f"{hunt.found} of {len(hunt.catches)}",
        "; ".join(claim.replace("|", "\\|") for claim in hunt.claims) or "nobody",
    )
    return "| " + " | ".join(cells) + " |"


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
