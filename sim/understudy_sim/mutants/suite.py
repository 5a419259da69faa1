"""The test suite against a mutant: a copy of the tree is edited on disk, so that subprocesses have the bug too."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import attrs

from understudy_sim.mutants.edit import Mutant

ROOT = Path(__file__).resolve().parents[3]
PACKAGE_FOLDERS = ("sdk", "runtime", "sim")
# No product code a mutant could be in runs there, or (the last) other tests are repeated on more interpreters.
NOT_RUN = (
    "tests/bench",
    "tests/docs",
    "tests/mutants",
    "tests/sim/kernel",
    "tests/tidy",
    "tests/determinism/test_tour.py::test_other_minor_versions_give_the_same_digest",
)
# What is most likely to notice comes first, for `-x`.
ORDER = ("tests/scenarios", "tests/sim", "tests/determinism", "tests")


@attrs.frozen
class SuiteResult:
    """Whether the suite passed with the bug in it, and the tests that failed when not."""

    passed: bool
    failed: tuple[str, ...]
    output: str


def run_suite(mutants: Sequence[Mutant], arguments: Sequence[str] = ()) -> SuiteResult:
    """Run the tests against a copy of the repository with *mutants* in it, all at once; *arguments* go to pytest.

    Raises MutantError when a text no longer fits.
    """
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy_tree(Path(folder))
        for mutant in mutants:
            plant(mutant, Path(folder))
        left_out = [f"--{'deselect' if '::' in path else 'ignore'}={path}" for path in NOT_RUN]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(str(Path(folder, name)) for name in PACKAGE_FOLDERS),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *left_out, *ORDER, *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    failed = tuple(line.split(" ")[1] for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR ")))
    return SuiteResult(done.returncode == 0, failed, done.stdout)


def copy_tree(folder: Path) -> None:
    """Copy everything git would commit."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in sorted({name for name in listing.stdout.split("\0") if name}):
        if (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)


def plant(mutant: Mutant, folder: Path) -> list[Path]:
    """Edit the mutant's modules in the copy below *folder*; returns the files."""
    files = [_file_of(module, folder) for module in mutant.modules]
    for module, path in zip(mutant.modules, files, strict=True):
        path.write_text(mutant.applied_to(path.read_text(), module))
    return files


def _file_of(module: str, folder: Path) -> Path:
    relative = Path(*module.split("."))
    for package_folder in PACKAGE_FOLDERS:
        for path in (
            folder / package_folder / relative.with_suffix(".py"),
            folder / package_folder / relative / "__init__.py",
        ):
            if path.is_file():
                return path
    raise FileNotFoundError(f"no file of module {module} below {folder}")
