"""The kill matrix: which hunts there are to make, in which order, and how far each may go.

Every mutant is hunted for a short while first; what time is left is shared by those that were not found.  What is found
is kept line by line, so that a matrix that was stopped goes on where it was.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final

import attrs

from understudy_sim.mutants.apart import HuntFailed, hunt_apart
from understudy_sim.mutants.edit import EVERYWHERE_PATHS, Mutant
from understudy_sim.mutants.hunt import Hunt, Task, hunt_from_json, hunt_to_json

FIRST_SECONDS: Final = 20.0

Key = tuple[str, str, str, int]


@attrs.frozen(kw_only=True)
class Bounds:
    """How far hunts go: *seeds* and *seconds* of each, *minutes* of all, *jobs* at once."""

    seeds: int = 1_000
    seconds: float = 120.0
    minutes: float | None = None
    jobs: int = 1


def tasks_of(
    mutants: Sequence[Mutant | None],
    *,
    strategies: Sequence[str],
    first_seeds: Sequence[int],
    everywhere: bool,
    bounds: Bounds,
    faults: str = "",
) -> list[Task]:
    """Every hunt: each mutant by each strategy from each first seed."""
    return [
        Task(
            mutant=mutant,
            scenarios=EVERYWHERE_PATHS if everywhere or mutant is None else (mutant.scenario,),
            strategy=strategy,
            first_seed=first_seed,
            seeds_max=bounds.seeds,
            seconds_max=bounds.seconds,
            faults=faults,
        )
        for first_seed in first_seeds
        for strategy in strategies
        for mutant in mutants
    ]


class Kept:
    """Hunts in a file, one line each; the last line of a hunt counts."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        lines = path.read_text().splitlines() if path is not None and path.exists() else []
        self.hunts: dict[Key, Hunt] = {hunt.key: hunt for hunt in map(hunt_from_json, lines)}

    def add(self, hunt: Hunt) -> None:
        """Keep *hunt*, here and in the file."""
        with self._lock:
            self.hunts[hunt.key] = hunt
            if self._path is not None:
                with self._path.open("a") as file:
                    file.write(hunt_to_json(hunt) + "\n")


def run_matrix(
    tasks: Iterable[Task],
    bounds: Bounds,
    kept: Kept,
    tell: Callable[[Hunt], None],
    hunt: Callable[[Task], Hunt] = hunt_apart,
) -> list[str]:
    """Make the hunts that are not kept; *tell* of each.  Returns what failed, which is kept nowhere."""
    until = None if bounds.minutes is None else time.monotonic() + 60 * bounds.minutes
    tasks = list(tasks)
    failures: list[str] = []
    fresh = [task for task in tasks if task.key not in kept.hunts]
    short = min(FIRST_SECONDS, bounds.seconds)
    _run([attrs.evolve(task, seconds_max=short) for task in fresh], bounds.jobs, until, kept, tell, failures, hunt)
    missed = [task for task in tasks if _goes_on(task, kept.hunts.get(task.key))]
    if missed:
        seconds = bounds.seconds
        if until is not None:
            seconds = min(seconds, max(0.0, until - time.monotonic()) * bounds.jobs / len(missed))
        if seconds > short:
            longer = [attrs.evolve(task, seconds_max=seconds) for task in missed]
            _run(longer, bounds.jobs, until, kept, tell, failures, hunt)
    return failures


def _goes_on(task: Task, hunt: Hunt | None) -> bool:
    """Whether a hunt that found nothing was cut short by the clock."""
    return hunt is not None and hunt.catch is None and hunt.seeds < task.seeds_max and hunt.seconds < task.seconds_max


def _run(
    tasks: Sequence[Task],
    jobs: int,
    until: float | None,
    kept: Kept,
    tell: Callable[[Hunt], None],
    failures: list[str],
    hunt: Callable[[Task], Hunt],
) -> None:
    waiting = list(reversed(tasks))
    running: set[Future[Hunt]] = set()
    with ThreadPoolExecutor(jobs) as executor:
        while waiting or running:
            over = until is not None and time.monotonic() >= until
            while waiting and len(running) < jobs and not over:
                running.add(executor.submit(hunt, waiting.pop()))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                try:
                    found = future.result()
                except HuntFailed as error:
                    failures.append(str(error))
                    continue
                kept.add(found)
                tell(found)
