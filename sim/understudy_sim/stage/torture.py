"""Whether a seed is the same run whatever the process around it is like: values, no processes.

A *condition* is one way in which a process differs from the plain one: hash seed, the addresses objects get, the
collector's pace, the order of imports, the Python minor, what ran before, who forked it, zone, language, folder.  A
seed's *close digest* covers every decision, step and message's content and every record.  Two processes whose digests
differ are compared word by word: where they *part* is told by the step, the task, and its stack in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from understudy_sim.kernel.trace import Note, Step, Trace

COMMON: Final = 8  # entries before the runs part that are told
SAYING: Final = 110  # characters of what was said, around where the two differ
SAYING_BEFORE: Final = 50


@attrs.frozen(kw_only=True)
class Condition:
    """One kind of process.  The defaults are the plain one.

    `environment` is added to the parent's; `python` is another interpreter.  In the process, in this order: `litter` (a
    seed of its own) fills the heap, `imports` shuffles what is imported first, `collector` sets the collector's
    threshold (0: off), `before` are seeds that run first, `pool` has the seeds run by a worker forked then.  `moved`
    runs in a folder that only links to what is in this one.
    """

    name: str
    environment: Mapping[str, str] = attrs.Factory(dict)
    python: str = ""
    litter: int = 0
    imports: int = 0
    collector: int | None = None
    before: tuple[int, ...] = ()
    pool: bool = False
    moved: bool = False


PLAIN: Final = Condition(name="plain", environment={"PYTHONHASHSEED": "0"})


def conditions(seeds: Sequence[int], pythons: Sequence[str] = ()) -> tuple[Condition, ...]:
    """All of them but the plain one; other seeds than *seeds* run before them where something is to run before."""
    assert seeds, "there is something to run"
    others = (max(seeds) + 1, max(seeds) + 2)
    zero = {"PYTHONHASHSEED": "0"}
    return (
        Condition(name="another hash seed", environment={"PYTHONHASHSEED": "1"}),
        Condition(name="a random hash seed", environment={"PYTHONHASHSEED": "random"}),
        Condition(name="other addresses", environment=zero, litter=1),
        Condition(name="another allocator", environment={**zero, "PYTHONMALLOC": "malloc"}, litter=2),
        Condition(name="a collector that never rests", environment=zero, collector=5),
        Condition(name="no collector", environment=zero, collector=0),
        Condition(name="imports in another order", environment=zero, imports=1),
        Condition(name="other seeds before", environment=zero, before=others),
        Condition(name="the same seeds, the other way round", environment=zero, before=tuple(reversed(seeds))),
        Condition(name="a worker of a pool", environment=zero, before=others[:1], pool=True),
        Condition(
            name="another zone and language",
            environment={**zero, "TZ": "Pacific/Chatham", "LC_ALL": "C", "LANG": "tr_TR.UTF-8", "NOISE": "x" * 999},
        ),
        Condition(name="another folder", environment=zero, moved=True),
        *(Condition(name=f"Python at {python}", environment=zero, python=python) for python in pythons),
    )


@attrs.frozen
class Sample:
    """One seed in one process."""

    seed: int
    digest: str
    steps: int


@attrs.frozen
class Mismatch:
    """A seed that is another run under a condition."""

    seed: int
    condition: Condition
    plain: Sample
    other: Sample


def mismatches(plain: Sequence[Sample], condition: Condition, found: Sequence[Sample]) -> list[Mismatch]:
    """The seeds of *found* that are not as in *plain*."""
    of_seed = {one.seed: one for one in found}
    assert list(of_seed) == [one.seed for one in plain], "every process runs the same seeds"
    return [
        Mismatch(one.seed, condition, one, of_seed[one.seed]) for one in plain if of_seed[one.seed].digest != one.digest
    ]


@attrs.frozen
class Parting:
    """Where two traces part: at `entry` (from 0), which begins with `word`, in `step` (from 1; 0: before the first).

    `one` and `other` are the entries there, `common` the last before.
    """

    entry: int
    word: int
    step: int
    one: Step | Note | None
    other: Step | Note | None
    common: tuple[Step | Note, ...]


def parting(one: Trace, other: Trace) -> Parting | None:
    """Where *one* and *other* part; None when they do not."""
    common: list[Step | Note] = []
    word = step = entry = 0
    left, right = one.entries(), other.entries()
    while True:
        a, b = next(left, None), next(right, None)
        if a != b:
            return Parting(entry, word, step, a, b, tuple(common))
        if a is None:
            return None
        word += 2 if isinstance(a, Step) else 1 + len(a.words)
        step += isinstance(a, Step)
        entry += 1
        common = [*common[-(COMMON - 1) :], a]


@attrs.frozen
class Place:
    """What one process was doing where the runs part: the `task`, its `stack` (outermost first) as lines of text, the
    names of the tasks by their ordinals, and what was sent or recorded there."""

    task: str
    stack: tuple[str, ...]
    names: Mapping[int, str]
    saying: str = ""


def tell(mismatch: Mismatch, found: Parting, plain: Place, other: Place) -> Iterator[str]:
    """A page about one difference."""
    yield f"seed {mismatch.seed} is not the same run under: {mismatch.condition.name}"
    yield f"  they part in step {found.step:,} of {mismatch.plain.steps:,} (entry {found.entry:,} of the trace)"
    apart = next((at for at, pair in enumerate(zip(plain.saying, other.saying, strict=False)) if len({*pair}) > 1), 0)
    yield "  the last they have in common"
    for one in found.common:
        yield f"    {entry_text(one, plain.names)}"
    for name, entry, place in (
        (PLAIN.name, found.one, plain),
        (mismatch.condition.name, found.other, other),
    ):
        yield f"  {name}: {entry_text(entry, place.names)}"
        if place.saying:
            shown = place.saying[max(0, apart - SAYING_BEFORE) :][:SAYING]
            yield f"    {'…' if apart > SAYING_BEFORE else ''}{shown}"
        yield f"    {place.task}"
        yield from (f"      {line}" for line in place.stack)


def entry_text(entry: Step | Note | None, names: Mapping[int, str]) -> str:
    """One entry of a trace for people."""
    if entry is None:
        return "nothing more"
    if isinstance(entry, Step):
        choice = "" if entry.pick is None else f", number {entry.pick + 1} of those who are ready"
        return f"a step of {names.get(entry.ordinal, f'task {entry.ordinal}')} at {entry.time_ns} ns{choice}"
    return f"{entry.kind} ({', '.join(map(str, entry.words))})"


def as_json(condition: Condition) -> dict[str, Any]:
    """What the process needs to know."""
    return attrs.asdict(condition)
