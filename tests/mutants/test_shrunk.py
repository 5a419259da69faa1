"""A planted bug, made small: the file that is left fails alone with the bug in the code, and passes without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.shrinking import measure


@pytest.mark.parametrize("mutant", ["A3", "C1", "K4"])
def test_the_file_that_is_left_fails_with_the_bug_and_holds_without(mutant: str, tmp_path: Path) -> None:
    row = measure(mutant, tmp_path, seeds=40)
    assert row is not None, "the bug is found in a few seeds"
    assert row.exits == (1, 0)
    assert row.faults <= 5
    assert row.operations <= 6
    assert row.lines <= 60
    text = (tmp_path / f"{mutant.lower()}.py").read_text()
    assert row.claim in text
    assert "Nearest run that holds:" in text
    assert all(len(line) <= 120 for line in text.splitlines())
