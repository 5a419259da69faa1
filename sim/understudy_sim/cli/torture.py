"""`understudy torture`: seeds in processes of every kind; the same seed must be the same run in all of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import attrs
import click

from understudy_sim.cli.shared import FAULTS, SEED, NotFoundOut, scenario_of
from understudy_sim.kernel.trace import Trace
from understudy_sim.stage.faults import FaultSet
from understudy_sim.stage.torture import (
    PLAIN,
    Condition,
    Mismatch,
    Parting,
    Place,
    Sample,
    as_json,
    conditions,
    mismatches,
    parting,
    tell,
)
from understudy_sim.stage.variation import Variation
from understudy_sim.stage.variation_text import to_text

CHILD: Final = "understudy_sim.stage.torture_child"
SEEDS: Final = 5
MINORS: Final = ("3.11", "3.12", "3.13", "3.14")
# What differs now and then (addresses) is not different each time.
TRIES_MAX: Final = 6
PROBE: Final = "import sys, understudy_sim; print('%d.%d' % sys.version_info[:2])"


class ChildFailed(Exception):
    """A process ended in an error: its last words."""


@click.command(short_help="Run seeds in processes of every kind: each must be the same run in all.")
@click.argument("script")
@click.option("--seeds", type=click.IntRange(min=1), default=SEEDS, show_default=True, help="How many.")
@click.option("--first-seed", type=SEED, default=0, show_default=True, help="Where to begin.")
@click.option("--faults", type=FAULTS, help="none, all, or kinds separated by commas (default: the scenario's).")
@click.option("--python", "pythons", multiple=True, metavar="PATH", help="Another interpreter that has the project.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes at once.")
@click.option("--only", multiple=True, metavar="TEXT", help="Only conditions whose names contain this.")
@click.option("--json", "wants_json", is_flag=True, help="End with one line of JSON.")
def torture(
    script: str,
    seeds: int,
    first_seed: int,
    faults: FaultSet | None,
    pythons: tuple[str, ...],
    jobs: int,
    only: tuple[str, ...],
    wants_json: bool,
) -> None:
    """Run the scenario in SCRIPT in processes with other hash seeds, addresses, collectors, orders of import, Python
    versions, histories, languages and folders.  Exit 0: every seed is one run; 1: not, and where the runs part.
    """
    scenario = scenario_of(script)
    numbers = list(range(first_seed, first_seed + seeds))
    missing = [path for path in pythons if not has_the_project(path)]
    if missing:
        raise click.UsageError(f"{missing[0]} is no Python that has the project installed: install it there")
    others = pythons or tuple(found_pythons())
    wanted = [one for one in conditions(numbers, others) if not only or any(text in one.name for text in only)]
    if not wanted:
        raise click.UsageError(f"no condition is called {', '.join(only)}")
    with tempfile.TemporaryDirectory() as folder:
        rack = Rack(script, to_text(Variation(faults=faults)), Path(folder))
        click.echo(f"{scenario.name}: {seeds} seeds in {1 + len(wanted)} kinds of processes")
        try:
            found = _compare(rack, numbers, wanted, jobs)
        except ChildFailed as error:
            raise NotFoundOut(str(error)) from error
        for one in _first_of_each(found):
            click.echo("")
            for line in _explain(rack, one):
                click.echo(line)
    click.echo(
        f"{len(found)} of {len(wanted) * seeds} runs differ" if found else "every seed is one run in all of them"
    )
    if wants_json:
        differ = [{"seed": one.seed, "condition": one.condition.name} for one in found]
        click.echo(json.dumps({"conditions": [one.name for one in wanted], "seeds": numbers, "differ": differ}))
    sys.exit(1 if found else 0)


def _compare(rack: Rack, seeds: Sequence[int], wanted: Sequence[Condition], jobs: int) -> list[Mismatch]:
    plain = rack.samples(rack.started(PLAIN, seeds))
    found: list[Mismatch] = []
    for first in range(0, len(wanted), jobs):
        batch = wanted[first : first + jobs]
        with ExitStack() as opened:
            running = [opened.enter_context(rack.started(one, seeds)) for one in batch]
            for condition, job in zip(batch, running, strict=True):
                differ = mismatches(plain, condition, rack.samples(job))
                found += differ
                told = "the same" if not differ else f"DIFFERS in {', '.join(f'seed {one.seed}' for one in differ)}"
                click.echo(f"  {condition.name:<40} {told}")
    return found


def _first_of_each(found: Sequence[Mismatch]) -> list[Mismatch]:
    """One a condition, and no more than three: what makes one run another one often makes many."""
    return list({one.condition.name: one for one in reversed(found)}.values())[::-1][:3]


def _explain(rack: Rack, mismatch: Mismatch) -> Iterator[str]:
    """Where the two runs part, with both stacks."""
    for _ in range(TRIES_MAX):
        traces = [rack.trace(condition, mismatch.seed) for condition in (PLAIN, mismatch.condition)]
        found = parting(*traces)
        if found is None:
            continue
        digests = [_digest_before(one, found.word) for one in traces]
        places = [
            rack.place(condition, mismatch.seed, found, digest)
            for condition, digest in zip((PLAIN, mismatch.condition), digests, strict=True)
        ]
        yield from tell(mismatch, found, *places)
        return
    yield f"seed {mismatch.seed} differed under {mismatch.condition.name}, and did not again in {TRIES_MAX} tries"


def _digest_before(trace: Trace, word: int) -> str:
    words, kinds = trace.stored()
    return Trace.restored(words[: 8 * word], kinds).running()


def found_pythons() -> Iterator[str]:
    """Interpreters of other minors on PATH that have the project."""
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    for minor in MINORS:
        path = shutil.which(f"python{minor}")
        if minor != own and path is not None and has_the_project(path):
            yield path


def has_the_project(python: str) -> bool:
    """Whether *python* can run a rehearsal."""
    try:
        done = subprocess.run([python, "-c", PROBE], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


@attrs.define
class Job:
    """A process at work, and the file it will write."""

    process: subprocess.Popen[str]
    out: Path
    condition: Condition

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def result(self) -> Any:
        """What it wrote.  Raises ChildFailed."""
        _, errors = self.process.communicate()
        if self.process.returncode != 0:
            raise ChildFailed(f"a process failed ({self.condition.name}):\n{errors}")
        return json.loads(self.out.read_text())


class Rack:
    """Starts processes for one script."""

    def __init__(self, script: str, variation: str, folder: Path) -> None:
        self._script = script
        self._variation = variation
        self._folder = folder
        self._count = 0

    def started(self, condition: Condition, seeds: Sequence[int], **more: Any) -> Job:
        """A process under *condition* that runs *seeds*."""
        self._count += 1
        out = self._folder / f"{self._count}.json"
        orders = {
            "script": self._script,
            "variation": self._variation,
            "seeds": list(seeds),
            "condition": as_json(condition),
            "out": str(out),
            **more,
        }
        process = subprocess.Popen(
            [condition.python or sys.executable, "-m", CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **condition.environment},
            cwd=self._moved() if condition.moved else None,
        )
        assert process.stdin is not None, "it was asked for"
        process.stdin.write(json.dumps(orders))
        process.stdin.close()
        process.stdin = None
        return Job(process, out, condition)

    def samples(self, job: Job) -> list[Sample]:
        """What the process saw.  Raises ChildFailed."""
        return [Sample(*one) for one in job.result()]

    def trace(self, condition: Condition, seed: int) -> Trace:
        """The whole trace of a seed."""
        file = self._folder / "trace"
        with self.started(condition, [seed], trace=str(file)) as job:
            kinds = job.result()
        return Trace.restored(file.read_bytes(), kinds)

    def place(self, condition: Condition, seed: int, found: Parting, digest: str) -> Place:
        """Who runs there.  A run that is another one before is run again."""
        place: dict[str, Any] = {}
        for _ in range(TRIES_MAX):
            with self.started(condition, [seed], word=found.word, step=found.step) as job:
                place = job.result()
            if place["digest"] == digest:
                break
        names = {int(key): name for key, name in place["names"].items()}
        return Place(place["task"], tuple(place["stack"]), names, place["saying"])

    def _moved(self) -> Path:
        """A folder with links to everything in this one."""
        moved = self._folder / "moved"
        if not moved.exists():
            moved.mkdir()
            for one in Path.cwd().iterdir():
                (moved / one.name).symlink_to(one)
        return moved
