"""The other Python minor versions on which runs are compared.  Not a test itself."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache

import pytest

from tests.tidy.sources import ROOT

MINORS = ("3.11", "3.12", "3.13")
OTHERS_MIN = 2
NO_SUCH_INTERPRETER = 3


@cache
def other_pythons() -> tuple[str, ...]:
    """Interpreters of other minor versions, each with the project installed.

    The check command names them in TEST_PYTHONS.  Otherwise they are set up here, once, which takes a quarter of a
    minute each; a machine that lacks the interpreters skips, and says what to install.  With CI=true nothing skips.
    """
    named = os.environ.get("TEST_PYTHONS", "")
    if named:
        pythons = tuple(named.split(":"))
        assert len(pythons) >= OTHERS_MIN, "TEST_PYTHONS names too few interpreters"
        return pythons
    found, missing = [], []
    current = f"{sys.version_info.major}.{sys.version_info.minor}"
    for minor in MINORS:
        if minor == current:
            continue
        made = subprocess.run(
            [ROOT / ".ci/venv", minor, "all"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if made.returncode == 0:
            found.append(made.stdout.strip())
        elif made.returncode == NO_SUCH_INTERPRETER:
            missing.append(made.stderr.strip())
        else:
            raise RuntimeError(f"no environment for CPython {minor}:\n{made.stderr}")
    if len(found) < OTHERS_MIN:
        message = "three minor versions are needed:\n" + "\n".join(missing)
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return tuple(found)
