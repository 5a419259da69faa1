"""`docs/interop.md` names its evidence: every test and every pairing it names is there."""

from __future__ import annotations

import re
from pathlib import Path

from tests.interop.pairings import PAIRINGS
from tests.interop.peers.install import PACKAGE_JSON, REQUIREMENTS, ROOT

PAGE = (ROOT / "docs" / "interop.md").read_text()


def test_every_test_named_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    defined: set[str] = set()
    for path in Path(ROOT / "tests").rglob("test_*.py"):
        defined |= set(re.findall(r"def (test_\w+)\(", path.read_text()))
    assert named
    assert named <= defined, named - defined


def test_every_pairing_is_told() -> None:
    assert set(re.findall(r"`((?:official|our)_server-[\w-]+)`", PAGE)) == set(PAIRINGS)


def test_the_versions_told_are_those_installed() -> None:
    installed = REQUIREMENTS.read_text() + PACKAGE_JSON.read_text()
    versions = re.findall(r"\b\d+\.\d+\.\d+\b", PAGE.partition("## Who")[0])
    assert len(versions) == 3
    assert all(version in installed for version in versions)
