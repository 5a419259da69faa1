"""What is unsteady on purpose is no test of its own: `test_torture.py` runs it."""

from __future__ import annotations

collect_ignore = ["unsteady.py"]
