"""Values: equal and hashed by their fields, and frozen for who asks for it."""

from __future__ import annotations

import subprocess
import sys

from understudy_runtime.model.invocation import Target
from understudy_runtime.model.values import frozen

ASSIGN = "from understudy_runtime.model.invocation import Target; Target('S', 'h').service = 'T'"


def test_values_are_equal_and_hashed_by_their_fields() -> None:
    assert Target("S", "h", "k") == Target("S", "h", "k")
    assert hash(Target("S", "h", "k")) == hash(Target("S", "h", "k"))
    assert Target("S", "h") != Target("S", "h", "k")


def test_values_have_slots() -> None:
    @frozen
    class Point:
        x: int

    assert not hasattr(Point(1), "__dict__")


def test_development_mode_freezes_values() -> None:
    done = subprocess.run([sys.executable, "-X", "dev", "-c", ASSIGN], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "FrozenInstanceError" in done.stderr
