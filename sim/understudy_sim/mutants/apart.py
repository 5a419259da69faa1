"""Hunts in processes of their own, so that neither a planted bug nor one that never lets go harms who asked."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import IO, Any, Final

from understudy_sim.mutants.hunt import NEVER_ENDED, Catch, Hunt, Task, ended, hunt_from_json, task_to_json
from understudy_sim.mutants.suite import ROOT

# A run that has not ended after this long never will: it is stopped, and counts as caught.
RUN_SECONDS_MAX: Final = 120.0
OUTPUT_TOLD: Final = 3_000


class HuntFailed(Exception):
    """A hunt ended other than by a claim or its bounds: what its process said."""


def hunt_apart(task: Task, *, run_seconds_max: float = RUN_SECONDS_MAX, watch: Callable[[int], object] = id) -> Hunt:
    """Hunt in a fresh process; *watch* is told the number of each run.  Raises HuntFailed with its output."""
    worker = _Worker(task, run_seconds_max)
    try:
        return worker.result(watch)
    finally:
        worker.stop()


class _Worker:
    """One process, and a timer that stops it when a run takes too long."""

    def __init__(self, task: Task, run_seconds_max: float) -> None:
        self._task = task
        self._run_seconds_max = run_seconds_max
        self._start = time.monotonic()
        self._stopped = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "understudy_sim.mutants.work"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._errors: list[str] = []
        self._drain = threading.Thread(target=self._read_errors, daemon=True)
        self._drain.start()

    def result(self, watch: Callable[[int], object]) -> Hunt:
        """Read its lines to the last."""
        process, task = self._process, self._task
        _pipe(process.stdin).write(task_to_json(task) + "\n")
        _pipe(process.stdin).close()
        run: dict[str, Any] = {"run": 0, "scenario": ""}
        line = self._next_line()
        while line is not None:
            if "hunt" in line:
                return hunt_from_json(json.dumps(line["hunt"]))
            run = line
            watch(run["run"])
            line = self._next_line()
        if self._stopped:
            what = f"run {run['run']} did not end within {self._run_seconds_max:.0f} s and was stopped"
            seconds = round(time.monotonic() - self._start, 2)
            catch = Catch(
                seeds=run["run"], seconds=seconds, scenario=run["scenario"], seed=-1, claims=(NEVER_ENDED,), what=what
            )
            return ended(task, run["run"], seconds, catch)
        process.wait()
        self._drain.join(1)
        raise HuntFailed(f"the hunt for {task.mutant_id} failed in run {run}:\n{''.join(self._errors)[-OUTPUT_TOLD:]}")

    def _next_line(self) -> dict[str, Any] | None:
        timer = threading.Timer(self._run_seconds_max, self._give_up)
        timer.start()
        try:
            text = _pipe(self._process.stdout).readline()
        finally:
            timer.cancel()
        if not text:
            return None
        line: dict[str, Any] = json.loads(text)
        return line

    def _give_up(self) -> None:
        self._stopped = True
        self._process.kill()

    def _read_errors(self) -> None:
        for line in _pipe(self._process.stderr):
            self._errors.append(line)
            del self._errors[:-200]

    def stop(self) -> None:
        """It must be gone, whatever happened."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._drain.join(1)
        for pipe in (self._process.stdout, self._process.stdin, self._process.stderr):
            _pipe(pipe).close()


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None, "opened as a pipe"
    return stream
