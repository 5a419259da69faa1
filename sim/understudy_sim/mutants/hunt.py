"""Hunts a planted bug with the simulator: how many seeds until a claim breaks, and which.

A hunt runs in a process of its own (see `__main__.py`): the mutant is planted before the product is imported.
"""

from __future__ import annotations

import importlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

import attrs

from understudy_sim.mutants.suite import ROOT

SEEDS_MAX = 200
FIRST_SEEDS = (0, 1_000_000, 2_000_000, 3_000_000, 4_000_000)


@attrs.frozen
class Catch:
    """One hunt that ended well: after *seeds* seeds, in *seed*, with the claims that broke there, first one first."""

    seeds: int
    seed: int
    claims: tuple[str, ...]
    what: str
    seconds: float


@attrs.frozen
class Hunt:
    """All hunts of one mutant, one for each first seed; None where nothing was found."""

    mutant_id: str
    catches: tuple[Catch | None, ...]

    @property
    def found(self) -> int:
        """In how many hunts it was caught."""
        return sum(catch is not None for catch in self.catches)

    @property
    def median_seeds(self) -> float | None:
        """Median seeds to detection; None unless most hunts caught it."""
        if self.found <= len(self.catches) // 2:
            return None
        never = float("inf")
        return statistics.median(never if catch is None else catch.seeds for catch in self.catches)

    @property
    def claims(self) -> tuple[str, ...]:
        """The first claim that broke in each hunt, each once, most frequent first."""
        first = [catch.claims[0] for catch in self.catches if catch is not None]
        return tuple(sorted(dict.fromkeys(first), key=lambda claim: (-first.count(claim), claim)))


def hunt_here(scenario_path: str, first_seed: int, seeds_max: int, faults: str) -> Catch | None:
    """Run seeds in this process until a claim breaks.  *faults* as on the command line."""
    from understudy_sim.stage import faults as fault_kinds
    from understudy_sim.stage.search import run_seeds
    from understudy_sim.stage.silence import silence_for_good
    from understudy_sim.stage.variation import Variation

    silence_for_good()

    module, _, name = scenario_path.partition(":")
    scenario = getattr(importlib.import_module(module), name)
    variation = Variation(faults=fault_kinds.parse(faults))
    start = time.monotonic()
    seeds = range(first_seed, first_seed + seeds_max)
    for count, report in enumerate(run_seeds(scenario, seeds, variation), 1):
        if report.failed:
            claims = tuple(dict.fromkeys(violation.claim for violation in report.violations))
            return Catch(count, report.seed, claims, report.violations[0].what, round(time.monotonic() - start, 2))
    return None


def hunt_apart(
    mutant_id: str,
    *,
    first_seeds: Sequence[int] = FIRST_SEEDS,
    seeds_max: int = SEEDS_MAX,
    faults: str = "all",
    seconds_max: float | None = None,
) -> Hunt:
    """Hunt in a fresh process.  Raises RuntimeError with its output when it fails other than by a broken claim.

    A hunt that takes longer than *seconds_max* has found nothing: there are bugs that keep a rehearsal from ending.
    """
    command = [sys.executable, "-m", "understudy_sim.mutants", "hunt", mutant_id, "--json", "--faults", faults]
    command += ["--seeds", str(seeds_max)]
    for first_seed in first_seeds:
        command += ["--first-seed", str(first_seed)]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds_max,
        )
    except subprocess.TimeoutExpired:
        return Hunt(mutant_id, (None,) * len(first_seeds))
    if done.returncode != 0:
        raise RuntimeError(f"the hunt for {mutant_id} failed:\n{done.stdout}{done.stderr}")
    return hunt_from_json(done.stdout.splitlines()[-1])


def hunt_to_json(hunt: Hunt) -> str:
    """One line."""
    return json.dumps(attrs.asdict(hunt))


def hunt_from_json(line: str) -> Hunt:
    """Read back what `hunt_to_json` wrote."""
    value = json.loads(line)
    catches = tuple(
        None if catch is None else Catch(**{**catch, "claims": tuple(catch["claims"])}) for catch in value["catches"]
    )
    return Hunt(value["mutant_id"], catches)
