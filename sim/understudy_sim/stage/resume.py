"""A search that can be resumed: a file of one line per finished run, in order of the trials.

The first line says which search this is: script, strategy, first seed, what all runs have in common, and digests of all
code that the outcome of a run follows from.  A search that is resumed asks its strategy for the same trials, takes the
reports of those that are in the file from there, and goes on behind them.  The plan and the operations of a run are not
kept: they follow from its seed.

A line that was cut off in the middle, as by a power cut, is taken away; anything else that does not fit is an error.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import distributions
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final

import attrs
import cattrs
import understudy
import understudy_runtime
from understudy.fingerprint import reached

import understudy_sim
from understudy_sim.stage.application import Application
from understudy_sim.stage.operations import Operation
from understudy_sim.stage.plan import Plan
from understudy_sim.stage.report import Report
from understudy_sim.stage.scenario import Scenario
from understudy_sim.stage.strategies.port import Scope, Trial
from understudy_sim.stage.variation_text import to_text

FORMAT: Final = 2
DIGEST_BYTES: Final = 16
OURS: Final = (understudy, understudy_runtime, understudy_sim)
# What is drawn again rather than kept.
DRAWN: Final = ("plan", "calls")

Redraw = Callable[[Trial], tuple[Plan, tuple[Operation, ...]]]

# What differs, and what to do about it.
DIFFERENT: Final = MappingProxyType(
    {
        "format": "it was written by another version of this program",
        "script": "it belongs to another script",
        "scenario": "it belongs to another scenario",
        "strategy": "it belongs to a search by another strategy",
        "first_seed": "it begins at another seed",
        "variation": "its runs have other faults",
        "product": "understudy itself has changed since: its runs would be others now",
        "sources": "the script, its application or what they import has changed since: its runs would be others now",
        "installed": "it is from another Python or other installed packages: its runs would be others here",
    }
)


class ForeignFile(ValueError):
    """A file that this search cannot go on with: which, where it differs, what to do."""


@attrs.frozen(kw_only=True)
class Header:
    """Which search a file belongs to."""

    script: str
    scenario: str
    strategy: str
    first_seed: int
    variation: str
    product: str
    sources: str
    installed: str
    format: int = FORMAT


def header_of(script: str, strategy: str, scope: Scope, application: Application) -> Header:
    """The header of a search."""
    return Header(
        script=script,
        scenario=scope.scenario.name,
        strategy=strategy,
        first_seed=scope.first_seed,
        variation=to_text(scope.variation),
        product=product_digest(Path(package.__file__ or "").parent for package in OURS),
        sources=sources_digest(scope.scenario, application),
        installed=installed_digest(),
    )


def product_digest(roots: Iterable[Path]) -> str:
    """All modules under the folders *roots*: server, SDK and simulator."""
    whole = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for root in roots:
        for file in sorted(root.rglob("*.py")):
            whole.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return whole.hexdigest()


def sources_digest(scenario: Scenario, application: Application) -> str:
    """The script, its applications, and the modules of the same project that those use, however far."""
    names = [scenario.script.__module__]
    for one in (application, *map(application.later, scenario.later)):
        _ = one.manifest  # Now its modules are imported.
        names.append(one.path.partition(":")[0])
    whole = hashlib.blake2b(Path(scenario.filename).read_bytes(), digest_size=DIGEST_BYTES)
    for name, source in sorted(reached(names).items()):
        whole.update(f"\0{name}\0{source}".encode())
    return whole.hexdigest()


def installed_digest() -> str:
    """The version of Python, and of every package that is installed."""
    packages = sorted(f"{one.name} {one.version}" for one in distributions())
    said = [".".join(map(str, sys.version_info[:3])), *packages]
    return hashlib.blake2b("\n".join(said).encode(), digest_size=DIGEST_BYTES).hexdigest()


class ResumeFile:
    """The finished runs of one search: first those to take from it, then those to write into it.  A context manager."""

    def __init__(self, path: Path, header: Header, redraw: Redraw) -> None:
        self.path = path
        self.header = header
        self._redraw = redraw
        self._converter = cattrs.Converter()
        self._number = 1
        self.taken = 0

    def __enter__(self) -> ResumeFile:
        """Open it.  Raises ForeignFile."""
        line = json.dumps(attrs.asdict(self.header)).encode() + b"\n"
        try:
            data = self.path.read_bytes() if self.path.exists() else b""
            whole = data.rfind(b"\n") + 1
            if whole:
                self._check(data[: data.index(b"\n")])
            elif not line.startswith(data):
                raise self._is_no_file()
            # Only now that it is known to be ours.
            if whole < len(data):
                with self.path.open("r+b") as file:
                    file.truncate(whole)
            if not whole:
                self.path.write_bytes(line)
            self._file = self.path.open(encoding="utf-8")
        except OSError as error:
            raise ForeignFile(f"{self.path} cannot be used: {error.strerror}; name another") from error
        self._file.readline()
        self._lines: Iterator[str] | None = iter(self._file.readline, "")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def _is_no_file(self) -> ForeignFile:
        return ForeignFile(f"{self.path} is no file of a search: name another, or delete it")

    def _check(self, line: bytes) -> None:
        try:
            found = json.loads(line)
            wanted_all = attrs.asdict(self.header) if found["format"] == FORMAT else {"format": FORMAT}
        except (ValueError, KeyError, TypeError):
            raise self._is_no_file() from None
        for name, wanted in wanted_all.items():
            if found.get(name) != wanted:
                raise ForeignFile(
                    f"{self.path}: {DIFFERENT[name]} ({name}: {found.get(name)!r} there, {wanted!r} here); "
                    "name another file, or delete this one to begin anew"
                )

    def take(self, trials: Sequence[Trial]) -> list[Report]:
        """The reports of the first of *trials*, as many as are in the file.  Raises ForeignFile."""
        found: list[Report] = []
        for trial in trials:
            line = next(self._lines, "") if self._lines is not None else ""
            if not line:
                self._to_the_end()
                break
            found.append(self._report(line, trial))
        self.taken += len(found)
        return found

    def _to_the_end(self) -> None:
        """Everything is taken: from here on lines are added."""
        if self._lines is not None:
            self._lines = None
            self._file.close()
            self._file = self.path.open("a", encoding="utf-8")

    def _report(self, line: str, trial: Trial) -> Report:
        self._number += 1
        where = f"{self.path}, line {self._number}"
        try:
            kept = json.loads(line)
            seed, text = kept["seed"], kept["variation"]
            if (seed, text) != (trial.seed, to_text(trial.variation)):
                raise ForeignFile(
                    f"{where}: a run of seed {seed} {text} was found, one of seed {trial.seed} "
                    f"{to_text(trial.variation)} was expected; delete this line and all behind it"
                )
            plan, calls = self._redraw(trial)
            fields = {field.name: field for field in attrs.fields(attrs.resolve_types(Report))}
            given = {
                name: self._converter.structure(value, fields[name].type or object)
                for name, value in kept["report"].items()
            }
            return Report(plan=plan, calls=calls, **given)
        except ForeignFile:
            raise
        except (ValueError, KeyError, TypeError, cattrs.BaseValidationError) as error:
            raise ForeignFile(f"{where} is damaged ({error}): delete it and all behind it") from error

    def keep(self, trial: Trial, report: Report) -> None:
        """Write down a run that is over; it is in the file when this returns."""
        kept = {
            field.name: self._converter.unstructure(getattr(report, field.name))
            for field in attrs.fields(Report)
            if field.name not in DRAWN
        }
        line = {"seed": trial.seed, "variation": to_text(trial.variation), "report": kept}
        assert self._lines is None, "what is in the file is taken before anything is added"
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
        self._file.flush()
