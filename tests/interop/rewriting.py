"""Turns a module written for our SDK into one for the official Python SDK: only its import lines are changed."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path

# Names the official SDK has under another name or in another module than its top one.
ELSEWHERE: Mapping[str, tuple[str, str]] = {
    "BytesSerde": ("restate.serde", "BytesSerde"),
    "DurableFuture": ("restate", "RestateDurableFuture"),
    "RetryableError": ("restate.exceptions", "RetryableError"),
}


def rewrite(source: str) -> str:
    """*source* with every ``from understudy import …`` turned into imports from the official SDK."""
    lines = source.splitlines(keepends=True)
    for node in reversed(ast.parse(source).body):
        if isinstance(node, ast.ImportFrom) and node.module == "understudy":
            assert node.end_lineno is not None
            lines[node.lineno - 1 : node.end_lineno] = [_import_line(alias) for alias in node.names]
    return "".join(lines)


def _import_line(alias: ast.alias) -> str:
    module, name = ELSEWHERE.get(alias.name, ("restate", alias.name))
    return f"from {module} import {name} as {alias.asname or alias.name}\n"


def changed_lines(before: str, after: str) -> Sequence[str]:
    """The lines of *before* that are not in *after*, and the other way round; both are imports if all is well."""
    old, new = before.splitlines(), after.splitlines()
    return [line for line in old if line not in new] + [line for line in new if line not in old]


def rewritten(package: Path, folder: Path) -> Path:
    """A copy of the Python files of *package* below *folder*, rewritten; returns the folder to put on the path."""
    root = package
    while (root.parent / "__init__.py").exists():
        root = root.parent
    for path in sorted(package.rglob("*.py")):
        target = folder / path.relative_to(root.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(rewrite(path.read_text()))
    at = package.parent
    while at != root.parent:  # The packages around it, as far as they are packages.
        init = folder / at.relative_to(root.parent) / "__init__.py"
        init.write_text((at / "__init__.py").read_text())
        at = at.parent
    return folder
