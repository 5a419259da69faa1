"""What a hunt for a planted bug is, and what it came to: values that cross processes as JSON lines."""

from __future__ import annotations

import json
import statistics
from typing import Any, Final

import attrs

from understudy_sim.mutants.edit import Edit, Mutant

SEEDS_MAX: Final = 1_000
# Far from each other: hunts that begin there share no run.
FIRST_SEEDS: Final = (0, 1_000_000, 2_000_000, 3_000_000, 4_000_000)
PORTFOLIO: Final = "portfolio"
# A run whose process had to be stopped.
NEVER_ENDED: Final = "the rehearsal comes to its end"


@attrs.frozen(kw_only=True)
class Task:
    """One hunt: *mutant* in *scenarios* (`module:name`; round robin), by a *strategy*, no further than the bounds.

    Without a mutant the product is hunted as it is: whatever is found then is a false alarm, or a bug of its own.
    """

    mutant: Mutant | None
    scenarios: tuple[str, ...]
    strategy: str = PORTFOLIO
    first_seed: int = 0
    seeds_max: int = SEEDS_MAX
    seconds_max: float = 600.0
    faults: str = ""

    @property
    def mutant_id(self) -> str:
        """The mutant's, or what stands for none."""
        return CLEAN if self.mutant is None else self.mutant.id

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What tells hunts apart when they are kept."""
        where = self.scenarios[0] if len(self.scenarios) == 1 else EVERYWHERE
        return self.mutant_id, self.strategy, where, self.first_seed


CLEAN: Final = "clean"
EVERYWHERE: Final = "everywhere"


@attrs.frozen(kw_only=True)
class Catch:
    """A hunt that found something: after *seeds* runs, in *seed* of *scenario*, with the claims that broke there."""

    seeds: int
    seconds: float
    scenario: str
    seed: int
    claims: tuple[str, ...]
    what: str
    variation: str = ""


@attrs.frozen(kw_only=True)
class Hunt:
    """How one hunt ended: with a catch, or with none after *seeds* runs and *seconds*."""

    mutant_id: str
    strategy: str
    where: str
    first_seed: int
    seeds: int
    seconds: float
    catch: Catch | None = None

    @property
    def key(self) -> tuple[str, str, str, int]:
        """That of its task."""
        return self.mutant_id, self.strategy, self.where, self.first_seed


def ended(task: Task, seeds: int, seconds: float, catch: Catch | None = None) -> Hunt:
    """How *task* ended."""
    mutant_id, strategy, where, first_seed = task.key
    return Hunt(
        mutant_id=mutant_id,
        strategy=strategy,
        where=where,
        first_seed=first_seed,
        seeds=seeds,
        seconds=round(seconds, 2),
        catch=catch,
    )


def task_to_json(task: Task) -> str:
    """One line."""
    return json.dumps(attrs.asdict(task))


def task_from_json(line: str) -> Task:
    """Read back what `task_to_json` wrote."""
    value = json.loads(line)
    mutant = value["mutant"]
    if mutant is not None:
        edits = tuple(Edit(**one) for one in mutant.pop("also"))
        value["mutant"] = Mutant(**_tuples(mutant), also=edits)
    return Task(**_tuples(value))


def hunt_to_json(hunt: Hunt) -> str:
    """One line."""
    return json.dumps(attrs.asdict(hunt))


def hunt_from_json(line: str) -> Hunt:
    """Read back what `hunt_to_json` wrote."""
    value = json.loads(line)
    catch = value["catch"]
    return Hunt(**{**value, "catch": None if catch is None else Catch(**_tuples(catch))})


def _tuples(value: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(one) if isinstance(one, list) else one for name, one in value.items()}


def median_seeds(hunts: list[Hunt]) -> float | None:
    """Median of the seeds to detection; None unless most of *hunts* caught it."""
    counts = [float("inf") if hunt.catch is None else hunt.catch.seeds for hunt in hunts]
    found = statistics.median(counts) if counts else float("inf")
    return None if found == float("inf") else found
