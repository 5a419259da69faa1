"""One process of a torture: `python -m understudy_sim.stage.torture_child`, its orders as JSON on standard input.

It becomes what the condition says, runs the seeds, and writes what it saw to the files it was told.  It imports nothing
of the product before its orders say in which order.
"""

from __future__ import annotations

import concurrent.futures
import gc
import importlib
import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

LITTER: Final = 20_000
# Modules whose order of import must not matter; those that are not there are skipped.
IMPORTS: Final = (
    "asyncio",
    "ctypes",
    "decimal",
    "email.message",
    "hypothesis",
    "multiprocessing.pool",
    "sqlite3",
    "ssl",
    "trio",
    "understudy",
    "understudy_runtime.node",
    "understudy_sim.stage.play",
    "unittest.mock",
    "uuid",
    "xml.dom.minidom",
)


def main() -> None:
    """Do as ordered."""
    orders: dict[str, Any] = json.loads(sys.stdin.read())
    condition = orders["condition"]
    kept = litter(condition["litter"]) if condition["litter"] else []
    if condition["imports"]:
        import_shuffled(condition["imports"])
    if condition["collector"] == 0:
        gc.disable()
    elif condition["collector"] is not None:
        gc.set_threshold(condition["collector"], 2, 2)
    sys.path.insert(0, "")
    do(orders, condition)
    assert kept is not None, "the litter lies there to the end"


def do(orders: dict[str, Any], condition: dict[str, Any]) -> None:
    """Run what is to run, and write what was seen."""
    script, variation = orders["script"], orders["variation"]
    for seed in condition["before"]:
        sample(script, seed, variation)
    if "word" in orders:
        Path(orders["out"]).write_text(json.dumps(place(orders)))
    elif "trace" in orders:
        words, kinds = trace(script, orders["seeds"][0], variation)
        Path(orders["trace"]).write_bytes(words)
        Path(orders["out"]).write_text(json.dumps(kinds))
    else:
        found = samples(script, orders["seeds"], variation, condition["pool"])
        Path(orders["out"]).write_text(json.dumps(found))


def samples(script: str, seeds: list[int], variation: str, in_a_pool: bool) -> list[tuple[int, str, int]]:
    """(seed, close digest, steps) of each."""
    if not in_a_pool:
        return [sample(script, seed, variation) for seed in seeds]
    with concurrent.futures.ProcessPoolExecutor(max_workers=2) as pool:
        jobs = [pool.submit(sample, script, seed, variation) for seed in seeds]
        return [job.result() for job in jobs]


def sample(script: str, seed: int, variation: str) -> tuple[int, str, int]:
    """One seed."""
    report = _run(script, seed, variation, None)
    return seed, report.digest, report.steps


def trace(script: str, seed: int, variation: str) -> tuple[bytes, list[str]]:
    """The whole trace of one seed."""
    found: list[tuple[bytes, list[str]]] = []
    _run(script, seed, variation, lambda rehearsal: found.append(rehearsal.kernel.trace.stored()), at_the_end=True)
    return found[0]


def place(orders: dict[str, Any]) -> dict[str, Any]:
    """Who runs, and where in its code, when the word comes that differs."""
    from understudy_sim.kernel.loop import Ending

    found: dict[str, Any] = {}
    closeups: list[Any] = []

    def attach(rehearsal: Any) -> None:
        kernel = rehearsal.kernel
        closeups.append(kernel.network.tap)

        def there() -> None:
            found.update(_here(kernel), saying=closeups[0].saying)
            found["digest"] = kernel.trace.running()
            kernel.loop.stop(Ending.STEPS_EXHAUSTED)

        kernel.trace.call_at(orders["word"], there)

    _run(orders["script"], orders["seeds"][0], orders["variation"], attach, steps_max=orders["step"] + 2)
    return found or {"task": "it had come to its end", "stack": [], "names": {}, "digest": "", "saying": ""}


def _run(
    script: str,
    seed: int,
    variation: str,
    then: Callable[[Any], object] | None,
    *,
    at_the_end: bool = False,
    steps_max: int | None = None,
) -> Any:
    """Rehearse one seed, looked at closely; *then* gets the rehearsal at its beginning, or at its end."""
    import attrs

    from understudy_sim.stage.application import Application
    from understudy_sim.stage.closeup import Closeup
    from understudy_sim.stage.run import run_seed
    from understudy_sim.stage.script import load_scenario
    from understudy_sim.stage.silence import silent
    from understudy_sim.stage.variation_text import from_text

    scenario = load_scenario(script)
    varied = from_text(variation)
    if steps_max is not None:
        varied = attrs.evolve(varied, steps_max=steps_max)
    closeup = Closeup(None if at_the_end else then, then if at_the_end else None)
    with silent():
        return run_seed(scenario, Application(scenario.app), seed, varied, [closeup])


def _here(kernel: Any) -> dict[str, Any]:
    """The running task, its frames, and the names of all tasks."""
    names = {
        task._counter: f"{runner.process.name}: {task.name}" for runner in kernel.loop.runners for task in runner.tasks
    }
    task = kernel.loop._context.get("task")
    stack = _frames(sys._getframe(2))
    if task is not None and stack:
        return {"task": f"in {names.get(task._counter, '?')}", "stack": stack, "names": names}
    return {"task": "between two steps", "stack": stack, "names": names}


def _frames(frame: FrameType | None) -> list[str]:
    """File, line and code of each frame within the running step, outermost first; the kernel's own are left out."""
    import linecache

    from understudy_sim.kernel.waiters import is_library

    lines: list[str] = []
    here = f"{Path.cwd()}{os.sep}"
    while frame is not None and frame.f_code.co_qualname != "Loop._step":
        filename = frame.f_code.co_filename
        if not is_library(filename) and "understudy_sim" not in filename:
            code = linecache.getline(filename, frame.f_lineno).strip()
            lines.append(f"{filename.removeprefix(here)}:{frame.f_lineno} in {frame.f_code.co_qualname}: {code}")
        frame = frame.f_back
    return lines[::-1]


def litter(seed: int) -> list[object]:
    """Objects of many sizes, some of them freed at once, so that later ones lie at other addresses."""
    rng = random.Random(seed)
    kept: list[object] = []
    for _ in range(LITTER):
        junk = [rng.random()] * rng.randrange(1, 40)
        if rng.random() < 0.3:
            kept.append(junk)
    return kept


def import_shuffled(seed: int) -> None:
    """Import what is going to be imported, and more, in a shuffled order."""
    names = list(IMPORTS)
    random.Random(seed).shuffle(names)
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:
            continue


if __name__ == "__main__":
    main()
