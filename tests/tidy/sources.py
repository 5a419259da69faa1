"""What the rules look at: every file of the repository that is, or could be, committed.

Not a rule itself.  Files that git ignores are not looked at; without git (an unpacked archive) everything outside
hidden and cache folders is.
"""

from __future__ import annotations

import ast
import subprocess
from functools import cache
from pathlib import Path

import attrs

ROOT = Path(__file__).resolve().parents[2]
PACKAGE_FOLDERS = ("sdk/", "runtime/", "sim/")
GENERATED = ("sdk/understudy/protocol/service_pb2.py",)


@attrs.frozen
class Finding:
    """One broken rule: where, what was found and what to do instead."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


@attrs.frozen
class Source:
    """One Python file: its path from the root, its text and its tree."""

    path: str
    text: str
    tree: ast.Module

    @classmethod
    def parse(cls, path: str, text: str) -> Source:
        return cls(path, text, ast.parse(text, filename=path))

    @property
    def module(self) -> str:
        """The dotted name under which the module is imported."""
        path = self.path
        for folder in PACKAGE_FOLDERS:
            path = path.removeprefix(folder)
        return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def is_product(self) -> bool:
        return self.path.startswith(PACKAGE_FOLDERS)


@cache
def committed_paths() -> tuple[str, ...]:
    """Every path, tracked or about to be, that still exists; sorted."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listing.returncode == 0:
        names = set(listing.stdout.decode().split("\0")) - {""}
    else:
        names = {str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if not _is_hidden(p)}
    return tuple(sorted(name for name in names if (ROOT / name).is_file()))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(ROOT).parts)


@cache
def python_sources() -> tuple[Source, ...]:
    """Every Python file we wrote; generated ones are not ours to tidy."""
    return tuple(
        Source.parse(path, (ROOT / path).read_text(encoding="utf-8"))
        for path in committed_paths()
        if path.endswith(".py") and path not in GENERATED
    )


def product_sources() -> tuple[Source, ...]:
    """The three packages."""
    return tuple(source for source in python_sources() if source.is_product)


def report(findings: list[Finding]) -> str:
    """The findings as a failure message."""
    return "\n".join(["", *map(str, findings)])
