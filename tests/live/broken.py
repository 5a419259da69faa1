"""A module that fails while it is imported."""

from __future__ import annotations

app = 1 / 0
