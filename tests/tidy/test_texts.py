"""Committed texts name nothing outside the repository; changelog fragments are named by kind."""

from __future__ import annotations

import re

import pytest

from tests.tidy.sources import ROOT, Finding, committed_paths, report
from tests.tidy.text_rules import check_text

FRAGMENT = re.compile(r"^[a-z0-9][a-z0-9-]*\.(added|changed|fixed|removed)\.md$")
# Recorded exchanges and golden bytes are data, not text of ours.
DATA = (".bin", ".png", ".json", ".lock")


def check_fragment(name: str, text: str) -> list[Finding]:
    """A fragment is called `<change>.<kind>.md` and says its change in sentences, without a heading."""
    path = f"changelog.d/{name}"
    if not FRAGMENT.match(name):
        return [Finding(path, 1, "call it <change>.<added|changed|fixed|removed>.md")]
    if not text.strip() or text.lstrip().startswith("#") or not text.rstrip().endswith("."):
        return [Finding(path, 1, "a fragment is one or more sentences, without a heading")]
    return []


def test_nothing_names_a_place_outside_the_repository() -> None:
    findings = []
    for path in committed_paths():
        if not path.endswith(DATA) and path != "tests/tidy/test_texts.py":
            findings += check_text(path, (ROOT / path).read_text(encoding="utf-8"))
    assert not findings, report(findings)


def test_fragments() -> None:
    findings = []
    for path in committed_paths():
        name = path.removeprefix("changelog.d/")
        if name != path and name not in ("README.md",):
            findings += check_fragment(name, (ROOT / path).read_text(encoding="utf-8"))
    assert not findings, report(findings)


@pytest.mark.parametrize(
    "line",
    [
        "see /work/main/sdk",
        "data in `/home/somebody/data`",
        'open("/root/x")',
        "as ../shared/design.md says",
        "pip install --index-url https://example.com/simple",
        "from https://mirror.corp.internal/simple",
        "http://172.31.0.7:8080/",
        "bound to 172.17.0.2",
        "find-links = wheels",
    ],
)
def test_a_place_or_host_is_found(line: str) -> None:
    assert check_text("a.md", line)


@pytest.mark.parametrize(
    "line",
    [
        "#!/usr/bin/env bash",
        "curl http://localhost:8080/restate/health and http://127.0.0.1:9070",
        "/Service/handler and /restate/invocation/{id}/attach",
        "version 1.2.3 of 0.25–0.35",
        "https://docs.python.org/3/library/ast.html",
        "work/home stays relative; network/root too",
        "http://payments/charge",
    ],
)
def test_ordinary_text_passes(line: str) -> None:
    assert not check_text("a.md", line)


@pytest.mark.parametrize(
    ("name", "text"),
    [("Log.md", "Said."), ("log.feature.md", "Said."), ("log.added.md", ""), ("log.added.md", "# Log")],
)
def test_a_bad_fragment_is_found(name: str, text: str) -> None:
    assert check_fragment(name, text)


def test_a_good_fragment_passes() -> None:
    assert not check_fragment("own-log.added.md", "The log syncs before it answers.\n")
