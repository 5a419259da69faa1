"""Who runs trials: this process, a pool of processes, or any executor there is.

A worker gets the script's path and a few trials, loads the scenario itself and gives back reports; nothing else
crosses.  Its working directory and packages must be those of whoever asks.  Within one process one run goes on at a
time, whatever threads an executor has: a run stands in for parts of its process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from multiprocessing import get_context
from typing import Any, Final

from understudy_sim.stage.application import Application
from understudy_sim.stage.report import Report
from understudy_sim.stage.run import run_seed
from understudy_sim.stage.scenario import Scenario
from understudy_sim.stage.script import load_scenario
from understudy_sim.stage.silence import collect, silence_for_good, silent
from understudy_sim.stage.strategies.port import Trial

TRIALS_PER_TASK: Final = 5
RUNS_PER_COLLECTION: Final = 5

# Begins to run trials; their reports come in order.
Start = Callable[[Sequence[Trial]], Iterator[Report]]


def run_trials(scenario: Scenario, application: Application, trials: Sequence[Trial]) -> Iterator[Report]:
    """The reports of *trials*, in order."""
    with silent():
        for count, trial in enumerate(trials, 1):
            yield run_seed(scenario, application, trial.seed, trial.variation)
            if count == 1 or count % RUNS_PER_COLLECTION == 0:
                collect(keep=count == 1)  # The first run imports what all of them use.


def here(scenario: Scenario) -> Start:
    """In this process, each when its report is asked for."""
    application = Application(scenario.app)
    return lambda trials: run_trials(scenario, application, trials)


@contextmanager
def pool(jobs: int, script: str) -> Iterator[Start]:
    """On *jobs* processes of this machine."""
    executor = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=silence_for_good)
    try:
        with on(executor, script) as start:
            yield start
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


@contextmanager
def on(executor: Executor, script: str) -> Iterator[Start]:
    """On *executor*, which stays open.  What has not begun when this ends is cancelled."""
    open_: list[Future[list[Report]]] = []

    def start(trials: Sequence[Trial]) -> Iterator[Report]:
        tasks = [tuple(trials[at : at + TRIALS_PER_TASK]) for at in range(0, len(trials), TRIALS_PER_TASK)]
        futures = [executor.submit(work, script, task) for task in tasks]
        open_.extend(futures)
        return _collected(futures, open_)

    try:
        yield start
    finally:
        for future in open_:
            future.cancel()


def _collected(futures: Sequence[Future[list[Report]]], open_: list[Future[list[Report]]]) -> Iterator[Report]:
    for future in futures:
        reports = future.result()
        open_.remove(future)
        yield from reports


def work(script: str, trials: tuple[Trial, ...]) -> list[Report]:
    """What a worker does: run *trials* of the scenario in *script*."""
    with _turn():
        scenario, application = _prepared(script)
        return list(run_trials(scenario, application, trials))


@cache
def _turn() -> Any:
    return threading.Lock()


@cache
def _prepared(script: str) -> tuple[Scenario, Application]:
    """The scenario, loaded once in a worker, and its application with the code that was compiled for it."""
    scenario = load_scenario(script)
    return scenario, Application(scenario.app)
