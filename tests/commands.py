"""The command line as a user has it: `python -m understudy`, a process of its own, from the root of the repository."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.tidy.sources import ROOT


def understudy(*arguments: str, timeout_s: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command that ends, and keep what it says.  Raises subprocess.TimeoutExpired."""
    return subprocess.run(
        [sys.executable, "-m", "understudy", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
