"""Time limits per example tell nothing on a shared machine."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("sdk", deadline=None)
settings.load_profile("sdk")
