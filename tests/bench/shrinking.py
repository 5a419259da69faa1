"""How small planted bugs get, and whether the file that is left is worth keeping.

    python -m tests.bench.shrinking C1 D2 L2            # these mutants
    python -m tests.bench.shrinking --keep small/ C1    # and keep the files

Each mutant is hunted in its scenario, seed by seed; the first failing run is shrunk and written to a file, and the file
is run twice in processes of its own: with the mutant it must end with 1, without it with 0.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

WORKER, WITH = "--worker", "--with"


@attrs.frozen(kw_only=True)
class Row:
    """One mutant made small.  `exits` are the file's exit codes with the mutant and without."""

    mutant: str
    seed: int
    claim: str
    faults: int
    operations: int
    deviations: int
    decisions: int
    lines: int
    runs: int
    seconds: float
    exits: tuple[int, int] = (-1, -1)
    before: tuple[int, int] = (0, 0)  # faults and operations of the run that was found


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == [WITH]:
        return _with_mutant(given[1], given[2])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ids", nargs="+", metavar="ID")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--runs", type=int, default=250, help="to spend on each")
    parser.add_argument("--keep", type=Path, help="a folder for the files")
    parser.add_argument(WORKER, type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args(given)
    if asked.worker is not None:
        found = _shrink_here(asked.ids[0], asked.first_seed, asked.seeds, asked.runs, asked.worker)
        print(json.dumps(None if found is None else attrs.asdict(found)))
        return 0
    with tempfile.TemporaryDirectory(prefix="shrunk-") as folder:
        rows = [
            measure(id_, asked.keep or Path(folder), asked.first_seed, asked.seeds, asked.runs) for id_ in asked.ids
        ]
    _tell_medians([row for row in rows if row is not None])
    return int(any(row is not None and row.exits != (1, 0) for row in rows))


def measure(mutant: str, folder: Path, first_seed: int = 0, seeds: int = 200, runs: int = 250) -> Row | None:
    """Hunt, shrink and try the file of one mutant; None when no seed found it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{mutant.lower()}.py"
    bounds = ["--first-seed", str(first_seed), "--seeds", str(seeds), "--runs", str(runs)]
    done = _python("-m", "tests.bench.shrinking", mutant, *bounds, WORKER, str(file))
    if done.returncode:
        raise RuntimeError(f"shrinking {mutant} failed:\n{done.stdout}{done.stderr}")
    value = json.loads(done.stdout.splitlines()[-1])
    if value is None:
        print(f"{mutant:5} not found in {seeds} seeds", flush=True)
        return None
    exits = (_python("-m", "tests.bench.shrinking", WITH, mutant, str(file)).returncode, _python(str(file)).returncode)
    row = Row(**{**value, "exits": exits, "before": tuple(value["before"])})
    print(
        f"{row.mutant:5} faults {row.before[0]:>2} -> {row.faults}, operations {row.before[1]:>2} -> {row.operations}, "
        f"{row.deviations} deviations, {row.decisions} decisions, {row.lines} lines; {row.runs} runs, {row.seconds} s; "
        f"with it {row.exits[0]}, without {row.exits[1]}: {row.claim}",
        flush=True,
    )
    return row


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def _tell_medians(rows: Sequence[Row]) -> None:
    if rows:
        medians = {
            name: statistics.median(getattr(row, name) for row in rows)
            for name in ("faults", "operations", "deviations", "decisions", "lines", "runs", "seconds")
        }
        print(f"{len(rows)} mutants; medians: {', '.join(f'{value:g} {name}' for name, value in medians.items())}")


# --- in the process of a mutant ---------------------------------------------------------------------------------------


def _plant(mutant_id: str) -> Any:
    from understudy_sim.mutants.catalogue import mutant_by_id
    from understudy_sim.mutants.hook import forget_product, install

    mutant = mutant_by_id(mutant_id)
    forget_product()
    install(mutant)
    return mutant


def _shrink_here(mutant_id: str, first_seed: int, seeds: int, runs: int, file: Path) -> Row | None:
    sys.path.insert(0, os.getcwd())
    module, _, name = _plant(mutant_id).scenario.partition(":")
    from understudy_sim.stage.search import run_seeds
    from understudy_sim.stage.shrink import shrink
    from understudy_sim.stage.shrunk_file import written
    from understudy_sim.stage.silence import silence_for_good
    from understudy_sim.stage.variation import AS_DRAWN

    silence_for_good()
    scenario = getattr(importlib.import_module(module), name)
    reports = run_seeds(scenario, range(first_seed, first_seed + seeds), AS_DRAWN)
    report = next((one for one in reports if one.failed), None)
    if report is None:
        return None
    began = time.monotonic()
    shrunk = shrink(scenario, report, AS_DRAWN, runs)
    took = time.monotonic() - began
    script = f"{module.replace('.', '/')}.py::{name}"
    text, _ = written(script, scenario, shrunk, f"seed {report.seed:#x}")
    file.write_text(text)
    faults, operations, deviations, decisions = shrunk.size
    return Row(
        mutant=mutant_id,
        seed=report.seed,
        claim=shrunk.claim,
        faults=faults,
        operations=operations,
        deviations=deviations,
        decisions=decisions,
        lines=len(text.splitlines()),
        runs=shrunk.runs,
        seconds=round(took, 1),
        before=(len(report.firings), len(report.calls)),
    )


def _with_mutant(mutant_id: str, file: str) -> int:
    _plant(mutant_id)
    sys.argv = [file]
    runpy.run_path(file, run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main())
