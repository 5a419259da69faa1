"""The project's pages and what can be checked in them: fenced blocks, links, command lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import attrs

from tests.tidy.sources import ROOT, committed_paths

FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")


@attrs.frozen
class Block:
    """A fenced block: its page, the line of its first line of content, its language and its text."""

    path: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


def pages() -> tuple[str, ...]:
    """Every Markdown page but the changelog's fragments."""
    return tuple(p for p in committed_paths() if p.endswith(".md") and not p.startswith("changelog.d/"))


def blocks(path: str, text: str) -> Iterator[Block]:
    """The fenced blocks of a page."""
    for match in FENCE.finditer(text):
        yield Block(path, text.count("\n", 0, match.start(2)) + 1, match.group(1), match.group(2))


def all_blocks(*languages: str) -> list[Block]:
    """The blocks of every page that are in one of *languages*."""
    return [b for path in pages() for b in blocks(path, (ROOT / path).read_text()) if b.language in languages]


def links(text: str) -> Iterator[str]:
    """Targets of links inside the repository, without their fragment."""
    for match in LINK.finditer(FENCE.sub("", text)):
        target = match.group(1).partition("#")[0]
        if target and "://" not in target:
            yield target


def broken_links(path: str, text: str) -> list[str]:
    """Links of a page that lead nowhere."""
    folder = (ROOT / path).parent
    return [f"{path}: {target}" for target in links(text) if not Path(folder, target).exists()]


def commands(text: str, name: str) -> Iterator[list[str]]:
    """The argument lists of every line of a shell block that runs *name*."""
    for line in text.replace("\\\n", " ").splitlines():
        words = line.partition(" #")[0].split()
        if words[:1] == [name]:
            yield words[1:]
